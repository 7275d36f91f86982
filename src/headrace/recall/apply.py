"""Carrying a recall out: quarantine, refresh, score, mark; and undoing the quarantine.

What a killed recall did is in its record, and every step can be done again: a file is in one of
two places, a refresh and a scoring happen once, whatever happens on the way, and a tag is set to
the value that it has. The same command takes it up where it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from headrace import clock, identity
from headrace.catalog import audit
from headrace.crash import crash_point
from headrace.errors import HeadraceError
from headrace.ids import new_id
from headrace.project.lock import run_lock
from headrace.project.notices import RECALLED
from headrace.project.plan import open_project, prediction_spec
from headrace.promotion.records import write_tags
from headrace.recall import origin as origins
from headrace.recall import quarantine, remedy, store
from headrace.recall.errors import NotAppliedError, NothingToUndoError, UnknownRecallError
from headrace.recall.find import find
from headrace.registry import AliasNotFoundError, resolve

if TYPE_CHECKING:
    from headrace.project import Desired
    from headrace.recall.found import Recall
    from headrace.recall.origin import Origin
    from headrace.recall.store import RecallRecord, StepRecord
    from headrace.workspace import Workspace

Observer = Callable[["StepRecord"], None]
_OPEN: Final = ("running", "failed")
_LEARNED: Final = (
    "its rows are scored without it, by a model that learned from it: headrace run trains "
    "another and scores with it"
)
_FIXED: Final = "made again, it still holds it: its query names a version, which stays as it is"


def apply(
    workspace: Workspace,
    origin: Origin | str,
    *,
    reason: str = "",
    by: str | None = None,
    observer: Observer | None = None,
) -> RecallRecord:
    """Take an origin out of everything that can be made again without it.

    Raw files go into quarantine; tables of the pipeline that hold their rows are refreshed,
    streaming tables that read them are built anew; predictions are scored again where their rows
    changed; model versions that learned from them are marked. What is left to people stands in
    the record, each with the command that does it. A version of a table has nothing to move: what
    is downstream of it is refreshed.

    A recall of the same origin that was killed, or failed, goes on.

    Args:
        workspace: the project.
        origin: from ``parse``, or a text that it knows.
        reason: why; it is kept with the files.
        by: who; the one who runs the process if not given.
        observer: told of each step once it is done.

    Raises:
        NotAppliedError: it cannot be done for this origin; says what can.
        RunInProgressError: the project is being run.
        HeadraceError: a step failed; the same call goes on there.
    """
    if isinstance(origin, str):
        origin = origins.parse(workspace, origin)
    with run_lock(workspace.paths):
        desired = open_project(workspace)
        record = _open(workspace, origin) or _begin(workspace, desired, origin, reason, by)
        crash_point("recall.begun")
        try:
            quarantine.move_away(workspace, record)
            _carry_out(desired, record, observer or _silent)
            _leave_the_rest(workspace, origin, record)
        except HeadraceError as error:
            store.set_state(workspace.store, record.id, "failed", error.what)
            raise
        return store.set_state(workspace.store, record.id, "done")


def undo(workspace: Workspace, recall: str) -> RecallRecord:
    """Put the files of a recall back, and take its marks away; ``headrace run`` reads them again.

    Raises:
        UnknownRecallError: there is no such recall.
        NothingToUndoError: none of its files is in quarantine.
        PlaceTakenError, QuarantineDamagedError: a file cannot be put back.
    """
    with run_lock(workspace.paths):
        record = store.get(workspace.store, recall)
        if record is None:
            known = [each.id for each in store.every(workspace.store)]
            raise UnknownRecallError(recall, known)
        if record.state == "undone":
            raise NothingToUndoError(recall, "it was undone")
        quarantined = any(each.state == "quarantined" for each in record.files)
        if not quarantined and record.state != "undoing":
            raise NothingToUndoError(recall, "none of its files is in quarantine")
        store.set_state(workspace.store, recall, "undoing")
        quarantine.move_back(workspace, record)
        for step in record.steps:
            if step.kind == "mark" and step.state == "done":
                _tag(workspace, step.name, recall, None)
        with workspace.store.begin() as connection:
            audit.record(connection, "recall.undo", record.label, by=_who(None))
        return store.set_state(workspace.store, recall, "undone")


def preview(workspace: Workspace, recall: Recall) -> list[StepRecord]:
    """The steps that ``apply`` would take, and what it would leave to people.

    Raises:
        NotAppliedError: it cannot be done for this origin.
    """
    _check(recall)
    return remedy.steps(open_project(workspace), recall)


def _open(workspace: Workspace, origin: Origin) -> RecallRecord | None:
    """A recall of the same origin that has not come to its end."""
    for record in store.every(workspace.store):
        if record.state in _OPEN and _same(record.origin, origin.as_json()):
            store.set_state(workspace.store, record.id, "running")
            return replace(record, state="running")
    return None


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two origins are of the same bytes, or the same version, and the same columns."""

    def facts(body: dict[str, Any]) -> tuple[Any, ...]:
        files = sorted((each["path"], each["sha256"]) for each in body["files"])
        return body["table"], body["version"], body["columns"], files

    return facts(one) == facts(other)


def _begin(
    workspace: Workspace, desired: Desired, origin: Origin, reason: str, by: str | None
) -> RecallRecord:
    recall = find(workspace, origin)
    _check(recall)
    recall_id = new_id("recall")
    record = store.RecallRecord(
        id=recall_id,
        origin=origin.as_json(),
        label=origin.label,
        state="running",
        reason=reason,
        by=_who(by),
        reached=recall.as_json()["summary"],
        error=None,
        started_at=clock.now(),
        finished_at=None,
    )
    files = quarantine.planned(recall_id, origin.files)
    made = store.begin(workspace.store, record, files, remedy.steps(desired, recall))
    with workspace.store.begin() as connection:
        details = {"recall": recall_id, "reason": reason, "files": len(files)}
        audit.record(connection, "recall", origin.label, by=record.by, details=details)
    return made


