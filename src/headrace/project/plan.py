"""The plan: every step between the project file and its desired state, and why it is stale.

``build`` makes an immutable plan; ``headrace.project.apply`` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headrace.catalog import guards
from headrace.errors import HeadraceError
from headrace.freshness import Freshness
from headrace.identity import principal
from headrace.project.config import (
    Project,
    configuration,
    load_project,
    schema_file,
    write_schema,
)
from headrace.settings import PROJECT_FILE

if TYPE_CHECKING:
    from headrace.pipeline import Pipeline
    from headrace.scoring.spec import PredictionSpec
    from headrace.workspace import Workspace

Kind = Literal["table", "model", "endpoint", "predictions", "withdrawal"]

ACTIONS: dict[Kind, str] = {
    "table": "refresh",
    "model": "train and gate",
    "endpoint": "deploy",
    "predictions": "score",
    "withdrawal": "stop serving",
}


@dataclass(frozen=True)
class Step:
    """One thing to bring up to date.

    Attributes:
        kind: table, model, endpoint, predictions, or the withdrawal of an endpoint that the
            project file no longer has.
        name: qualified table name, model name or endpoint name.
        needs: ids of the steps that come first.
        own: freshness judged by itself, before anything upstream runs.
        stale: it, or something it needs, is stale.
        reason: one sentence for a person.
    """

    kind: Kind
    name: str
    needs: tuple[str, ...]
    own: Freshness
    stale: bool
    reason: str

    @property
    def id(self) -> str:
        """``kind name``, unique in a plan."""
        return f"{self.kind} {self.name}"

    @property
    def action(self) -> str:
        """What would be done, in words."""
        return ACTIONS[self.kind]


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which they can run."""

    project: str
    steps: tuple[Step, ...]

    @property
    def stale(self) -> tuple[Step, ...]:
        """The steps that would run."""
        return tuple(step for step in self.steps if step.stale)


@dataclass(frozen=True)
class Desired:
    """A project opened for planning: its file, its pipeline and its stores.

    Attributes:
        allow_drift: train also where the environment is not the project's lock; ``None``:
            as ``HEADRACE_ALLOW_DRIFT`` says.
    """

    workspace: Workspace
    project: Project
    pipeline: Pipeline | None
    allow_drift: bool | None = None

    @property
    def tables(self) -> Pipeline:
        """The pipeline; only asked for where the plan has table steps."""
        if self.pipeline is None:
            raise LookupError("the project has no pipeline")
        return self.pipeline

    def freshness(self, kind: Kind, name: str) -> Freshness:
        """Judge one step by itself, now."""
        return _JUDGES[kind](self, name)


def open_project(workspace: Workspace, overrides: dict[str, str] | None = None) -> Desired:
    """Load the file and read the pipeline's graph. Runs no query.

    Raises:
        HeadraceError: the file or the pipeline is wrong; the message names file and line.
    """
    from headrace.pipeline import load_pipeline

    project = load_project(workspace.paths)
    guards.protect(workspace.store, project.protected, principal())
    if not schema_file(workspace.paths).exists():
        # The state directory is not part of a repository: a clone of the project has none.
        write_schema(workspace.paths)
    pipeline = None
    if project.pipeline:
        pipeline = load_pipeline(
            workspace,
            Path(workspace.paths.root / project.pipeline),
            project.expectations,
            configuration(project, overrides),
        )
    return Desired(workspace, project, pipeline)


def build(desired: Desired) -> Plan:
    """Every step of the project in dependency order, with its freshness."""
    steps: dict[str, Step] = {}
    for kind, name, needs in _outline(desired):
        present = tuple(need for need in needs if need in steps)
        own = desired.freshness(kind, name)
        waiting = [steps[need] for need in present if steps[need].stale]
        reason = own.reason
        if not own.stale and waiting:
            reason = f"{waiting[0].name} is stale"
        step = Step(kind, name, present, own, own.stale or bool(waiting), reason)
        steps[step.id] = step
    return Plan(desired.project.name, tuple(steps.values()))


