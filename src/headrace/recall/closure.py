"""Everything that data can have reached, forward through the recorded operations.

Rows of a table stay until a write replaces them all: what one version holds, the later ones
hold up to that write. A mark at a version is therefore a span of versions, and an operation that
read one of them passes it on (``marks.through``). The walk goes breadth first, over what is
certain and then over what is only possible, so that the first way found to a thing is the
shortest of the best kind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.recall.marks import ROWS, Certainty, Column, collected, through
from headrace.recall.nodes import (
    FilesOf,
    Hop,
    ModelOf,
    Node,
    RawFiles,
    RowsOf,
    RunOf,
    SessionOf,
)

if TYPE_CHECKING:
    from headrace.catalog import Access, Operation
    from headrace.recall.records import Reader, Records, Written

_Mark = tuple[Node, Column]
_Hit = tuple[Node, Column, "Reader"]
_Wanted = tuple[int, "int | None", RowsOf, Column]


@dataclass(frozen=True)
class Span:
    """Versions of a table that hold a mark; ``until`` is the version that replaced them."""

    rows: RowsOf
    until: int | None
    columns: dict[Column, Certainty]

    @property
    def certainty(self) -> Certainty:
        """That of its surest column."""
        return max(self.columns.values())


@dataclass
class _Life:
    """The commits of a table from its making to its dropping."""

    started: datetime | None
    ended: datetime | None
    writes: list[Written]
    replacing: list[int] = field(default_factory=list)
    restores: list[Written] = field(default_factory=list)
    strangers: set[int] = field(default_factory=set)

    def at(self, moment: datetime) -> bool:
        """Whether this was the table of its place at a moment."""
        born = self.started is None or self.started <= moment
        return born and (self.ended is None or moment <= self.ended)

    def end(self, version: int) -> int | None:
        """The version that replaces what this one brought."""
        place = bisect_right(self.replacing, version)
        return self.replacing[place] if place < len(self.replacing) else None


class Closure:
    """The walk and what it found.

    Args:
        records: the recorded operations.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.marks: dict[Node, dict[Column, Certainty]] = {}
        self.hops: dict[tuple[Node, Certainty], Hop] = {}
        self.passed: dict[str, Certainty] = {}
        self._lives: dict[str, list[_Life]] = {}
        self._numbers: dict[str, dict[tuple[str | None, int], int]] = {}
        self._waiting: dict[Certainty, list[_Mark]] = {each: [] for each in Certainty}
        self._covered: dict[tuple[str, int, int | None, Column, Certainty], int] = {}
        self._seen: set[tuple[str, int, Column, Certainty]] = set()
        self._queries: dict[tuple[object, ...], tuple[object, dict[Column, Certainty]]] = {}
        self._sessions: dict[str, datetime] = {}
        self._spans: dict[tuple[str, int], list[Span]] | None = None

    # ---- beginning -------------------------------------------------------------------------

    def begin_at_files(
        self,
        label: str,
        operations: Mapping[str, Iterable[int]],
        columns: Iterable[Column],
        unlisted: Mapping[str, Iterable[int]] | None = None,
    ) -> None:
        """Begin at raw files.

        Args:
            label: what to call them.
            operations: those that read them, and at which of their reads.
            columns: the columns that are followed.
            unlisted: those that can have read them: the path is recorded, its files are not.
        """
        origin = RawFiles(label)
        self.marks[origin] = dict.fromkeys(columns, Certainty.CERTAIN)
        known = self.records.operations([*operations, *(unlisted or ())])
        for each, positions in operations.items():
            self._first(origin, known[each], positions, Certainty.CERTAIN)
        for each, positions in (unlisted or {}).items():
            self._first(origin, known[each], positions, Certainty.POSSIBLE)

    def _first(
        self, origin: RawFiles, operation: Operation, positions: Iterable[int], sure: Certainty
    ) -> None:
        for column in self.marks[origin]:
            for position in positions:
                self._through(origin, operation, position, column, sure)
        if not operation.reads:
            for write in operation.writes:
                self._put(self.written(operation, write), ROWS, sure, Hop(origin, operation.id))

    def begin_at_table(self, key: str, version: int, columns: Iterable[Column]) -> RowsOf:
        """Begin at a version of a table: of the newest of that name which had it."""
        lives = self.lives(key)
        life = len(lives) - 1
        while life > 0 and not any(each.version >= version for each in lives[life].writes):
            life -= 1
        origin = RowsOf(key, life, version)
        for column in columns:
            self._put(origin, column, Certainty.CERTAIN, None)
        return origin

    def walk(self) -> None:
        """Follow everything."""
        for certainty in (Certainty.CERTAIN, Certainty.POSSIBLE):
            while self._waiting[certainty]:
                level, self._waiting[certainty] = self._waiting[certainty], []
                self._level(level, certainty)

    # ---- what was found --------------------------------------------------------------------

    def spans(self) -> dict[tuple[str, int], list[Span]]:
        """The marked versions of each table, by place and life, in their order, after the walk."""
        if self._spans is not None:
            return self._spans
        found: dict[tuple[str, int], list[Span]] = defaultdict(list)
        for node, columns in self.marks.items():
            if isinstance(node, RowsOf):
                until = self.lives(node.table)[node.life].end(node.version)
                found[node.table, node.life].append(Span(node, until, columns))
        self._spans = {
            key: sorted(spans, key=lambda each: each.rows.version) for key, spans in found.items()
        }
        return self._spans

    def certainty(self, node: Node) -> Certainty | None:
        """How sure it is that data reached a node; ``None``: it did not."""
        return max(self.marks[node].values()) if node in self.marks else None

    def way(self, node: Node) -> list[tuple[Hop, Node]]:
        """The shortest way to a node: each hop with the node that it led to."""
        found: list[tuple[Hop, Node]] = []
        certainty = self.certainty(node)
        while certainty is not None:
            hop = self.hops.get((node, certainty)) or self.hops.get((node, Certainty.POSSIBLE))
            if hop is None:
                break
            found.append((hop, node))
            node = hop.source
            certainty = self.certainty(node)
        return found[::-1]

    def lives(self, key: str) -> list[_Life]:
        """The lives of the tables that lay, or lie, in a place."""
        if key not in self._lives:
            self._lives[key] = _lives(self.records, key)
        return self._lives[key]

    # ---- the walk --------------------------------------------------------------------------

    def _put(self, node: Node, column: Column, certainty: Certainty, hop: Hop | None) -> None:
        known = self.marks.setdefault(node, {})
        if max(known.get(column, 0), known.get(ROWS, 0)) >= certainty:
            return
        known[column] = certainty
        if hop is not None:
            self.hops.setdefault((node, certainty), hop)
        self._waiting[certainty].append((node, column))

    def _level(self, level: list[_Mark], certainty: Certainty) -> None:
        hits = self._of_tables(
            [(node, column) for node, column in level if isinstance(node, RowsOf)], certainty
        )
        models = {node.model_id: node for node, _ in level if isinstance(node, ModelOf)}
        if models:
            found = self.records.of_models(models)
            hits += [(models[model_id], ROWS, reader) for model_id, reader in found]
        known = self.records.operations(reader.operation for _, _, reader in hits)
        for reached, column, reader in hits:
            self._of_reader(reached, known[reader.operation], reader, column, certainty)
        self._of_runs([node for node, _ in level if isinstance(node, RunOf)], certainty)
        for other, column in level:
            if isinstance(other, FilesOf):
                self._of_paths(other, column, certainty)
            elif isinstance(other, SessionOf):
                self._of_session(other)

    def _of_tables(self, rows: list[tuple[RowsOf, Column]], certainty: Certainty) -> list[_Hit]:
        """Reads of the versions that hold these rows: one question for each table."""
        wanted: dict[str, list[_Wanted]] = defaultdict(list)
        for node, column in sorted(rows, key=lambda each: each[0].version):
            span = self._new_span(node, column, certainty)
            if span is not None:
                wanted[node.table].append((*span, node, column))
        hits: list[_Hit] = []
        for table, spans in wanted.items():
            groups: dict[tuple[int, Column], list[_Wanted]] = defaultdict(list)
            for each in spans:
                groups[each[2].life, each[3]].append(each)
            # The spans of one life and column are apart: each is what was not followed yet.
            starts = {key: [each[0] for each in group] for key, group in groups.items()}
            for reader in self.records.readers(table, [(each[0], each[1]) for each in spans]):
                for key, group in groups.items():
                    if reader.version is None:
                        hits.append((group[0][2], key[1], reader))
                        continue
                    place = bisect_right(starts[key], reader.version) - 1
                    if place >= 0:
                        _, last, node, column = group[place]
                        if last is None or reader.version <= last:
                            hits.append((node, column, reader))
        return hits

    def _of_reader(
        self, node: Node, operation: Operation, reader: Reader, column: Column, sure: Certainty
    ) -> None:
        if isinstance(node, RowsOf):
            if not self._lived(node, operation):
                return
            if reader.version is None:
                sure = Certainty.POSSIBLE
        self._through(node, operation, reader.position, column, sure)

    def _new_span(
        self, node: RowsOf, column: Column, certainty: Certainty
    ) -> tuple[int, int | None] | None:
        """The versions that hold the rows, as far as their reads were not followed yet."""
        life = self.lives(node.table)[node.life]
        end = life.end(node.version)
        self._strange(node, column, certainty, life, end)
        place = (node.table, node.life, end, column, certainty)
        before = self._covered.get(place)
        if before is not None and before <= node.version:
            return None
        self._covered[place] = node.version
        last = end if before is None else before
        return node.version, None if last is None else last - 1

    def _strange(
        self, node: RowsOf, column: Column, certainty: Certainty, life: _Life, end: int | None
    ) -> None:
        """Commits that nobody recorded: they may keep rows, or bring them back."""
        if end is not None and end in life.strangers:
            hop = Hop(node, words=f"version {end} was written without headrace")
            self._put(replace(node, version=end), column, Certainty.POSSIBLE, hop)
        for restore in life.restores:
            restored = restore.restores
            if restored is None or restore.version <= node.version:
                continue
            hop = Hop(node, words=f"version {restore.version} restored an earlier one")
            if restored < 0:
                self._put(replace(node, version=restore.version), column, Certainty.POSSIBLE, hop)
            elif node.version <= restored and (end is None or restored < end):
                self._put(replace(node, version=restore.version), column, certainty, hop)

    def _lived(self, node: RowsOf, operation: Operation) -> bool:
        """Whether an operation can have read this table and not one of the same place."""
        life = self.lives(node.table)[node.life]
        after = life.started is None or operation.finished_at >= life.started
        return after and (life.ended is None or operation.started_at <= life.ended)

    def _through(
        self, node: Node, operation: Operation, position: int, column: Column, sure: Certainty
    ) -> None:
        key = (operation.id, position, column, sure)
        if key in self._seen:
            return
        self._seen.add(key)
        hop = Hop(node, operation.id)
        self.passed[operation.id] = max(sure, self.passed.get(operation.id, sure))
        if not operation.writes:
            self._to_program(operation, position, column, sure, hop)
            return
        passed = self._passed(operation, position, column)
        for write in operation.writes if passed else ():
            reached = self.written(operation, write)
            unsure = isinstance(reached, RowsOf) and write.version is None
            for target, how in passed.items():
                self._put(reached, target, Certainty.POSSIBLE if unsure else min(sure, how), hop)

    def _passed(
        self, operation: Operation, position: int, column: Column
    ) -> dict[Column, Certainty]:
        """As ``through``, once for each query that was run many times."""
        read = operation.reads[position]
        key = (id(operation.flows), position, column, read.kind, read.columns)
        known = self._queries.get(key)
        if known is None:
            found = through(operation, position, column)
            # The flows are kept: their id could become that of others.
            known = self._queries[key] = (operation.flows, found)
        return known[1]

    def _to_program(
        self, operation: Operation, position: int, column: Column, sure: Certainty, hop: Hop
    ) -> None:
        """Rows came to a program: to the run that it made, or to whatever it did with them."""
        came = collected(operation.reads[position], column)
        if came is None:
            return
        if operation.run_id is not None:
            self._put(RunOf(operation.run_id), ROWS, min(sure, came), hop)
        if operation.session_id is not None and operation.kind != "train":
            session, moment = operation.session_id, operation.finished_at
            known = self._sessions.get(session)
            if known is None or moment < known:
                self._sessions[session] = moment
                self._put(SessionOf(session, moment), ROWS, Certainty.POSSIBLE, hop)

    def written(self, operation: Operation, write: Access) -> Node:
        """The node of what an operation wrote."""
        if write.kind == "path" and write.version is None and write.location is None:
            return FilesOf(write.name, operation.id, operation.started_at, operation.finished_at)
        key = self.records.key(write)
        version = 0 if write.version is None else write.version
        return RowsOf(key, self._life_of(key, operation.id, version), version)

    def _life_of(self, key: str, operation: str, version: int) -> int:
        if len(self.lives(key)) == 1:
            return 0
        if key not in self._numbers:
            self._numbers[key] = {
                (write.operation, write.version): number
                for number, life in enumerate(self.lives(key))
                for write in life.writes
            }
        return self._numbers[key].get((operation, version), 0)

    def _of_runs(self, nodes: list[RunOf], certainty: Certainty) -> None:
        by_id = {node.run_id: node for node in nodes}
        if by_id:
            for run_id, model_id in self.records.models_of(by_id):
                self._put(ModelOf(model_id), ROWS, certainty, Hop(by_id[run_id], words="logged by"))

    def _of_paths(self, node: FilesOf, column: Column, certainty: Certainty) -> None:
        """Later reads of files below the path, until all of it was written again."""
        anew = [
            each for each in self.records.overwrites(node.path) if each.started_at >= node.finished
        ]
        for operation in self.records.operations(self.records.below(node.path)).values():
            gone = any(each.finished_at <= operation.started_at for each in anew)
            if gone or operation.finished_at < node.finished:
                continue
            for position, access in enumerate(operation.reads):
                if access.kind == "path" and meets(access.name, node.path):
                    self._through(node, operation, position, column, certainty)

    def _of_session(self, node: SessionOf) -> None:
        """Rows that a program collected can stand in what it made from its own memory later."""
        ids = self.records.of_session(node.session_id, node.since)
        for operation in self.records.operations(ids).values():
            for write in operation.writes:
                self._put(
                    self.written(operation, write),
                    ROWS,
                    Certainty.POSSIBLE,
                    Hop(node, operation.id),
                )
        for run_id in self.records.runs_of_session(node.session_id, node.since):
            hop = Hop(node, words="began later in the session that had collected it")
            self._put(RunOf(run_id), ROWS, Certainty.POSSIBLE, hop)


