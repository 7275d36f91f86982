"""From an origin to all that it reached."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace import lakehouse
from headrace.catalog import Access
from headrace.recall import origin as origins
from headrace.recall.answered import deployments
from headrace.recall.closure import Closure, Span
from headrace.recall.found import Collected, ReachedTable, Recall, Step, TableKind, Versions
from headrace.recall.learned import holdouts, models
from headrace.recall.marks import ROWS, Certainty
from headrace.recall.nodes import FilesOf, ModelOf, Node, RowsOf, RunOf, SessionOf
from headrace.recall.predicted import predictions
from headrace.recall.records import Records

if TYPE_CHECKING:
    from headrace.catalog import Operation
    from headrace.recall.found import How
    from headrace.recall.origin import Origin
    from headrace.workspace import Workspace

_KINDS: Final[dict[str, TableKind]] = {"score": "predictions", "request_log": "request log"}


def find(workspace: Workspace, origin: Origin | str) -> Recall:
    """Everything that data from an origin reached. Changes nothing, starts no engine.

    Args:
        workspace: the project.
        origin: from ``parse``, or a text that it knows.

    Raises:
        RecallError: the text stands for nothing that is known.
    """
    if isinstance(origin, str):
        origin = origins.parse(workspace, origin)
    started = time.perf_counter()
    closure = walk(workspace, origin)
    reach = Reach(workspace, closure)
    tables = reach.tables()
    batch = predictions(workspace, closure, tables)
    clean = {each.table for each in batch if each.holds_now is None}
    tables = [
        replace(each, holds_now=None, state="replaced")
        if each.name in clean and each.holds_now is not None
        else each
        for each in tables
    ]
    return Recall(
        origin=origin,
        tables=tuple(sorted(tables, key=_by_weight)),
        models=tuple(models(workspace, closure, reach)),
        deployments=tuple(deployments(workspace, closure)),
        predictions=tuple(batch),
        holdouts=tuple(holdouts(workspace, closure)),
        collected=tuple(reach.collected()),
        consumers=(),
        operations=len(closure.passed),
        seconds=time.perf_counter() - started,
    )


def walk(workspace: Workspace, origin: Origin) -> Closure:
    """The closure over the recorded operations, from an origin."""
    records = Records(workspace.store, workspace.catalog.warehouse)
    closure = Closure(records)
    columns: Sequence[str | None] = origin.columns or (ROWS,)
    if origin.table is not None and origin.version is not None:
        closure.begin_at_table(_key(workspace, records, origin.table), origin.version, columns)
    else:
        closure.begin_at_files(
            origin.label, first_reads(records, origin), columns, unlisted_reads(records, origin)
        )
    with _no_garbage():
        closure.walk()
    return closure


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Nothing that a walk makes is garbage before its end; looking for it takes a third of it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _key(workspace: Workspace, records: Records, name: str) -> str:
    """The place of the table that has the name now, or had it last."""
    entry = workspace.catalog.find(name)
    if entry is not None and entry.location is not None:
        return records.key(Access("table", name, None, None, entry.location))
    return max(records.keys_of(name), key=lambda key: len(records.writes(key)))


def first_reads(records: Records, origin: Origin) -> dict[str, list[int]]:
    """The operations that read the files, and at which of their reads."""
    paths = {each: file.path for file in origin.files for each in file.ids}
    found = records.of_files(paths)
    known = records.operations(found)
    reads: dict[str, list[int]] = {}
    for operation_id, ids in found.items():
        plain = [
            (position, access.name)
            for position, access in enumerate(known[operation_id].reads)
            if access.kind == "path" and access.version is None
        ]
        covering = [
            position
            for position, name in plain
            if any(origins.covers(name, paths[each]) for each in ids)
        ]
        every = range(len(known[operation_id].reads))
        reads[operation_id] = covering or [position for position, _ in plain] or list(every)
    return reads


def unlisted_reads(records: Records, origin: Origin) -> dict[str, list[int]]:
    """Operations that read a path where one of the files lies, without a list of the files."""
    paths = [file.path for file in origin.files]
    reads = {}
    for operation_id, operation in records.operations(records.unlisted(paths)).items():
        positions = [
            position
            for position, access in enumerate(operation.reads)
            if access.kind == "path"
            and access.version is None
            and any(origins.covers(access.name, path) for path in paths)
        ]
        if positions:
            reads[operation_id] = positions
    return reads


class Reach:
    """Words and facts for what a closure found."""

    def __init__(self, workspace: Workspace, closure: Closure) -> None:
        self._workspace, self._closure = workspace, closure

    def tables(self) -> list[ReachedTable]:
        """Tables and plain files, in no order."""
        found = [
            self._table(key, life, spans) for (key, life), spans in self._closure.spans().items()
        ]
        written: dict[str, list[FilesOf]] = {}
        for node in self._closure.marks:
            if isinstance(node, FilesOf):
                written.setdefault(node.path, []).append(node)
        return [*found, *(self._files(path, nodes) for path, nodes in written.items())]

    def name(self, key: str) -> str:
        """The name of the table in a place; the place itself where no name is known."""
        records = self._closure.records
        location = records.location(key)
        entry = None
        if location.startswith("/"):
            entry = self._workspace.catalog.at_location(location)
        if entry is not None:
            return str(entry)
        names = sorted(n for n in records.names(key) if "/" not in n)
        return names[-1] if names else location

    def words(self, node: Node) -> str:
        """What to call a node."""
        if isinstance(node, RowsOf):
            return f"{self.name(node.table)}@{node.version}"
        if isinstance(node, FilesOf):
            return origins.shown(self._workspace, node.path)
        if isinstance(node, RunOf):
            return f"run {node.run_id}"
        if isinstance(node, ModelOf):
            return self._closure.records.label_of(node.model_id)
        if isinstance(node, SessionOf):
            return "a program"
        return node.label

    def how(self, node: Node) -> tuple[Step, ...]:
        """The shortest way to a node, step by step."""
        way = self._closure.way(node)
        known = self._closure.records.operations(
            hop.operation for hop, _ in way if hop.operation is not None
        )
        steps = []
        for hop, reached in way:
            operation = known.get(hop.operation or "")
            if operation is None:
                steps.append(Step(None, hop.words, self.words(reached), None, None))
                continue
            what: str = operation.kind
            if operation.mode and operation.mode != operation.kind:
                what += f" ({operation.mode})"
            steps.append(
                Step(
                    operation.id,
                    what,
                    self.words(reached),
                    operation.finished_at,
                    operation.source,
                )
            )
        return tuple(steps)

    def collected(self) -> list[Collected]:
        """Reads whose rows went to programs that are no training of the project's."""
        found: dict[str | None, list[Operation]] = {}
        for operation in self._closure.records.operations(self._closure.passed).values():
            if not operation.writes and operation.kind != "train":
                found.setdefault(operation.source, []).append(operation)
        return [
            Collected(
                source,
                len(reads),
                min(each.started_at for each in reads),
                max(each.finished_at for each in reads),
            )
            for source, reads in found.items()
        ]

    def _table(self, key: str, life: int, spans: list[Span]) -> ReachedTable:
        closure = self._closure
        best = max(spans, key=lambda each: (each.certainty, -each.rows.version))
        location = closure.records.location(key)
        is_last = life == len(closure.lives(key)) - 1
        current = _latest(location) if is_last else None
        remote = "://" in location
        open_ = [each for each in spans if each.until is None and (remote or current is not None)]
        holds = max((each.certainty for each in open_), default=None) if is_last else None
        gone = not is_last or (current is None and not remote)
        ids = {write.operation: write for write in closure.lives(key)[life].writes}
        kinds = {
            ids[hop.operation].kind
            for each in spans
            for hop, _ in closure.way(each.rows)[-1:]
            if hop.operation in ids
        }
        kind: TableKind = next((_KINDS[each] for each in sorted(kinds) if each in _KINDS), "table")
        way = self.how(best.rows)
        return ReachedTable(
            name=self.name(key),
            kind=kind,
            location=location,
            certainty=words(best.certainty),
            versions=_versions(spans),
            holds_now=None if holds is None else words(holds),
            current=current,
            state="dropped" if gone else ("holds" if holds is not None else "replaced"),
            since=way[-1].at if way else None,
            how=way,
        )

    def _files(self, path: str, nodes: list[FilesOf]) -> ReachedTable:
        surest = max(nodes, key=lambda each: self._closure.certainty(each) or 0)
        certainty = words(self._closure.certainty(surest) or Certainty.POSSIBLE)
        there = Path(path).exists()
        way = self.how(surest)
        return ReachedTable(
            name=origins.shown(self._workspace, path),
            kind="files",
            location=path,
            certainty=certainty,
            versions=(),
            holds_now=certainty if there else None,
            current=None,
            state="holds" if there else "dropped",
            since=way[-1].at if way else None,
            how=way,
        )


