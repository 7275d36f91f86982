"""From a model version to its run, code, environment and training data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from headrace import clock
from headrace.trace.graph import Builder, Node
from headrace.trace.upstream import Upstream
from headrace.tracking import store as trainings
from headrace.tracking.spec import TrainingSpec

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

    from headrace.workspace import Workspace

_NOT_NARROWED = "the model learned from all of them"


@dataclass(frozen=True)
class ModelFacts:
    """What a model's training says of a row: who it is about, when, and how far it looks back.

    Attributes:
        key: columns that identify a row; empty if the model does not say.
        time: the column that says when.
        group: the column of the entity, such as ``device_id``.
        lookback: how far back a feature row looks.
        run_id: the training run.
        table, version: what it was trained on.
    """

    key: tuple[str, ...] = ()
    time: str | None = None
    group: str | None = None
    lookback: timedelta | None = None
    run_id: str | None = None
    table: str | None = None
    version: int | None = None


class Models:
    """Adds model versions and what they came from to a trace, each once."""

    def __init__(self, workspace: Workspace, graph: Builder) -> None:
        self._workspace, self._graph = workspace, graph
        self._known: dict[str, ModelFacts] = {}
        self._training = Upstream(
            workspace,
            graph,
            "training",
            why_not=_NOT_NARROWED,
            on_model=lambda node, address: self.add_address(node, "scored by", address),
        )

    def add(self, source: str, relation: str, name: str, version: int) -> ModelFacts:
        """Add a registered version as a cause of ``source``."""
        node_id = f"model:{name}/{version}"
        self._graph.link(source, node_id, relation)
        if node_id not in self._known:
            self._known[node_id] = ModelFacts()
            self._known[node_id] = self._version(node_id, name, version)
        return self._known[node_id]

    def add_address(self, source: str, relation: str, address: str) -> ModelFacts:
        """Add the model of an address as the lineage records it: ``models:/m-...`` or a version."""
        reference = address.removeprefix("models:/")
        name, _, version = reference.partition("/")
        if version.isdigit():
            return self.add(source, relation, name, int(version))
        registered = self._registered(reference)
        if registered is not None:
            return self.add(source, relation, *registered)
        node_id = f"model:{reference}"
        self._graph.link(source, node_id, relation)
        if node_id not in self._known:
            self._known[node_id] = ModelFacts()
            self._known[node_id] = self._unregistered(node_id, reference)
        return self._known[node_id]

    def _registered(self, model_id: str) -> tuple[str, int] | None:
        """Name and version of a logged model; the newest if it was registered several times."""
        found = [
            (version.name, int(version.version))
            for version in self._client.search_model_versions(
                f"source_path = 'models:/{model_id}'", max_results=100
            )
        ]
        return max(found, key=lambda pair: pair[1], default=None)

    def _version(self, node_id: str, name: str, version: int) -> ModelFacts:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version(name, str(version))
        except MlflowException as error:
            facts = {"name": name, "version": version, "missing": error.message}
            self._graph.add(Node(node_id, "model", "model", f"{name}/{version}, deleted", facts))
            return ModelFacts()
        facts = {
            "name": name,
            "version": version,
            "model_id": _model_id(found),
            "registered_at": _moment(found.creation_timestamp),
            "aliases": sorted(found.aliases),
            "tags": dict(sorted(found.tags.items())),
        }
        self._graph.add(Node(node_id, "model", "model", f"{name}/{version}", facts))
        return self._run(node_id, found.run_id) if found.run_id else ModelFacts()

    def _unregistered(self, node_id: str, reference: str) -> ModelFacts:
        from mlflow.exceptions import MlflowException

        facts: dict[str, Any] = {"model_id": reference}
        try:
            run_id = self._client.get_logged_model(reference).source_run_id
        except MlflowException as error:
            facts["missing"] = error.message
            run_id = None
        self._graph.add(Node(node_id, "model", "model", f"{reference}, not registered", facts))
        return self._run(node_id, run_id) if run_id else ModelFacts()

    def _run(self, model: str, run_id: str) -> ModelFacts:
        from mlflow.exceptions import MlflowException

        node_id = f"run:{run_id}"
        self._graph.link(model, node_id, "made by")
        record = _training_record(self._workspace, run_id)
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            facts = {"run_id": run_id, "missing": error.message}
            self._graph.add(Node(node_id, "run", "model", f"run {run_id}, deleted", facts))
        else:
            self._graph.add(self._run_node(node_id, run))
            self._code(node_id, run, record)
            self._environment(node_id, record)
        self._trained_on(node_id, run_id, record)
        if record is None:
            return ModelFacts(run_id=run_id)
        spec = TrainingSpec.model_validate_json(record.spec)
        return ModelFacts(
            tuple(spec.key),
            spec.time,
            spec.group,
            spec.lookback,
            run_id,
            record.table_name,
            record.table_version,
        )

    def _run_node(self, node_id: str, run: Run) -> Node:
        experiment = self._client.get_experiment(run.info.experiment_id)
        facts = {
            "run_id": run.info.run_id,
            "experiment": experiment.name,
            "name": run.info.run_name,
            "status": run.info.status,
            "started_at": _moment(run.info.start_time),
            "finished_at": _moment(run.info.end_time),
            "user": run.data.tags.get("mlflow.user"),
            "params": dict(sorted(run.data.params.items())),
            "metrics": dict(sorted(run.data.metrics.items())),
        }
        return Node(node_id, "run", "model", f"run {run.info.run_id}", facts)

    def _code(self, run_node: str, run: Run, record: trainings.TrainingRecord | None) -> None:
        tags = run.data.tags
        commit = tags.get("mlflow.source.git.commit")
        source = tags.get("mlflow.source.name")
        facts: dict[str, Any] = {"commit": commit, "source": source}
        if record is not None:
            spec = TrainingSpec.model_validate_json(record.spec)
            facts |= {"bundle": record.code_digest, "source": spec.train}
            facts["dirty"] = tags.get("mlflow.source.git.dirty") == "true"
        if not any(facts.values()):
            return
        node_id = f"code:{facts.get('bundle') or commit or source}"
        self._graph.add(Node(node_id, "code", "model", f"code {facts['source']}", facts))
        self._graph.link(run_node, node_id, "ran")

    def _environment(self, run_node: str, record: trainings.TrainingRecord | None) -> None:
        if record is None:
            return
        digest = record.environment_digest
        facts = {"digest": digest}
        title = f"environment {digest[:12]}"
        self._graph.add(Node(f"environment:{digest}", "environment", "model", title, facts))
        self._graph.link(run_node, f"environment:{digest}", "in")

    def _trained_on(
        self, run_node: str, run_id: str, record: trainings.TrainingRecord | None
    ) -> None:
        """Tables that the run read, from the lineage; else from the training's own record."""
        operations = self._workspace.lineage.operations(run_id=run_id)
        reads = [
            (access.name, access.version)
            for operation in reversed(operations)
            if not operation.writes
            for access in operation.reads
            if access.kind == "table"
        ]
        if not reads and record is not None:
            reads = [(record.table_name, record.table_version)]
        for name, version in dict.fromkeys(reads):
            self._graph.link(run_node, self._training.table(name, version), "trained on")

    @cached_property
    def _client(self) -> MlflowClient:
        return self._workspace.mlflow()


def _training_record(workspace: Workspace, run_id: str) -> trainings.TrainingRecord | None:
    query = select(trainings.trainings).where(trainings.trainings.c.run_id == run_id)
    with workspace.store.reading() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return trainings.TrainingRecord(**row) if row else None


def _model_id(version: ModelVersion) -> str | None:
    source = version.source or ""
    return version.model_id or (
        source.removeprefix("models:/") if source.startswith("models:/m-") else None
    )


def _moment(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return clock.iso(datetime.fromtimestamp(milliseconds / 1000, UTC))
