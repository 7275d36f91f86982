"""The recorded operations as a recall asks for them: who read what, and who wrote over it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, column, inspect, or_, select, table

from headrace import lakehouse
from headrace.catalog import Access, ColumnFlow, Operation, TableName
from headrace.catalog import flows as flow_sets
from headrace.catalog.tables import accesses, files, operation_files, operations
from headrace.lakehouse.log import actions

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.catalog import Store

_AT_A_TIME: Final = 500  # below the number of bound values that any SQLite accepts
_BY_TIME: Final = -1  # a RESTORE to a moment: the log does not say which version that was
_REPLACING: Final = {"REPLACE TABLE", "CREATE OR REPLACE TABLE", "REPLACE TABLE AS SELECT"}

_runs = table("runs", column("run_uuid"), column("start_time"))
_run_tags = table("tags", column("run_uuid"), column("key"), column("value"))
_logged = table("logged_models", column("model_id"), column("source_run_id"))
_versions = table(
    "model_versions",
    column("name"),
    column("version"),
    column("run_id"),
    column("source"),
    column("storage_location"),
)


class Written(NamedTuple):
    """One commit of a table, recorded or found in its log alone.

    Attributes:
        operation: id of the recorded operation; ``None`` for a commit that nobody recorded.
        replaces: no row from before is left.
        kind: of the operation.
        restores: the version whose rows it brought back; -1 where the log names a moment.
        what: the Delta operation, of a commit that nobody recorded.
    """

    version: int
    operation: str | None
    replaces: bool
    kind: str = ""
    restores: int | None = None
    what: str = ""


class Reader(NamedTuple):
    """A read of a table, and the operation that made it."""

    operation: str
    position: int
    version: int | None


class Records:
    """Questions about recorded operations, answered from the database.

    Args:
        store: the database.
        warehouse: directory of the managed tables: their places are known relative to it, so
            that a project can move.
        logs: look into the Delta logs for commits that nobody recorded.
    """

    def __init__(self, store: Store, warehouse: Path, *, logs: bool = True) -> None:
        self._store, self._warehouse, self._logs = store, warehouse.absolute(), logs
        self._names: dict[str, frozenset[str]] = {}
        self._written: dict[str, list[Written]] = {}
        self._operations: dict[str, Operation] = {}
        self._places: dict[tuple[str, str | None], str] = {}
        self._keys: dict[str, frozenset[str]] = {}
        self._flows: dict[int | None, tuple[ColumnFlow, ...]] = {}

    # ---- tables -------------------------------------------------------------------------

    def key(self, access: Access) -> str:
        """What identifies a table: the place of its Delta log, whatever it is called."""
        if access.location is not None:
            return self._place(access.location, access.name if access.kind == "table" else None)
        if access.kind == "path":
            return self._place(access.name, None)
        return min(self.keys_of(access.name))

    def keys_of(self, name: str) -> frozenset[str]:
        """The places where tables of a name have lain; where it would lie if none is recorded."""
        if name not in self._keys:
            query = (
                select(accesses.c.location)
                .where(accesses.c.name == name, accesses.c.location.is_not(None))
                .distinct()
            )
            with self._store.reading() as connection:
                found = list(connection.scalars(query))
            self._keys[name] = frozenset(
                self._place(each, name) for each in found or [_managed(name)]
            )
        return self._keys[name]

    def location(self, key: str) -> str:
        """The directory, or the address, of a table's Delta log."""
        return key if key.startswith("/") or "://" in key else str(self._warehouse / key)

    def writes(self, key: str) -> list[Written]:
        """The recorded commits of a table whose versions are known, in no order."""
        if key not in self._written:
            query = select(
                accesses.c.name,
                accesses.c.version,
                accesses.c.location,
                accesses.c.replaces,
                accesses.c.operation_id,
                operations.c.kind,
            ).join(operations)
            known = accesses.c.version.is_not(None)
            self._written[key] = [
                # What a scoring leaves in place is what it would write again, to the bit.
                Written(version, operation, bool(replaces) or kind == "score", kind)
                for name, version, location, replaces, operation, kind in self._rows(
                    query, _is(self.names(key), "write"), known
                )
                if self._is_at(name, location, key)
            ]
        return self._written[key]

    def moments(self, key: str) -> dict[str, tuple[datetime, datetime]]:
        """When each operation that wrote a table began and ended."""
        query = select(operations.c.id, operations.c.started_at, operations.c.finished_at).join(
            accesses
        )
        return {
            operation: (started, finished)
            for operation, started, finished in self._rows(query, _is(self.names(key), "write"))
        }

    def readers(self, key: str, spans: Sequence[tuple[int, int | None]]) -> list[Reader]:
        """Reads of versions of a table, and of unknown versions of it.

        Args:
            key: the table.
            spans: first and last version of each range; no last one for all that follow.
        """
        first = min(each for each, _ in spans)
        lasts = [last for _, last in spans if last is not None]
        between = accesses.c.version >= first
        if len(lasts) == len(spans):
            between = and_(between, accesses.c.version <= max(lasts))
        query = select(
            accesses.c.operation_id,
            accesses.c.position,
            accesses.c.kind,
            accesses.c.name,
            accesses.c.version,
            accesses.c.location,
        )
        conditions = (_is(self.names(key), "read"), or_(between, accesses.c.version.is_(None)))
        return [
            Reader(operation, position, version)
            for operation, position, kind, name, version, location in self._rows(query, *conditions)
            # Reads of plain files carry no version and no place.
            if (kind != "path" or version is not None or location is not None)
            and self._is_at(name, location, key)
        ]

    def unrecorded(self, key: str, known: Collection[int], after: int) -> list[Written]:
        """Commits of a table's log later than ``after`` that replaced rows unrecorded."""
        location = self.location(key)
        if not self._logs or not location.startswith("/"):
            return []
        latest = lakehouse.latest_version(location)
        if latest is None:
            return []
        there = set(known)
        missing = [version for version in range(after + 1, latest + 1) if version not in there]
        return [found for each in missing if (found := _of_log(Path(location), each)) is not None]

    def names(self, key: str) -> frozenset[str]:
        """Every name and path under which reads and writes of a table are recorded."""
        if key not in self._names:
            location = self.location(key)
            found = {location}
            if location != key:
                found.add(key.replace("/", "."))
            query = select(accesses.c.name).where(accesses.c.location == location).distinct()
            with self._store.reading() as connection:
                found.update(connection.scalars(query))
            self._names[key] = frozenset(found)
        return self._names[key]

    def _is_at(self, name: str, location: str | None, key: str) -> bool:
        if location is None:
            return key in self.keys_of(name)
        return self._place(location, name) == key

    def _place(self, location: str, name: str | None) -> str:
        found = self._places.get((location, name))
        if found is None:
            found = self._places[location, name] = self._placed(location, name)
        return found

    def _placed(self, location: str, name: str | None) -> str:
        path = Path(location)
        if path.is_relative_to(self._warehouse):
            return path.relative_to(self._warehouse).as_posix()
        if name is not None and not name.startswith("/") and "://" not in name:
            # A project that was moved has recorded the places of before.
            managed = _managed(name)
            if location == managed or location.endswith(f"/{self._warehouse.name}/{managed}"):
                return managed
        return location

    # ---- files, models, sessions ---------------------------------------------------------

    def of_files(self, ids: Iterable[int]) -> dict[str, list[int]]:
        """Operations that read these files, each with the keys of those that it read."""
        found: dict[str, list[int]] = {}
        query = select(operation_files.c.operation_id, operation_files.c.file_id)
        for some in _parts(sorted(ids)):
            for row in self._rows(query, operation_files.c.file_id.in_(some)):
                found.setdefault(row.operation_id, []).append(row.file_id)
        return found

    def below(self, path: str) -> list[str]:
        """Operations that read files at or below a path, or a path of unlisted files there."""
        at = or_(files.c.path == path, under(self._store, files.c.path, path))
        query = select(operation_files.c.operation_id).join(files).distinct()
        found = {row.operation_id: None for row in self._rows(query, at)}
        return [*found, *self.unlisted([path])]

    def unlisted(self, paths: Collection[str]) -> list[str]:
        """Operations that read plain files one of which can lie at, below or above these paths.

        Rows that a program collects are recorded with the path that was read, and without the
        files there.
        """
        over = {str(each) for path in paths for each in (Path(path), *Path(path).parents)}
        # Paths begin with a slash, names of tables do not.
        name = _in_order(self._store, accesses.c.name)
        plain = and_(
            name >= "/",
            name < "0",
            accesses.c.direction == "read",
            accesses.c.kind == "path",
            accesses.c.version.is_(None),
        )
        listed = select(operation_files.c.operation_id).where(
            operation_files.c.operation_id == accesses.c.operation_id
        )
        query = select(accesses.c.operation_id, accesses.c.name)
        stems = tuple(path.rstrip("/") + "/" for path in paths)
        return [
            row.operation_id
            for row in self._rows(query, plain, ~listed.exists())
            if row.name in over or row.name.startswith(stems) or set("*?[{") & set(row.name)
        ]

    def overwrites(self, path: str) -> list[Operation]:
        """Operations that wrote all plain files of a path anew."""
        query = select(accesses.c.operation_id).join(operations)
        wrote = and_(
            accesses.c.name == path,
            accesses.c.direction == "write",
            accesses.c.version.is_(None),
            operations.c.mode == "overwrite",
        )
        found = [row.operation_id for row in self._rows(query, wrote)]
        return list(self.operations(found).values())

    def of_models(self, ids: Collection[str]) -> list[tuple[str, Reader]]:
        """Reads of logged models, under any of the addresses that stand for them."""
        uris = {f"models:/{each}": each for each in ids}
        for model_id, name, version in self.registered():
            if model_id in ids:
                uris[f"models:/{name}/{version}"] = model_id
        query = select(accesses.c.operation_id, accesses.c.position, accesses.c.name)
        return [
            (uris[row.name], Reader(row.operation_id, row.position, None))
            for some in _parts(sorted(uris))
            for row in self._rows(query, _is(some, "read"))
        ]

    def models_of(self, runs: Collection[str]) -> list[tuple[str, str]]:
        """Run and model id of each model that one of these runs has logged."""
        found = [
            (run, each)
            for each, run in self._logged_models.items()
            if run is not None and run in runs
        ]
        known = set(found)
        for model_id, run in self._version_runs:
            if run in runs and (run, model_id) not in known:
                found.append((run, model_id))
        return found

    def registered(self) -> list[tuple[str, str, int]]:
        """Model id, name and number of every registered version."""
        return self._registry

    def label_of(self, model_id: str) -> str:
        """``name/3``, or the id of a logged model that was never registered."""
        named = [f"{name}/{version}" for each, name, version in self._registry if each == model_id]
        return named[-1] if named else model_id

    def of_session(self, session: str, since: datetime) -> list[str]:
        """Writes of a session without a read, since a moment: rows that its program made."""
        read = select(accesses.c.operation_id).where(
            accesses.c.operation_id == operations.c.id, accesses.c.direction == "read"
        )
        query = select(operations.c.id)
        conditions = (
            operations.c.session_id == session,
            operations.c.finished_at >= since,
            operations.c.kind == "write",
            ~read.exists(),
        )
        return [row.id for row in self._rows(query, *conditions)]

    def runs_of_session(self, session: str, since: datetime) -> list[str]:
        """Runs that a session began after a moment, without those whose training is recorded."""
        if not self._has("runs"):
            return []
        trained = select(operations.c.id).where(
            operations.c.run_id == _runs.c.run_uuid, operations.c.kind == "train"
        )
        query = (
            select(_runs.c.run_uuid)
            .join(_run_tags, _run_tags.c.run_uuid == _runs.c.run_uuid)
            .where(
                _run_tags.c.key == "headrace.session_id",
                _run_tags.c.value == session,
                _runs.c.start_time >= int(since.timestamp() * 1000),
                ~trained.exists(),
            )
        )
        with self._store.reading() as connection:
            return list(connection.scalars(query))

    # ---- operations ----------------------------------------------------------------------

    def operations(self, ids: Iterable[str]) -> dict[str, Operation]:
        """Operations with their reads, writes and flows, and without their files."""
        wanted = list(dict.fromkeys(ids))
        missing = [each for each in wanted if each not in self._operations]
        with self._store.reading() as connection:
            for some in _parts(missing):
                self._load(connection, some)
        return {each: self._operations[each] for each in wanted if each in self._operations}

    def _load(self, connection: Connection, ids: list[str]) -> None:
        rows = connection.execute(select(operations).where(operations.c.id.in_(ids))).all()
        touched: dict[tuple[str, str], list[Access]] = {}
        query = (
            select(
                accesses.c.operation_id,
                accesses.c.direction,
                accesses.c.kind,
                accesses.c.name,
                accesses.c.version,
                accesses.c.columns,
                accesses.c.location,
            )
            .where(accesses.c.operation_id.in_(ids))
            .order_by(accesses.c.operation_id, accesses.c.direction, accesses.c.position)
        )
        for each, direction, kind, name, version, columns, place in connection.execute(query).all():
            named = None if columns is None else tuple(columns)
            access = Access(kind, name, version, named, place)
            touched.setdefault((each, direction), []).append(access)
        flows = flow_sets.of_sets(connection, [row.flow_set for row in rows])
        for row in rows:
            kept = self._flows.setdefault(row.flow_set, flows.get(row.flow_set, ()))
            self._operations[row.id] = Operation(
                id=row.id,
                kind=row.kind,
                subject=row.subject,
                session_id=row.session_id,
                run_id=row.run_id,
                started_at=row.started_at,
                finished_at=row.finished_at,
                reads=tuple(touched.get((row.id, "read"), ())),
                writes=tuple(touched.get((row.id, "write"), ())),
                mode=row.mode,
                source=row.source,
                flows=kept if row.flow_set is not None else (),
            )

    # ---- MLflow's tables -------------------------------------------------------------------

    @cached_property
    def _logged_models(self) -> dict[str, str | None]:
        if not self._has("logged_models"):
            return {}
        with self._store.reading() as connection:
            rows = connection.execute(select(_logged.c.model_id, _logged.c.source_run_id)).all()
        return {row.model_id: row.source_run_id for row in rows}

    @cached_property
    def _versions(self) -> list[Any]:
        if not self._has("model_versions"):
            return []
        with self._store.reading() as connection:
            return list(connection.execute(select(_versions)))

    @cached_property
    def _registry(self) -> list[tuple[str, str, int]]:
        return [
            (model_id, row.name, int(row.version))
            for row in self._versions
            if (model_id := _model_id(row)) is not None
        ]

    @cached_property
    def _version_runs(self) -> list[tuple[str, str]]:
        return [
            (model_id, row.run_id)
            for row in self._versions
            if row.run_id and (model_id := _model_id(row)) is not None
        ]

    def _has(self, name: str) -> bool:
        with self._store.reading() as connection:
            return inspect(connection).has_table(name)

    def _rows(self, query: Select[Any], *conditions: ColumnElement[bool]) -> list[Any]:
        with self._store.reading() as connection:
            # At once: fetched one by one, a hundred thousand rows take several times as long.
            return list(connection.execute(query.where(*conditions)).all())


