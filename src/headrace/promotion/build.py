"""From a spec to a verdict: train, register, judge, promote, each step once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.crash import crash_point
from headrace.endpoints.records import model_directory
from headrace.evidence import check, protected_alias
from headrace.evidence.errors import EvidenceMissingError
from headrace.freshness import Freshness
from headrace.promotion.errors import ChampionChangedError
from headrace.promotion.judge import judge
from headrace.promotion.promote import promote, promote_approved, summary_of
from headrace.promotion.records import Decided, State, last_decision
from headrace.promotion.statement import judged_files
from headrace.promotion.waiting import Groups, Waiting, waiting
from headrace.registry import PRODUCTION, ModelVersion, champion, register, version_of_run
from headrace.tracking import TrainedModel, last_trained, train, training_freshness
from headrace.tracking import store as trainings

if TYPE_CHECKING:
    from headrace.gate.spec import GateSpec
    from headrace.gate.verdict import Verdict
    from headrace.tracking import TrainingSpec
    from headrace.workspace import Workspace

_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class BuildResult:
    """A model built.

    Attributes:
        trained: the training, of this build or of an earlier one that still holds.
        version: what was registered.
        decided: the verdict on that version, and what became of it.
        waiting: who must approve it still, where it waits.
        changed: whether this build did anything.
    """

    trained: TrainedModel
    version: ModelVersion
    decided: Decided
    waiting: Waiting | None
    changed: bool

    @property
    def verdict(self) -> Verdict:
        """What the gate found."""
        return self.decided.verdict

    @property
    def state(self) -> State:
        """``refused``, ``waiting`` or ``promoted``."""
        return self.decided.state

    @property
    def summary(self) -> str:
        """One line: what happened, by how much, and who must approve."""
        text = summary_of(self.state, self.verdict)
        return text if self.waiting is None else f"{text}; {self.waiting.summary}"


def build(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    *,
    alias: str = PRODUCTION,
    full: bool = False,
    groups: Groups | None = None,
    allow_drift: bool | None = None,
) -> BuildResult:
    """Train if something changed, register, judge and promote.

    Each step looks for its own result first, so a build that was killed anywhere is finished by
    the next one: the same run is registered once, and a verdict is carried out once. A version
    that has been judged by this rule stays judged, also when somebody moved the alias back. One
    that waits is promoted once it is approved, and judged again if the champion changed.

    Args:
        workspace: the project.
        training: what to train.
        gate: what it must show.
        alias: the alias of the champion.
        full: train again although nothing changed.
        groups: who approves, where the gate asks for approvals.
        allow_drift: train also where the environment is not the project's lock.

    Raises:
        TrainingError, GateError: a subclass says what is wrong; nothing was promoted.
    """
    trained = None
    if not full and not training_freshness(workspace, training).stale:
        trained = last_trained(workspace, training.name)
    changed = trained is None
    trained = trained or train(workspace, training, allow_drift=allow_drift)
    crash_point("build.trained")
    changed |= version_of_run(workspace, training.name, trained.run_id) is None
    version = register(workspace, training, trained)
    crash_point("build.registered")
    before = _decided(workspace, version, gate)
    decided = before
    if decided is not None and decided.state == "waiting":
        decided = _approved(workspace, decided, gate, groups or {})
    decided = decided or _judged(workspace, training, gate, version, alias)
    changed |= decided != before
    waits = None
    if decided.state == "waiting":
        waits = waiting(workspace, decided, gate, groups or {})
    return BuildResult(trained, version, decided, waits, changed)


def build_freshness(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    *,
    alias: str = PRODUCTION,
    groups: Groups | None = None,
) -> Freshness:
    """Whether ``build`` would do anything, and why."""
    found = training_freshness(workspace, training)
    if found.stale:
        return found
    record = trainings.last(workspace.store, training.name)
    assert record is not None  # noqa: S101  # the training is fresh
    version = version_of_run(workspace, training.name, record.run_id)
    if version is None:
        return Freshness(True, "the trained model is not registered yet")
    decided = _decided(workspace, version, gate)
    if decided is None:
        return Freshness(True, f"version {version.version}: {_why(workspace, version)}")
    if decided.state != "waiting":
        return found
    incumbent = champion(workspace, training.name, alias)
    now = None if incumbent is None else incumbent.version
    if now not in (decided.verdict.champion, version.version):
        why = "the champion changed while it waited for approvals"
        return Freshness(True, f"version {version.version}: {why}")
    waits = waiting(workspace, decided, gate, groups or {})
    return Freshness(not waits.missing, f"version {version.version}: {waits.summary}")


def _decided(workspace: Workspace, version: ModelVersion, gate: GateSpec) -> Decided | None:
    """What was decided on a version by this rule, if it was signed."""
    if "headrace.verdict_id" not in version.tags:
        # Of a model that was deleted, whose name and numbers were given again.
        return None
    found = last_decision(workspace, version.name, version.version, gate.digest)
    return None if found is None or found.evidence is None else found


def _why(workspace: Workspace, version: ModelVersion) -> str:
    """Why a version must be judged."""
    found = last_decision(workspace, version.name, version.version)
    if found is None or "headrace.verdict_id" not in version.tags:
        return "it has not been judged"
    return "it has no evidence" if found.evidence is None else "the gate changed"


def _approved(
    workspace: Workspace, decided: Decided, gate: GateSpec, groups: Groups
) -> Decided | None:
    """Promote a version that waits if it is approved; ``None`` where it must be judged again."""
    try:
        return promote_approved(workspace, decided, gate, groups)
    except ChampionChangedError:
        return None


def _judged(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    version: ModelVersion,
    alias: str,
) -> Decided:
    for attempt in range(1, _ATTEMPTS + 1):
        incumbent = champion(workspace, training.name, alias)
        if incumbent is not None and incumbent.version == version.version:
            # In production already, and the rule changed: there is no other to compare with.
            incumbent = None
        if incumbent is not None:
            _prove(workspace, incumbent, alias)
        files = judged_files(workspace, version)
        verdict = judge(workspace, training, gate, version, incumbent)
        crash_point("build.judged")
        try:
            decided = promote(workspace, verdict, gate, alias, files=files)
        except ChampionChangedError:
            if attempt == _ATTEMPTS:
                raise
        else:
            crash_point("build.promoted")
            return decided
    raise AssertionError("unreachable: the last attempt raised")


def _prove(workspace: Workspace, champion: ModelVersion, alias: str) -> None:
    """A champion whose files were damaged would be beaten by anything.

    Raises:
        EvidenceRefusedError: its files, or its statement, are not those that were signed.
    """
    name, store = champion.name, workspace.store
    protected = protected_alias(workspace.paths, store, f"{name}@{alias}")
    if protected is None:
        return
    files = model_directory(store, champion.model_id)
    # One from before there was evidence has none, and can be succeeded all the same.
    with suppress(EvidenceMissingError):
        check(workspace.paths, store, name, champion.version, protected, files)