def _check(recall: Recall) -> None:
    origin = recall.origin
    if origin.table is None:
        quarantine.check(origin.label, origin.files)
        return
    reached = recall.table(origin.table)
    if reached is not None and reached.holds_now is not None:
        raise NotAppliedError(
            origin.label,
            "the newest version of the table still holds it: what is downstream would be made "
            "from it again",
            f"mend what writes {origin.table} and type headrace run, or recall the raw file that "
            f"it came from; headrace lineage {origin.table} shows it",
        )


def _carry_out(desired: Desired, record: RecallRecord, observer: Observer) -> None:
    work = _Work(desired, record)
    for step in record.steps:
        if step.state in ("done", "left"):
            work.note(step)
            continue
        try:
            done = _ACTIONS[step.kind](work, step)
        except HeadraceError as error:
            failed = replace(step, state="failed", message=error.what)
            store.set_step(desired.workspace.store, record.id, failed)
            observer(failed)
            raise
        crash_point("recall.step")
        store.set_step(desired.workspace.store, record.id, done)
        work.note(done)
        observer(done)


class _Work:
    """A recall under way.

    Attributes:
        contents: path and checksum of each file that is recalled.
        streams: streaming tables that are without it now: who streams from them starts over.
    """

    def __init__(self, desired: Desired, record: RecallRecord) -> None:
        self.desired, self.record = desired, record
        self.contents = {(each.path, each.sha256) for each in record.files}
        self.streams: set[str] = set()

    def note(self, step: StepRecord) -> None:
        """A step is done, now or before a kill: before it, the table may have been built anew."""
        if step.kind != "refresh" or step.state != "done":
            return
        if self.desired.tables.datasets[step.name].kind == "streaming_table":
            self.streams.add(step.name)


def _refresh(work: _Work, step: StepRecord) -> StepRecord:
    """Bring one table up to date without the data; a streaming table is built anew."""
    pipeline = work.desired.tables
    dataset = pipeline.datasets[step.name]
    full = False
    if dataset.kind == "streaming_table":
        lost = remedy.reading_streams(pipeline, work.contents)
        over = work.streams & set(pipeline.stored_inputs(step.name))
        full = step.name in lost or bool(over)
        missing = lost.get(step.name, [])
        if missing:
            return replace(
                step,
                state="left",
                message=f"it cannot be built anew: {len(missing):,} raw files that it has read are "
                f"gone, {missing[0]} for one, and their rows are nowhere else; put them back and "
                "type the same command again, or delete the bad rows with a DELETE",
            )
    if not full and not pipeline.freshness(step.name).stale:
        return replace(step, state="done", message="up to date without it", facts={"rows": 0})
    done = pipeline.refresh(step.name, full=full)
    facts = {"version": done.version, "rows": done.rows, "rebuilt": full}
    what = "built anew" if full else "refreshed"
    message = f"{what}: version {done.version}, {done.rows:,} rows written"
    return replace(step, state="done", message=message, facts=facts)


def _score(work: _Work, step: StepRecord) -> StepRecord:
    """Score what changed; rows of the same input keep their prediction."""
    from headrace.scoring import score

    try:
        done = score(work.desired.workspace, prediction_spec(work.desired.project, step.name))
    except AliasNotFoundError as error:
        return replace(step, state="left", message=error.what)
    facts = {"scored": done.scored, "unchanged": done.unchanged, "removed": done.removed}
    message = (
        f"version {done.version}: {done.scored:,} rows scored, {done.unchanged:,} unchanged, "
        f"{done.removed:,} removed"
    )
    return replace(step, state="done", message=message, facts=facts)


def _mark(work: _Work, step: StepRecord) -> StepRecord:
    """Tag a version that learned from the data."""
    _tag(work.desired.workspace, step.name, None, work.record.id)
    return replace(step, state="done", message=f"{RECALLED} is {work.record.id}")


_ACTIONS: Final[dict[str, Callable[[_Work, StepRecord], StepRecord]]] = {
    "refresh": _refresh,
    "score": _score,
    "mark": _mark,
}


def _leave_the_rest(workspace: Workspace, origin: Origin, record: RecallRecord) -> None:
    """Tables that hold the data after all, though nothing upstream was left to people."""
    steps = store.known(workspace.store, record.id).steps
    if any(step.kind == "refresh" and step.state == "left" for step in steps):
        return
    tried = {step.name for step in steps if step.kind in ("refresh", "score")}
    now = find(workspace, origin)
    models = {each.table for each in now.predictions if "model" in each.because}
    rest = [
        remedy.left(each.name, _LEARNED if each.name in models else _FIXED)
        for each in now.tables
        if each.holds_now is not None and each.name in tried
    ]
    store.add_steps(workspace.store, record.id, rest)


def _tag(workspace: Workspace, version: str, was: str | None, value: str | None) -> None:
    """Set the mark of a version, or take away the one of a recall; another recall's stays."""
    name, _, number = version.rpartition("/")
    known = resolve(workspace, version).tags.get(RECALLED)
    if was is not None and known != was:
        return
    with workspace.store.begin() as connection:
        write_tags(connection, name, int(number), {RECALLED: value})


def _who(by: str | None) -> str:
    return by or identity.principal()


def _silent(_: StepRecord) -> None:
    """Nobody listens."""