def _model_id(row: Any) -> str | None:
    for place in (row.source, row.storage_location):
        for part in str(place or "").replace("models:/", "/").split("/"):
            if part.startswith("m-") and len(part) == 34:
                return part
    return None


def _managed(name: str) -> str:
    return str(TableName.parse(name)).replace(".", "/")


def _is(names: Collection[str], direction: str) -> ColumnElement[bool]:
    return and_(accesses.c.name.in_(sorted(names)), accesses.c.direction == direction)


def under(store: Store, column: Any, path: str) -> ColumnElement[bool]:
    """Whether a column's path lies below another one: a range, which an index answers."""
    stem, ordered = path.rstrip("/"), _in_order(store, column)
    return and_(ordered > stem + "/", ordered < stem + "0")  # "0" follows "/"


def _in_order(store: Store, column: Any) -> Any:
    """The column in the order of its bytes: that of a language leaves out the slashes."""
    return column.collate("C") if store.dialect == "postgresql" else column


def _parts(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _AT_A_TIME):
        yield values[start : start + _AT_A_TIME]


def _of_log(location: Path, version: int) -> Written | None:
    """A commit that replaced or brought back rows; ``None`` for any other, or a lost one."""
    if not (location / "_delta_log" / f"{version:020}.json").exists():
        return None  # a log keeps its newest commits alone
    found: dict[str, Any] = {}
    for action in actions(location, version):
        found = action.get("commitInfo") or found
    what = str(found.get("operation", ""))
    parameters = found.get("operationParameters") or {}
    if what == "RESTORE":
        given = str(parameters.get("version", ""))
        restored = int(given) if given.isdigit() else _BY_TIME
        return Written(version, None, replaces=True, restores=restored, what=what)
    mode = str(parameters.get("mode", "")).lower()
    if (mode == "overwrite" and not parameters.get("predicate")) or what in _REPLACING:
        return Written(version, None, replaces=True, what=what)
    return None