def narrow(plan: Plan, names: tuple[str, ...]) -> Plan:
    """The plan for the named things and what they need.

    Raises:
        UnknownStepError: a name that the project does not have.
    """
    if not names:
        return plan
    by_id = {step.id: step for step in plan.steps}
    wanted: set[str] = set()
    for name in names:
        found = [
            step.id
            for step in plan.steps
            if name in (step.name, step.id) or step.name.endswith("." + name)
        ]
        if not found:
            raise UnknownStepError(name, [step.name for step in plan.steps])
        queue = list(found)
        while queue:
            current = queue.pop()
            if current not in wanted:
                wanted.add(current)
                queue.extend(by_id[current].needs)
    return replace(plan, steps=tuple(step for step in plan.steps if step.id in wanted))


class UnknownStepError(HeadraceError):
    """A name on the command line that is no table, model, endpoint or prediction here."""

    code = "unknown_step"

    def __init__(self, name: str, known: list[str]) -> None:
        from headrace.errors import did_you_mean

        self.name, self.known = name, known
        super().__init__(
            f'The project has no "{name}".',
            why=did_you_mean(name, known) or f"it has: {', '.join(known) or 'nothing yet'}",
            next="headrace plan",
        )


def _outline(desired: Desired) -> list[tuple[Kind, str, tuple[str, ...]]]:
    project = desired.project
    return [
        *_tables(desired.pipeline),
        *(
            ("model", model.name, (f"table {qualified(model.table)}",))
            for model in project.models.values()
        ),
        *(
            ("endpoint", endpoint.name, (f"model {_model_of(endpoint.model)}",))
            for endpoint in project.endpoints.values()
        ),
        *(
            (
                "predictions",
                qualified(spec.table),
                (f"table {qualified(spec.input)}", f"model {_model_of(spec.model)}"),
            )
            for spec in project.prediction_specs()
        ),
        *(("withdrawal", name, ()) for name in _orphans(desired)),
    ]


def _orphans(desired: Desired) -> list[str]:
    """Endpoints that are served although the file no longer has them."""
    from headrace.endpoints import endpoint_names

    known = desired.project.endpoints
    return [name for name in endpoint_names(desired.workspace) if name not in known]


def _tables(pipeline: Pipeline | None) -> list[tuple[Kind, str, tuple[str, ...]]]:
    if pipeline is None:
        return []
    return [
        ("table", name, tuple(f"table {item}" for item in pipeline.stored_inputs(name)))
        for name in pipeline.order()
    ]


def qualified(name: str) -> str:
    """The full ``catalog.schema.name`` of a table name."""
    from headrace.catalog import TableName

    return str(TableName.parse(name))


def _model_of(reference: str) -> str:
    return reference.partition("@")[0].partition("/")[0]


def _judge_table(desired: Desired, name: str) -> Freshness:
    return desired.tables.freshness(name)


def _judge_model(desired: Desired, name: str) -> Freshness:
    from headrace.promotion import build_freshness

    entry = desired.project.models[name]
    return build_freshness(desired.workspace, entry, entry.gate, groups=desired.project.groups)


def _judge_endpoint(desired: Desired, name: str) -> Freshness:
    from headrace.endpoints import deployment_freshness
    from headrace.registry import AliasNotFoundError, ModelNotFoundError, ModelVersionNotFoundError

    try:
        return deployment_freshness(desired.workspace, desired.project.endpoints[name])
    except (AliasNotFoundError, ModelNotFoundError, ModelVersionNotFoundError) as missing:
        return Freshness(True, missing.what)


def _judge_predictions(desired: Desired, name: str) -> Freshness:
    from headrace.registry import AliasNotFoundError, ModelNotFoundError, ModelVersionNotFoundError
    from headrace.scoring import scoring_freshness

    try:
        return scoring_freshness(desired.workspace, prediction_spec(desired.project, name))
    except (AliasNotFoundError, ModelNotFoundError, ModelVersionNotFoundError) as missing:
        return Freshness(True, missing.what)


def _judge_withdrawal(desired: Desired, name: str) -> Freshness:
    if name in _orphans(desired):
        return Freshness(True, f"{PROJECT_FILE} no longer has this endpoint")
    return Freshness(False, "withdrawn")


def prediction_spec(project: Project, name: str) -> PredictionSpec:
    """The spec of a table of predictions by its qualified name."""
    return next(s for s in project.prediction_specs() if qualified(s.table) == name)


_JUDGES: dict[Kind, Callable[[Desired, str], Freshness]] = {
    "table": _judge_table,
    "model": _judge_model,
    "endpoint": _judge_endpoint,
    "predictions": _judge_predictions,
    "withdrawal": _judge_withdrawal,
}
