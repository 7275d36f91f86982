"""Random histories of a project, and what truly came from what in them.

A history is made twice over at once: as the operations that would be recorded of it, and as
provenance that is computed forward, cell by cell, from the meaning of each query. The second
knows nothing of records, flows, spans or walks: it is what a recall is checked against.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from headrace.catalog import Access, ColumnFlow, Operation, RawFile

COLUMNS = ("a", "b", "c")
START = datetime(2026, 1, 1, tzinfo=UTC)

#: A piece of a raw file: its path, its contents, and a column, or ``None`` for which rows it has.
Atom = tuple[str, str, str | None]
Atoms = frozenset[Atom]
NONE: Atoms = frozenset()


@dataclass(frozen=True)
class Cells:
    """Where the rows and each column of a table come from, under one reading of opaque code.

    Attributes:
        rows: what decided which rows there are.
        columns: what each column's values were made of.
    """

    rows: Atoms
    columns: dict[str, Atoms]

    def column(self, name: str) -> Atoms:
        """All that a column depends on: a row that is not there has no value."""
        return self.rows | self.columns.get(name, NONE)

    @property
    def every(self) -> Atoms:
        """All that the table depends on."""
        return self.rows.union(*self.columns.values())

    def plus(self, other: Cells) -> Cells:
        """Rows of both."""
        names = {*self.columns, *other.columns}
        return Cells(
            self.rows | other.rows,
            {n: self.columns.get(n, NONE) | other.columns.get(n, NONE) for n in names},
        )


@dataclass(frozen=True)
class Content:
    """What a table holds under three readings of code that cannot be looked into.

    Attributes:
        sure: it passes on nothing.
        real: it passes on what it happened to use.
        may: it passes on all that it saw.
    """

    sure: Cells
    real: Cells
    may: Cells

    def plus(self, other: Content) -> Content:
        """Rows of both."""
        return Content(
            self.sure.plus(other.sure), self.real.plus(other.real), self.may.plus(other.may)
        )


def both(each: Callable[[Cells], Cells], content: Content) -> Content:
    """The same under each reading."""
    return Content(each(content.sure), each(content.real), each(content.may))


EMPTY = Cells(NONE, dict.fromkeys(COLUMNS, NONE))
NOTHING = Content(EMPTY, EMPTY, EMPTY)


@dataclass
class Table:
    """One life of a table: contents by version, where it lies, and the operation that made it."""

    name: str
    location: str
    versions: list[Content] = field(default_factory=list)
    first: str = ""


@dataclass(frozen=True)
class Source:
    """Something to read: the access to record, its files, and what it holds."""

    access: Access
    files: tuple[RawFile, ...]
    content: Content


@dataclass
class World:
    """One history.

    Attributes:
        operations: as they would be recorded.
        tables: every life of every table, the dropped ones too.
        models: what each logged model learned from, by id; the run has the same digits.
        raw: the raw files that were read.
    """

    number: int
    random: random.Random
    operations: list[Operation] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    alive: dict[str, Table] = field(default_factory=dict)
    models: dict[str, tuple[Atoms, Atoms, Atoms]] = field(default_factory=dict)
    plain: dict[str, Content] = field(default_factory=dict)
    raw: dict[tuple[str, str], RawFile] = field(default_factory=dict)
    root: str = "/project/warehouse"

    # ---- time and records ----------------------------------------------------------------

    @property
    def next_id(self) -> str:
        """Id of the operation that is recorded next."""
        return f"op_{self.number:06}_{len(self.operations):04}"

    def record(
        self,
        sources: Iterable[Source],
        *,
        writes: tuple[Access, ...] = (),
        mode: str | None = None,
        flows: tuple[ColumnFlow, ...] = (),
        kind: str = "write",
        run: str | None = None,
    ) -> None:
        """Add an operation; the next one begins after it has ended."""
        sources = list(sources)
        began = START + timedelta(minutes=len(self.operations))
        self.operations.append(
            Operation(
                id=self.next_id,
                kind=kind,  # type: ignore[arg-type]
                subject=None,
                session_id=None,
                run_id=run,
                started_at=began,
                finished_at=began + timedelta(seconds=20),
                reads=tuple(each.access for each in sources),
                writes=writes,
                mode=mode,
                files=tuple(dict.fromkeys(file for each in sources for file in each.files)),
                flows=flows,
            )
        )

    # ---- sources -------------------------------------------------------------------------

    def file(self) -> Source:
        """One raw file, now and then with other bytes than before, or those of another one."""
        path = f"/project/raw/w{self.number}/{self.random.randrange(4)}.parquet"
        content = f"{self.number}-{path}-{self.random.choice('ppppq')}"
        if self.random.random() < 0.1:
            content = f"{self.number}-same"
        file = RawFile(path, 10, sha256(content.encode()).hexdigest(), START)
        self.raw[path, file.sha256] = file
        return Source(Access("path", path), (file,), self._of_file(file))

    def directory(self) -> Source:
        """A directory: all the files that it holds at that moment."""
        directory = f"/project/raw/w{self.number}"
        newest = {path: file for (path, _), file in self.raw.items()}
        if not newest:
            return self.file()
        content = NOTHING
        for file in newest.values():
            content = content.plus(self._of_file(file))
        return Source(Access("path", directory), tuple(newest.values()), content)

    def _of_file(self, file: RawFile) -> Content:
        cells = Cells(
            frozenset({(file.path, file.sha256, None)}),
            {name: frozenset({(file.path, file.sha256, name)}) for name in COLUMNS},
        )
        return Content(cells, cells, cells)

    def table(self, columns: bool = True) -> Source:
        """A table, by name or by its place, at its newest version or an earlier one."""
        held = [each for each in self.alive.values() if each.versions]
        if not held:
            return self.file()
        chosen = self.random.choice(held)
        version = len(chosen.versions) - 1
        if self.random.random() < 0.3:
            version = self.random.randrange(len(chosen.versions))
        # A managed table is recorded by its name, also where it was read by its place.
        by_path = chosen.location.startswith("/elsewhere") and self.random.random() < 0.4
        kind, name = ("path", "") if by_path else ("table", chosen.name)
        touched = COLUMNS if columns else None
        access = Access(kind, name or chosen.location, version, touched, chosen.location)  # type: ignore[arg-type]
        return Source(access, (), chosen.versions[version])

    def written_files(self) -> Source:
        """Plain files that an operation wrote."""
        if not self.plain:
            return self.file()
        path = self.random.choice(sorted(self.plain))
        file = RawFile(f"{path}/part-0.parquet", 10, sha256(path.encode()).hexdigest(), START)
        return Source(Access("path", path), (file,), self.plain[path])

    def source(self) -> Source:
        """Any of them."""
        kinds = [self.file, self.directory, self.table, self.table, self.table, self.written_files]
        return self.random.choice(kinds)()

    # ---- queries -------------------------------------------------------------------------

    def query(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        """A random query: what it reads, the flows of its columns, and what comes out."""
        shapes = [
            self._projection, self._filter, self._aggregate, self._join, self._union,
            self._lookup, self._scalar_function, self._opaque, self._unknown,
        ]  # fmt: skip
        return self.random.choice(shapes)()

    def _renamed(self) -> dict[str, str | None]:
        """For each column of the result, the column it is, or ``None`` for a literal."""
        return {name: self.random.choice([name, name, name, *COLUMNS, None]) for name in COLUMNS}

    def _projected(
        self, source: Source, position: int, names: dict[str, str | None]
    ) -> tuple[list[ColumnFlow], Content]:
        flows = [ColumnFlow(None, position, None, "direct")]
        flows += [ColumnFlow(n, position, of, "direct") for n, of in names.items() if of]

        def cells(of: Cells) -> Cells:
            return Cells(
                of.rows, {n: of.columns.get(c, NONE) if c else NONE for n, c in names.items()}
            )

        return flows, both(cells, source.content)

    def _projection(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        source = self.source()
        flows, content = self._projected(source, 0, self._renamed())
        return [source], tuple(flows), content

    def _filter(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        source, by = self.source(), self.random.choice(COLUMNS)
        flows, content = self._projected(source, 0, self._renamed())
        return (
            [source],
            (*flows, ColumnFlow(None, 0, by, "indirect")),
            _also(content, source.content, by),
        )

    def _aggregate(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        source, by = self.source(), self.random.choice(COLUMNS)
        names = self._renamed() | {by: by}
        flows, content = self._projected(source, 0, names)
        return (
            [source],
            (*flows, ColumnFlow(None, 0, by, "indirect")),
            _also(content, source.content, by),
        )

    def _join(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        left, right = self.source(), self.source()
        if _clash(left, right):
            return self._filter()
        key = self.random.choice(COLUMNS)
        from_left = dict.fromkeys(COLUMNS[:2])
        names_left: dict[str, str | None] = {n: n for n in from_left}
        flows, content = self._projected(left, 0, names_left)
        more, other = self._projected(right, 1, {"c": self.random.choice(COLUMNS)})
        content = _also(_also(content.plus(other), left.content, key), right.content, key)
        keys = [ColumnFlow(None, position, key, "indirect") for position in (0, 1)]
        return [left, right], (*flows, *more, *keys), content

    def _union(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        left, right = self.source(), self.source()
        if _clash(left, right):
            return self._projection()
        flows, content = self._projected(left, 0, self._renamed())
        more, other = self._projected(right, 1, self._renamed())
        return [left, right], (*flows, *more), content.plus(other)

    def _lookup(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        """``SELECT a, b, (SELECT max(x) FROM other) AS c``: rows of the other decide no rows."""
        left, right = self.source(), self.source()
        if _clash(left, right):
            return self._projection()
        of = self.random.choice(COLUMNS)
        flows, content = self._projected(left, 0, {"a": "a", "b": "b"})

        def value(cells: Cells) -> Cells:
            return Cells(NONE, {"c": cells.columns.get(of, NONE) | cells.rows})

        more = [ColumnFlow("c", 1, of, "direct"), ColumnFlow("c", 1, None, "indirect")]
        return [left, right], (*flows, *more), content.plus(both(value, right.content))

    def _scalar_function(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        """A Python function of one column: it uses its value, or it does not."""
        source, of = self.source(), self.random.choice(COLUMNS)
        flows, content = self._projected(source, 0, {"a": "a", "b": "b"})
        uses = self.random.random() < 0.5
        seen = source.content.may.columns.get(of, NONE)
        used = source.content.real.columns.get(of, NONE) if uses else NONE
        value = Content(
            Cells(NONE, {"c": NONE}), Cells(NONE, {"c": used}), Cells(NONE, {"c": seen})
        )
        return [source], (*flows, ColumnFlow("c", 0, of, "unknown")), content.plus(value)

    def _opaque(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        """``mapInPandas``: anything can become anything."""
        source = self.source()
        return (
            [source],
            (ColumnFlow(None, 0, None, "unknown"),),
            _opaque(source, self.random.choice([None, *COLUMNS]), sure=False),
        )

    def _unknown(self) -> tuple[list[Source], tuple[ColumnFlow, ...], Content]:
        """A query of which no flows are recorded."""
        source = self.source()
        return [source], (), _opaque(source, self.random.choice([None, *COLUMNS]), sure=True)

    # ---- statements ----------------------------------------------------------------------

    def write(self) -> None:
        """A query into a table: append, overwrite, a part, or a merge; or into plain files."""
        sources, flows, content = self.query()
        name = f"main.w{self.number}.t{self.random.randrange(4)}"
        if self.random.random() < 0.1:
            self._write_plain(sources, flows, content)
            return
        table = self.alive.get(name)
        if table is None:
            location = f"{self.root}/{name.replace('.', '/')}"
            if self.random.random() < 0.2:
                location = f"/elsewhere/w{self.number}/{len(self.tables)}"
            table = self.alive[name] = Table(name, location)
            self.tables.append(table)
            mode = self.random.choice(["append", "overwrite"])
        else:
            mode = self.random.choice(
                ["append", "append", "overwrite", "overwrite_part", "merge", "update", "delete"]
            )
        before = table.versions[-1] if table.versions else None
        kept = before is not None and mode != "overwrite"
        if before is not None and kept:
            content = before.plus(content)
        by_path = table.location.startswith("/elsewhere") and self.random.random() < 0.4
        access = Access(
            "path" if by_path else "table",
            table.location if by_path else table.name,
            len(table.versions),
            None,
            table.location,
        )
        table.versions.append(content)
        table.first = table.first or self.next_id
        kind = {"append": "append", "overwrite": "refresh"}.get(mode, "write")
        self.record(sources, writes=(access,), mode=mode, flows=flows, kind=kind)

    def _write_plain(
        self, sources: list[Source], flows: tuple[ColumnFlow, ...], content: Content
    ) -> None:
        path = f"/project/out/w{self.number}/{self.random.randrange(2)}"
        mode = self.random.choice(["append", "overwrite"])
        if mode == "append" and path in self.plain:
            content = self.plain[path].plus(content)
        self.plain[path] = content
        self.record(sources, writes=(Access("path", path),), mode=mode, flows=flows)

    def drop(self) -> None:
        """Drop a table; it may be made again, under its name and in its place."""
        if self.alive:
            del self.alive[self.random.choice(sorted(self.alive))]

    def move(self) -> None:
        """Move the project: managed tables lie elsewhere from now on."""
        new = f"/moved{len(self.operations)}/warehouse"
        for table in self.alive.values():
            if table.location.startswith(self.root):
                table.location = new + table.location.removeprefix(self.root)
        self.root = new

    def train(self) -> None:
        """A model that learns from some columns of a table."""
        source = self.table()
        touched = tuple(sorted(self.random.sample(COLUMNS, self.random.randrange(1, 4))))
        access = replace(source.access, columns=touched)
        digits = sha256(f"{self.number}-{len(self.operations)}".encode()).hexdigest()[:32]
        content = source.content
        self.models[f"m-{digits}"] = (
            content.sure.rows.union(*(content.sure.column(n) for n in touched)),
            content.real.rows.union(*(content.real.column(n) for n in touched)),
            content.may.rows.union(*(content.may.column(n) for n in touched)),
        )
        self.record([replace(source, access=access)], kind="train", run=digits)

    def score(self) -> None:
        """A batch scoring: it replaces what the table of predictions held, whatever its mode."""
        if not self.models:
            return
        model = self.random.choice(sorted(self.models))
        source = self.table()
        touched = tuple(sorted(self.random.sample(COLUMNS, 2)))
        name = f"main.w{self.number}.predictions"
        table = self.alive.get(name)
        if table is None:
            table = self.alive[name] = Table(name, f"{self.root}/{name.replace('.', '/')}")
            self.tables.append(table)
        content = _opaque(source, None, sure=True, touched=touched)
        learned = self.models[model]
        parts = [
            Cells(each.rows | atoms, dict.fromkeys(COLUMNS, NONE))
            for each, atoms in zip((content.sure, content.real, content.may), learned, strict=True)
        ]
        table.versions.append(Content(*parts))
        table.first = table.first or self.next_id
        self.record(
            [
                replace(source, access=replace(source.access, columns=touched)),
                Source(Access("model", f"models:/{model}"), (), NOTHING),
            ],
            writes=(Access("table", name, len(table.versions) - 1, None, table.location),),
            mode=self.random.choice(["overwrite", "append", "merge"]),
            kind="score",
        )


def _clash(left: Source, right: Source) -> bool:
    """The same thing twice, or a directory that changes while one query reads it."""
    contents = {file.path: file.sha256 for file in left.files}
    changed = any(contents.get(f.path, f.sha256) != f.sha256 for f in right.files)
    covering = left.access.name.count("/") == 3 or right.access.name.count("/") == 3
    listed = covering and {*left.files} != {*right.files} and bool(left.files and right.files)
    return left.access == right.access or changed or listed


def _also(content: Content, source: Content, by: str) -> Content:
    """A column of a source decides which rows there are."""

    def add(cells: Cells, of: Cells) -> Cells:
        return Cells(cells.rows | of.columns.get(by, NONE), cells.columns)

    return Content(
        add(content.sure, source.sure), add(content.real, source.real), add(content.may, source.may)
    )


def _opaque(
    source: Source, used: str | None, *, sure: bool, touched: tuple[str, ...] = COLUMNS
) -> Content:
    """What comes out of code that sees rows: surely some rows, or not even that.

    Args:
        used: the column that it happens to use beside the rows.
        sure: whether it is certain that rows came of rows.
        touched: the columns that it can have seen.
    """
    content = source.content
    real = content.real.rows | (content.real.columns.get(used, NONE) if used in touched else NONE)
    may = content.may.rows.union(*(content.may.columns.get(n, NONE) for n in touched))
    empty = dict.fromkeys(COLUMNS, NONE)
    certain = content.sure.rows if sure else NONE
    return Content(Cells(certain, empty), Cells(real, empty), Cells(may, empty))


def make_world(number: int, steps: int = 12) -> World:
    """The history of that number; the same one each time."""
    world = World(number, random.Random(number))
    statements = [world.write] * 9 + [world.train, world.score, world.score, world.drop]
    for _ in range(steps):
        world.random.choice(statements)()
        if world.random.random() < 0.02:
            world.move()
    return world
