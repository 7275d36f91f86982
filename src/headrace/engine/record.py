"""What an executed action read and wrote, and who gets to know."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import clock
from headrace.catalog import Access, ColumnFlow, Lineage, Operation, RawFile
from headrace.ids import new_id

if TYPE_CHECKING:
    from headrace.catalog.operation import How, OperationKind

#: A written column, the read it came from, the column of that read, and how.
Flow = tuple["str | None", Access, "str | None", "How"]

_PACKAGE = Path(__file__).parents[1]
_NOT_THE_USERS = ("pyspark", "grpc", "mlflow", "contextlib", "threading", "concurrent")


@dataclass
class Recording:
    """What was executed inside ``Engine.recording``.

    Attributes:
        kind: kind of each operation; ``read`` or ``write`` if not given.
        subject: what the operations are made for.
        run_id: the MLflow run they belong to; the active one if not given.
        persist: whether each operation goes to the lineage as it ends.
        operations: in the order in which they ended.
    """

    kind: OperationKind | None = None
    subject: str | None = None
    run_id: str | None = None
    persist: bool = True
    operations: list[Operation] = field(default_factory=list)

    @property
    def reads(self) -> list[Access]:
        """Everything read, each thing and version once, in order."""
        return list(merged(access for each in self.operations for access in each.reads))

    @property
    def flows(self) -> list[Flow]:
        """Where the columns that were written came from, each once, in order.

        Empty where that is not known of one of the writes.
        """
        found: dict[Flow, None] = {}
        for each in self.operations:
            if each.writes and each.reads and not each.flows:
                return []
            for flow in each.flows:
                source = each.reads[flow.source]
                found[flow.column, source, flow.source_column, flow.how] = None
        return list(found)

    @property
    def writes(self) -> list[Access]:
        """Everything written, in order."""
        return [access for each in self.operations for access in each.writes]

    @property
    def files(self) -> list[RawFile]:
        """The raw files read, each once."""
        return list(dict.fromkeys(file for each in self.operations for file in each.files))


_recordings: ContextVar[tuple[Recording, ...]] = ContextVar("headrace_recordings", default=())


@contextmanager
def recording(made: Recording) -> Iterator[Recording]:
    """Everything executed in this context is added to ``made``."""
    token = _recordings.set((*_recordings.get(), made))
    try:
        yield made
    finally:
        _recordings.reset(token)


@dataclass
class Draft:
    """An action that is about to run. Made where the user's call is still on the stack."""

    session_id: str
    recordings: tuple[Recording, ...]
    run_id: str | None
    source: str | None
    started_at: datetime
    id: str

    @classmethod
    def begin(cls, session_id: str) -> Draft:
        """The start of an action, now."""
        recordings = _recordings.get()
        given = next((each.run_id for each in reversed(recordings) if each.run_id), None)
        return cls(
            session_id=session_id,
            recordings=recordings,
            run_id=given or active_run_id(),
            source=caller(),
            started_at=clock.now(),
            id=new_id("op"),
        )

    def finish(
        self,
        lineage: Lineage,
        *,
        reads: Iterable[Access],
        writes: Sequence[Access] = (),
        mode: str | None = None,
        files: Sequence[RawFile] = (),
        flows: Iterable[Flow] = (),
    ) -> Operation | None:
        """Record the action, which has succeeded. One that touched nothing is no operation."""
        inner = self.recordings[-1] if self.recordings else Recording()
        touched = merged(reads)
        if not touched and not writes:
            return None
        operation = Operation(
            id=self.id,
            kind=inner.kind or ("write" if writes else "read"),
            subject=inner.subject,
            session_id=self.session_id,
            run_id=self.run_id,
            started_at=self.started_at,
            finished_at=clock.now(),
            reads=touched,
            writes=tuple(writes),
            mode=mode,
            files=tuple(files),
            source=self.source,
            flows=placed(flows, touched) if writes else (),
        )
        if all(each.persist for each in self.recordings):
            lineage.record(operation)
        for each in self.recordings:
            each.operations.append(operation)
        return operation


def merged(accesses: Iterable[Access]) -> tuple[Access, ...]:
    """Each thing and version once, with the union of its columns; ``None`` (all) wins."""
    found: dict[tuple[str, str, int | None], Access] = {}
    for access in accesses:
        key = _key(access)
        known = found.get(key)
        if known is None:
            found[key] = access
            continue
        columns = None
        if known.columns is not None and access.columns is not None:
            columns = tuple(sorted({*known.columns, *access.columns}))
        found[key] = Access(access.kind, access.name, access.version, columns, access.location)
    return tuple(found.values())


def placed(flows: Iterable[Flow], reads: Sequence[Access]) -> tuple[ColumnFlow, ...]:
    """The flows by the positions of their reads, each once.

    Args:
        flows: of accesses, some of which ``merged`` may have made one.
        reads: what an operation read, with all of these among it.
    """
    position = {_key(access): index for index, access in enumerate(reads)}
    return tuple(
        dict.fromkeys(
            ColumnFlow(column, position[_key(access)], source_column, how)
            for column, access, source_column, how in flows
        )
    )


def composed(first: Sequence[Flow], then: Sequence[Flow]) -> list[Flow]:
    """The flows of two steps as those of one.

    Args:
        first: into what the second step reads. Empty: not known, and so is the result.
        then: of a step that reads that alone.
    """
    into: dict[str | None, list[Flow]] = {}
    for flow in first:
        into.setdefault(flow[0], []).append(flow)
    found: dict[Flow, None] = {}
    for column, _, middle, how in then:
        for _, source, source_column, before in into.get(middle, ()):
            both: How = next(
                (each for each in ("unknown", "indirect") if each in (how, before)), "direct"
            )
            found[column, source, source_column, both] = None
    return list(found)


def _key(access: Access) -> tuple[str, str, int | None]:
    return access.kind, access.name, access.version


def active_run_id() -> str | None:
    """The active MLflow run of this thread, where the process has imported MLflow."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None or not hasattr(mlflow, "active_run"):
        return None
    run = mlflow.active_run()
    return str(run.info.run_id) if run is not None else None


def reads_of_run(
    operations: Iterable[Operation],
    run_id: str,
    started_at: datetime,
    previous_ended: datetime | None = None,
) -> list[Operation]:
    """The operations whose rows a run can have learned from.

    Those made during the run carry its id. Rows collected to the driver before it started, since
    the run before it ended, carry none, and belong to it as well: a notebook usually calls
    ``toPandas()`` before ``start_run()``.

    Args:
        operations: those of one session.
        run_id: the run.
        started_at: when it started.
        previous_ended: when the session's run before it ended, if there was one.

    Returns:
        In the order in which they ended.
    """
    belonging = [
        each
        for each in operations
        if each.reads
        and (
            each.run_id == run_id
            or (
                each.run_id is None
                and not each.writes
                and each.finished_at <= started_at
                and (previous_ended is None or each.finished_at >= previous_ended)
            )
        )
    ]
    return sorted(belonging, key=lambda each: each.finished_at)


def caller() -> str | None:
    """``file:line`` of the nearest frame outside Headrace and the libraries below it."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        path = Path(frame.f_code.co_filename)
        inside = path.is_relative_to(_PACKAGE) or module.split(".")[0] in _NOT_THE_USERS
        if not inside:
            return f"{path}:{frame.f_lineno}"
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None
