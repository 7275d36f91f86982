"""From a subject to its picture: what was recorded, grouped as a person thinks of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, or_, select

from headrace.catalog.reach import Map, Reached, Thing, downstream, upstream
from headrace.catalog.reach.models import Models
from headrace.catalog.tables import accesses, files
from headrace.catalog.tables import operations as recorded
from headrace.trace import raw
from headrace.trace.lineage.picture import Arrow, Box, Picture, Side
from headrace.trace.lineage.subject import Subject, find
from headrace.trace.render import plural, size_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.catalog.operation import How
    from headrace.workspace import Workspace

_STRENGTH: Final[dict[How, int]] = {"unknown": 0, "indirect": 1, "direct": 2}
_GROUPED: Final = 3  # so many directories of files that feed the same tables are one box

_WORDS: Final = {
    "append": ("append", "appends"),
    "read": ("read", "reads"),
    "refresh": ("refresh", "refreshes"),
    "request_log": ("hour of requests", "hours of requests"),
    "score": ("scoring", "scorings"),
    "train": ("training", "trainings"),
    "write": ("write", "writes"),
}


def lineage(
    workspace: Workspace,
    subject: Subject | str,
    *,
    column: str | None = None,
    up: int | None = None,
    down: int | None = None,
) -> Picture:
    """What an object came from, and what came from it.

    Args:
        workspace: the project.
        subject: from ``find``, or a text that it knows.
        column: follow this column alone.
        up: at most so many operations back; 0 for none, ``None`` for all.
        down: at most so many on.

    Raises:
        TraceError: nothing of that name is known.
    """
    if isinstance(subject, str):
        subject = find(workspace, subject, column)
    return _Painter(workspace, subject).paint(up, down)


@dataclass
class _Painter:
    workspace: Workspace
    subject: Subject
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: dict[tuple[str, str], Arrow] = field(default_factory=dict)
    cut: list[Side] = field(default_factory=list)
    models: Models = field(default_factory=Models)
    model_ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    deployed: Sequence[tuple[str, str, str]] = ()

    def paint(self, up: int | None, down: int | None) -> Picture:
        with self.workspace.store.reading() as connection:
            self.models = Models.load(connection)
            self.deployed = _deployments(connection)
        me = self._self_box()
        self.boxes[me.id] = me
        sides: tuple[tuple[Side, int | None], ...] = (("up", up), ("down", down))
        for side, depth in sides:
            if depth != 0:
                self._side(me, side, depth)
        asked = tuple(side for side, depth in sides if depth != 0)
        self._endpoints(down)
        boxes = self._grouped(self._counted())
        order = {"self": 0, "up": 1, "down": 2}
        return Picture(
            me.id,
            self._title(),
            self.subject.column,
            tuple(sorted(boxes, key=lambda box: (order[box.side], box.distance, box.title))),
            tuple(sorted(self.arrows.values(), key=lambda arrow: (arrow.source, arrow.target))),
            asked,
            tuple(self.cut),
        )

    def _title(self) -> str:
        subject = self.subject
        name = subject.name
        if subject.kind == "path":
            name = raw.shown(self.workspace.paths, name)
        if subject.version is not None:
            name += f"{'/' if subject.kind == 'model' else '@'}{subject.version}"
        return name if subject.column is None else f"{name}.{subject.column}"

    def _self_box(self) -> Box:
        subject = self.subject
        kinds: dict[str, Any] = {"path": "files"}
        box_id = f"{subject.kind}:{subject.name}"
        marks: Mapping[str | None, How] = (
            {subject.column: "direct"} if subject.column is not None else {}
        )
        title = self._title() if subject.column is None else self._title().rpartition(".")[0]
        return Box(box_id, kinds.get(subject.kind, subject.kind), title, "self", 0, columns=marks)

    # ---- the ways --------------------------------------------------------------------------

    def _side(self, me: Box, side: Side, depth: int | None) -> None:
        subject = self.subject
        things = self._start(side)
        offset = 1 if subject.kind == "endpoint" else 0
        if offset:
            for thing in things:
                box = self._box(thing, side, 1)
                ends = (box.id, me.id) if side == "up" else (me.id, box.id)
                self._arrow(*ends, "answers" if side == "up" else "logged", ())
        if not things or (depth is not None and depth <= offset):
            return
        columns: list[str | None] | None = None if subject.column is None else [subject.column]
        version = subject.version if subject.kind == "table" else None
        asked = None if depth is None else depth - offset
        ask = upstream if side == "up" else downstream
        more: dict[str, Any] = {"files": True} if subject.files and side == "down" else {}
        # One step more says whether the way goes on.
        further = None if asked is None else asked + 1
        found = ask(self.workspace.store, things, version, columns=columns, depth=further, **more)
        self._add(found, side, offset, asked)

    def _start(self, side: Side) -> list[Thing]:
        subject = self.subject
        if subject.kind == "table":
            return [Thing("table", subject.name)]
        if subject.kind == "path":
            return [Thing("path", subject.name)]
        if subject.kind == "model":
            ids = self.models.ids_of(subject.name, subject.version)
            return [Thing("model", each) for each in ids]
        if side == "up":
            active = [model for name, model, state in self.deployed if name == subject.name]
            return [Thing("model", each) for each in dict.fromkeys(active)]
        return [Thing("table", each) for each in _logs_of(self.workspace, subject.name)]

    def _add(self, found: Map, side: Side, offset: int, depth: int | None) -> None:
        ids: dict[Thing, str] = {}
        for thing, reached in found.things.items():
            if depth is not None and reached.distance > depth:
                if side not in self.cut:
                    self.cut.append(side)
                continue
            box = self._box(thing, side, reached.distance + offset, reached)
            ids[thing] = box.id
        for link in found.links:
            if link.source not in ids or link.target not in ids:
                continue
            source, target = ids[link.source], ids[link.target]
            if source == target:
                continue
            one, many = _WORDS.get(link.kinds[0], ("operation", "operations"))
            if len(link.kinds) > 1:
                one, many = "operation", "operations"
            label = f"{link.operations:,} {one if link.operations == 1 else many}"
            self._arrow(source, target, label, link.columns)

    def _box(self, thing: Thing, side: Side, distance: int, reached: Reached | None = None) -> Box:
        """The box of a thing: versions of a model are one."""
        kind = "files" if thing.kind == "path" else thing.kind
        name, title = thing.name, thing.name
        if thing.kind == "model":
            names = self.models.names.get(thing.name, [])
            title = names[0].rpartition("/")[0] if names else thing.name
            name = title
        elif thing.kind == "path":
            title = raw.shown(self.workspace.paths, thing.name)
        box_id = f"{thing.kind}:{name}"
        if thing.kind == "model":
            self.model_ids[box_id].add(thing.name)
        columns = dict(reached.columns) if reached is not None else {}
        known = self.boxes.get(box_id)
        if known is None:
            known = Box(box_id, kind, title, side, distance)
        facts = dict(known.facts)
        if reached is not None and reached.first is not None and known.side != "self":
            facts |= {"first": reached.first, "last": reached.last}
        if known.side != "self":
            known = replace(
                known,
                distance=min(known.distance, distance),
                columns=_surest(known.columns, columns),
            )
        self.boxes[box_id] = replace(known, facts=facts)
        return self.boxes[box_id]

    def _arrow(
        self,
        source: str,
        target: str,
        label: str,
        pairs: Iterable[tuple[str | None, str | None, How]],
    ) -> None:
        known = self.arrows.get((source, target))
        every = tuple(dict.fromkeys((*(known.pairs if known else ()), *pairs)))
        how = max((each[2] for each in every), key=_STRENGTH.__getitem__, default=None)
        self.arrows[source, target] = Arrow(
            source, target, known.label if known else label, how, every
        )

    def _endpoints(self, down: int | None) -> None:
        """The endpoints that answer with a model that was reached."""
        for box_id, ids in list(self.model_ids.items()):
            box = self.boxes[box_id]
            if box.side == "up" or (down is not None and box.distance >= down):
                continue
            serving = sorted({name for name, model, _ in self.deployed if model in ids})
            for name in serving:
                end = Box(f"endpoint:{name}", "endpoint", name, "down", box.distance + 1)
                self.boxes.setdefault(end.id, end)
                self._arrow(box_id, end.id, "answers", ())

    # ---- words -----------------------------------------------------------------------------

    def _counted(self) -> list[Box]:
        """The boxes with a few words about each."""
        found = []
        with self.workspace.store.reading() as connection:
            for box in self.boxes.values():
                detail, facts = "", dict(box.facts)
                if box.kind == "files":
                    name = box.id.partition(":")[2]
                    count, size = _files_below(connection, name)
                    facts |= {"files": count, "bytes": size}
                    if count:
                        detail = f"{plural(count, 'file')}, {size_text(size)}"
                elif box.kind == "model":
                    versions = sorted(
                        int(each.rpartition("/")[2])
                        for model in self.model_ids.get(box.id, ())
                        for each in self.models.names.get(model, ())
                    )
                    facts["versions"] = versions
                    detail = _listed(versions)
                elif "first" in facts:
                    detail = _versions(facts["first"], facts["last"])
                found.append(replace(box, detail=detail, facts=facts))
        return found

    def _grouped(self, boxes: list[Box]) -> list[Box]:
        """Directories beside each other that feed the same tables, as one box."""
        groups: dict[tuple[str, str, frozenset[str]], list[Box]] = defaultdict(list)
        for box in boxes:
            if box.kind == "files" and box.side != "self":
                ends = frozenset(
                    arrow.target if box.side == "up" else arrow.source
                    for arrow in self.arrows.values()
                    if box.id in (arrow.source, arrow.target)
                )
                place = str(Path(box.id.partition(":")[2]).parent)
                groups[box.side, place, ends].append(box)
        kept = {box.id: box for box in boxes}
        for (_, place, _), group in groups.items():
            if len(group) <= _GROUPED:
                continue
            whole = self._group(place, group)
            for box in group:
                del kept[box.id]
                self._lead(box.id, whole.id)
            kept[whole.id] = whole
        return list(kept.values())

    def _group(self, place: str, group: list[Box]) -> Box:
        count = sum(int(box.facts.get("files") or 0) for box in group)
        size = sum(int(box.facts.get("bytes") or 0) for box in group)
        columns: Mapping[str | None, How] = {}
        for box in group:
            columns = _surest(columns, box.columns)
        shown = raw.shown(self.workspace.paths, place)
        return Box(
            f"path:{place}/*",
            "files",
            f"{shown}/*",
            group[0].side,
            min(box.distance for box in group),
            ("" if count == len(group) else f"{plural(len(group), 'place')}, ")
            + f"{plural(count, 'file')}, {size_text(size)}",
            columns,
            {"places": [box.title for box in group], "files": count, "bytes": size},
        )

    def _lead(self, old: str, new: str) -> None:
        """Let the arrows of one box begin or end at another."""
        for (source, target), arrow in list(self.arrows.items()):
            if old in (source, target):
                del self.arrows[source, target]
                ends = (new, target) if source == old else (source, new)
                self._arrow(*ends, arrow.label, arrow.pairs)


def _surest(
    one: Mapping[str | None, How], other: Mapping[str | None, How]
) -> Mapping[str | None, How]:
    found = dict(one)
    for column, how in other.items():
        if column not in found or _STRENGTH[how] > _STRENGTH[found[column]]:
            found[column] = how
    return found


def _deployments(connection: Connection) -> list[tuple[str, str, str]]:
    """Endpoint, model id and state of each deployment that is one now."""
    from headrace.endpoints.records import ACTIVE
    from headrace.endpoints.store import deployments

    query = select(deployments.c.endpoint, deployments.c.model_id, deployments.c.state)
    return [
        (row.endpoint, row.model_id, row.state)
        for row in connection.execute(query.where(deployments.c.state.in_(ACTIVE)))
    ]


def _logs_of(workspace: Workspace, endpoint: str) -> list[str]:
    query = (
        select(accesses.c.name)
        .join(recorded)
        .where(
            recorded.c.subject == endpoint,
            recorded.c.kind == "request_log",
            accesses.c.direction == "write",
        )
        .distinct()
    )
    with workspace.store.reading() as connection:
        return sorted(connection.scalars(query))


def _files_below(connection: Connection, path: str) -> tuple[int, int]:
    stem = path.rstrip("/")
    below = (files.c.path > stem + "/") & (files.c.path < stem + "0")
    # A file that was read again unchanged has one row, one that changed has several.
    newest = (
        select(func.max(files.c.id))
        .where(or_(files.c.path == path, below))
        .group_by(files.c.path)
        .scalar_subquery()
    )
    query = select(func.count(), func.coalesce(func.sum(files.c.size), 0)).where(
        files.c.id.in_(newest)
    )
    count, size = connection.execute(query).one()
    return int(count), int(size)


def _versions(first: int, last: int | None) -> str:
    if last is None:
        return f"version {first} and later" if first else ""
    return f"version {first}" if first == last else f"versions {first} to {last}"


def _listed(versions: Sequence[int]) -> str:
    if not versions:
        return "not registered"
    shown = ", ".join(map(str, versions[-4:]))
    more = f"{len(versions) - 4} earlier, " if len(versions) > 4 else ""
    return f"{'version' if len(versions) == 1 else 'versions'} {more}{shown}"