def words(certainty: Certainty) -> How:
    """``certain`` or ``possible``."""
    return "certain" if certainty is Certainty.CERTAIN else "possible"


def _latest(location: str) -> int | None:
    return None if "://" in location else lakehouse.latest_version(location)


def _versions(spans: Sequence[Span]) -> tuple[Versions, ...]:
    """Ranges of versions that hold the same columns, equally surely; each version once."""
    edges = sorted(
        {each.rows.version for each in spans} | {s.until for s in spans if s.until is not None}
    )
    found: list[Versions] = []
    for place, first in enumerate(edges):
        last = edges[place + 1] - 1 if place + 1 < len(edges) else None
        over = [
            each
            for each in spans
            if each.rows.version <= first and (each.until is None or first < each.until)
        ]
        if not over:
            continue
        columns: dict[str | None, Certainty] = {}
        for each in over:
            for name, certainty in each.columns.items():
                columns[name] = max(certainty, columns.get(name, certainty))
        sure = max(columns.values())
        names = None
        if columns.get(ROWS) != sure and ROWS not in columns:
            names = tuple(sorted(str(name) for name in columns))
        new = Versions(first, last, words(sure), names)
        before = found[-1] if found else None
        if before and before.last == first - 1 and _alike(before, new):
            new = Versions(before.first, last, new.certainty, names)
            found.pop()
        found.append(new)
    return tuple(found)


def _alike(one: Versions, other: Versions) -> bool:
    return (one.certainty, one.columns) == (other.certainty, other.columns)


def _by_weight(table: ReachedTable) -> tuple[bool, bool, str]:
    return (table.holds_now is None, table.certainty != "certain", table.name)
