"""From a spec to a verdict: train, register, judge, promote, each step once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.crash import crash_point
from headrace.freshness import Freshness
from headrace.promotion.errors import ChampionChangedError
from headrace.promotion.judge import judge
from headrace.promotion.promote import last_verdict, promote
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
        verdict: on that version.
        changed: whether this build did anything.
    """

    trained: TrainedModel
    version: ModelVersion
    verdict: Verdict
    changed: bool


def build(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    *,
    alias: str = PRODUCTION,
    full: bool = False,
) -> BuildResult:
    """Train if something changed, register, judge and promote.

    Each step looks for its own result first, so a build that was killed anywhere is finished by
    the next one: the same run is registered once, and a verdict is carried out once. A version
    that has been judged by this rule stays judged, also when somebody moved the alias back.

    Args:
        workspace: the project.
        training: what to train.
        gate: what it must show.
        alias: the alias of the champion.
        full: train again although nothing changed.

    Raises:
        TrainingError, GateError: a subclass says what is wrong; nothing was promoted.
    """
    trained = None
    if not full and not training_freshness(workspace, training).stale:
        trained = last_trained(workspace, training.name)
    changed = trained is None
    trained = trained or train(workspace, training)
    crash_point("build.trained")
    changed |= version_of_run(workspace, training.name, trained.run_id) is None
    version = register(workspace, training, trained)
    crash_point("build.registered")
    verdict = last_verdict(workspace, training.name, version.version, gate.digest)
    changed |= verdict is None
    verdict = verdict or _judged(workspace, training, gate, version, alias)
    return BuildResult(trained, version, verdict, changed)


def build_freshness(workspace: Workspace, training: TrainingSpec, gate: GateSpec) -> Freshness:
    """Whether ``build`` would do anything, and why."""
    found = training_freshness(workspace, training)
    if found.stale:
        return found
    record = trainings.last(workspace.store, training.name)
    assert record is not None  # noqa: S101  # the training is fresh
    version = version_of_run(workspace, training.name, record.run_id)
    if version is None:
        return Freshness(True, "the trained model is not registered yet")
    if last_verdict(workspace, training.name, version.version, gate.digest) is not None:
        return found
    judged = last_verdict(workspace, training.name, version.version) is not None
    why = "the gate changed" if judged else "it has not been judged"
    return Freshness(True, f"version {version.version}: {why}")


def _judged(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    version: ModelVersion,
    alias: str,
) -> Verdict:
    for attempt in range(1, _ATTEMPTS + 1):
        incumbent = champion(workspace, training.name, alias)
        if incumbent is not None and incumbent.version == version.version:
            # In production already, and the rule changed: there is no other to compare with.
            incumbent = None
        verdict = judge(workspace, training, gate, version, incumbent)
        crash_point("build.judged")
        try:
            promote(workspace, verdict, alias)
        except ChampionChangedError:
            if attempt == _ATTEMPTS:
                raise
        else:
            crash_point("build.promoted")
            return verdict
    raise AssertionError("unreachable: the last attempt raised")