def meets(read: str, path: str) -> bool:
    """Whether a read of one path can have seen files at or below another."""
    if read == path or read.startswith(path.rstrip("/") + "/"):
        return True
    if any(mark in read for mark in "*?[{"):
        stem = read[: min(read.index(mark) for mark in "*?[{" if mark in read)]
        return path.startswith(stem) or stem.startswith(path.rstrip("/") + "/")
    return path.startswith(read.rstrip("/") + "/")


def _lives(records: Records, key: str) -> list[_Life]:
    """Split the commits of a place at each making of a table: its version 0."""
    writes = records.writes(key)
    if sum(each.version == 0 for each in writes) < 2:
        lives = [_Life(None, None, list(writes))]
    else:
        moments = records.moments(key)
        births = sorted(moments[str(each.operation)] for each in writes if each.version == 0)
        starts = [started for started, _ in births]
        lives = [
            _Life(
                None if number == 0 else started,
                births[number + 1][1] if number + 1 < len(births) else None,
                [],
            )
            for number, started in enumerate(starts)
        ]
        for write in writes:
            ended = moments[str(write.operation)][1]
            lives[max(0, bisect_right(starts, ended) - 1)].writes.append(write)
    _add_strangers(records, key, lives[-1])
    for life in lives:
        life.replacing = sorted({each.version for each in life.writes if each.replaces})
    return lives


def _add_strangers(records: Records, key: str, life: _Life) -> None:
    """Commits that the log of the table there is now has and nobody recorded."""
    known = {each.version for each in life.writes}
    # The shipper's appends are told once an hour: a log of requests has commits by the thousand.
    if not known or all(each.kind == "request_log" for each in life.writes):
        return
    for each in records.unrecorded(key, known, min(known)):
        life.writes.append(each)
        if each.restores is not None:
            life.restores.append(each)
        else:
            life.strangers.add(each.version)
