"""Carry out a plan: in dependency order, past failures where branches are independent.

What makes a rerun pick up where a killed run stopped is not a log of steps but each step's own
freshness: whatever finished is fresh, whatever did not is stale. The record kept here is for
people (``headrace status``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from headrace.errors import HeadraceError
from headrace.ids import new_id
from headrace.project import store
from headrace.project.lock import run_lock
from headrace.project.plan import Desired, Kind, Plan, Step, prediction_spec
from headrace.registry import AliasNotFoundError

State = Literal["done", "fresh", "failed", "blocked"]


@dataclass(frozen=True)
class Outcome:
    """What became of one step.

    Attributes:
        state: done, fresh (nothing to do), failed, or blocked by a failure upstream.
        message: one line for a person.
        error: what failed, for ``failed``.
        facts: numbers of the step, for ``--json``.
    """

    step: Step
    state: State
    seconds: float
    message: str
    error: HeadraceError | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Observer(Protocol):
    """Told of each step as it starts and ends."""

    def started(self, step: Step) -> None:
        """A stale step starts."""

    def finished(self, outcome: Outcome) -> None:
        """A step ended, or was found fresh or blocked."""


@dataclass(frozen=True)
class Run:
    """The outcomes of one run, in order."""

    id: str
    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Steps that failed or were blocked."""
        return tuple(o for o in self.outcomes if o.state in ("failed", "blocked"))

    @property
    def changed(self) -> tuple[Outcome, ...]:
        """Steps that did something."""
        return tuple(o for o in self.outcomes if o.state == "done")


class StepError(HeadraceError):
    """A step ended with an error that nobody foresaw; it is the ``__cause__``."""

    code = "step_failed"
    status = 500

    def __init__(self, step: Step, error: Exception) -> None:
        self.step = step
        self.__cause__ = error
        lines = str(error).strip().splitlines() or [""]
        super().__init__(
            f"The step {step.id} ended with an error.",
            where=getattr(error, "filename", None) or step.id,
            why=f"{type(error).__name__}: {lines[0]}",
            next=f"headrace run {step.name} --debug, for the stack trace",
        )


def apply(desired: Desired, plan: Plan, observer: Observer, *, full: bool = False) -> Run:
    """Bring every step of the plan up to date.

    A step runs if it is stale when its turn comes: an upstream refresh that changed nothing
    leaves it fresh. A failed step blocks what needs it and nothing else.

    Args:
        full: rebuild even what is fresh.

    Raises:
        RunInProgressError: two runs at once.
    """
    started, run_id = time.monotonic(), new_id("apply")
    with run_lock(desired.workspace.paths):
        store.start_run(desired.workspace.store, run_id)
        outcomes: dict[str, Outcome] = {}
        for step in plan.steps:
            outcome = _turn(desired, step, outcomes, observer, full)
            outcomes[step.id] = outcome
            observer.finished(outcome)
            store.record_step(
                desired.workspace.store,
                run_id,
                step.id,
                outcome.state,
                outcome.seconds,
                outcome.message,
            )
        run = Run(run_id, tuple(outcomes.values()), time.monotonic() - started)
        store.finish_run(desired.workspace.store, run_id, "failed" if run.failed else "done")
    return run


def _turn(
    desired: Desired, step: Step, before: dict[str, Outcome], observer: Observer, full: bool
) -> Outcome:
    for need in step.needs:
        if before[need].state in ("failed", "blocked"):
            return Outcome(step, "blocked", 0.0, f"waits for {before[need].step.name}")
    clock = time.monotonic()
    try:
        # The plan was made before the lock was held: what was stale then, another run may have
        # made since.
        upstream_ran = any(before[need].state == "done" for need in step.needs)
        again = upstream_ran or step.own.stale
        freshness = desired.freshness(step.kind, step.name) if again else step.own
        if not freshness.stale and not full:
            return Outcome(step, "fresh", 0.0, freshness.reason)
        observer.started(step)
        message, facts = _ACTIONS[step.kind](desired, step.name, full)
    except AliasNotFoundError as error:
        # The gate refused every version so far: nothing failed, there is just nothing to use.
        return Outcome(step, "blocked", time.monotonic() - clock, error.what, error)
    except HeadraceError as error:
        return Outcome(step, "failed", time.monotonic() - clock, error.what, error)
    except Exception as error:  # noqa: BLE001  # told as the step's failure, with its cause
        failure = StepError(step, error)
        return Outcome(step, "failed", time.monotonic() - clock, failure.what, failure)
    return Outcome(step, "done", time.monotonic() - clock, message, None, facts)


Result = tuple[str, dict[str, Any]]


def _refresh_table(desired: Desired, name: str, full: bool) -> Result:
    refresh = desired.tables.refresh(name, full=full)
    message = f"version {refresh.version}, {refresh.rows:,} rows written"
    failing = sum(count.failed for count in refresh.expectations)
    if failing:
        message += f", {failing:,} rows fail expectations"
    return message, {"version": refresh.version, "rows_written": refresh.rows}


def _build_model(desired: Desired, name: str, full: bool) -> Result:
    from headrace.promotion import build

    entry = desired.project.models[name]
    groups = desired.project.groups
    result = build(
        desired.workspace,
        entry,
        entry.gate,
        full=full,
        groups=groups,
        allow_drift=desired.allow_drift,
    )
    verdict = result.verdict
    return result.summary, {
        "version": result.version.version,
        "promoted": result.state == "promoted",
        "decision": result.state,
        "verdict": verdict.as_json(),
        "kernel": result.version.tags.get("headrace.kernel"),
    }


def _deploy_endpoint(desired: Desired, name: str, _full: bool) -> Result:
    from headrace.endpoints import declare, deploy, went_back
    from headrace.registry import resolve

    spec = desired.project.endpoints[name]
    version = resolve(desired.workspace, spec.model)
    reason = went_back(desired.workspace, name, version)
    if reason is not None:
        declare(desired.workspace, spec)
        return (
            f"version {version.version} was rolled back: {reason}",
            {"version": version.version, "rolled_back": reason},
        )
    deployment = deploy(desired.workspace, spec, version)
    return (
        f"{deployment.colour} gets {version.name} version {version.version}",
        {"colour": deployment.colour, "version": version.version},
    )


def _score_table(desired: Desired, name: str, full: bool) -> Result:
    from headrace.scoring import score

    scoring = score(desired.workspace, prediction_spec(desired.project, name), full=full)
    message = f"version {scoring.version}, {scoring.scored:,} rows scored"
    if scoring.unchanged:
        message += f", {scoring.unchanged:,} unchanged"
    return message, {"version": scoring.version, "scored": scoring.scored}


def _withdraw_endpoint(desired: Desired, name: str, _full: bool) -> Result:
    from headrace.endpoints import withdraw

    withdraw(desired.workspace, name)
    return "no longer served", {}


_ACTIONS: dict[Kind, Callable[[Desired, str, bool], Result]] = {
    "table": _refresh_table,
    "model": _build_model,
    "endpoint": _deploy_endpoint,
    "predictions": _score_table,
    "withdrawal": _withdraw_endpoint,
}
