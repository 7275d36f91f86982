"""From a model version to its run, code, environment and training data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headrace import clock
from headrace.engine import reads_of_run
from headrace.trace import raw
from headrace.trace.graph import Builder, Node
from headrace.trace.upstream import Upstream
from headrace.tracking.store import last

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

    from headrace.catalog import Operation
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

    def add(
        self, source: str, relation: str, name: str, version: int, run_id: str | None = None
    ) -> ModelFacts:
        """Add a registered version as a cause of ``source``.

        ``run_id`` is the run to follow if the registry has lost the version.
        """
        node_id = f"model:{name}/{version}"
        self._graph.link(source, node_id, relation)
        if node_id not in self._known:
            self._known[node_id] = ModelFacts()
            self._known[node_id] = self._version(node_id, name, version, run_id)
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

    def _version(self, node_id: str, name: str, version: int, run_id: str | None) -> ModelFacts:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version(name, str(version))
        except MlflowException as error:
            facts = {"name": name, "version": version, "missing": error.message}
            self._graph.add(Node(node_id, "model", "model", f"{name}/{version}, deleted", facts))
            if run_id:
                self._run(node_id, run_id)
            return ModelFacts(run_id=run_id)
        tags = dict(sorted(found.tags.items()))
        facts = {
            "name": name,
            "version": version,
            "model_id": _model_id(found),
            "registered_at": _moment(found.creation_timestamp),
            "aliases": sorted(found.aliases),
            "tags": tags,
        }
        self._graph.add(Node(node_id, "model", "model", f"{name}/{version}", facts))
        if found.run_id:
            self._run(node_id, found.run_id)
        return _facts_of(found.run_id or None, tags)

    def _unregistered(self, node_id: str, reference: str) -> ModelFacts:
        from mlflow.exceptions import MlflowException

        facts: dict[str, Any] = {"model_id": reference}
        run_id: str | None = None
        try:
            run_id = self._client.get_logged_model(reference).source_run_id
        except MlflowException as error:
            facts["missing"] = error.message
        self._graph.add(Node(node_id, "model", "model", f"{reference}, not registered", facts))
        if run_id:
            self._run(node_id, run_id)
        return ModelFacts(run_id=run_id)

    def _run(self, model: str, run_id: str) -> None:
        from mlflow.exceptions import MlflowException

        node_id = f"run:{run_id}"
        self._graph.link(model, node_id, "made by")
        tags: Mapping[str, str] = {}
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            facts = {"run_id": run_id, "missing": error.message}
            self._graph.add(Node(node_id, "run", "model", f"run {run_id}, deleted", facts))
        else:
            tags = run.data.tags
            self._graph.add(self._run_node(node_id, run))
            self._code(node_id, tags)
            self._environment(node_id, tags)
        self._trained_on(node_id, run_id, tags)

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
            "artifacts": raw.shown(self._workspace.paths, run.info.artifact_uri),
        }
        return Node(node_id, "run", "model", f"run {run.info.run_id}", facts)

    def _code(self, run_node: str, tags: Mapping[str, str]) -> None:
        commit = tags.get("mlflow.source.git.commit")
        bundle = tags.get("headrace.code_digest")
        source = self._training_source(run_node, tags) or tags.get("mlflow.source.name")
        if not (commit or bundle or source):
            return
        facts = {
            "commit": commit,
            "dirty": {"true": True, "false": False}.get(tags.get("headrace.git_dirty", "")),
            "bundle": bundle,
            "source": source,
        }
        node_id = f"code:{bundle or commit or source}"
        title = f"code {source or (bundle or commit or '')[:12]}"
        self._graph.add(Node(node_id, "code", "model", title, facts))
        self._graph.link(run_node, node_id, "ran")

    def _training_source(self, run_node: str, tags: Mapping[str, str]) -> str | None:
        """``file.py:function`` of a model of the project."""
        run_id = run_node.removeprefix("run:")
        record = last(self._workspace.store, tags.get("headrace.model", ""), run_id=run_id)
        return None if record is None else str(json.loads(record.spec)["train"])

    def _environment(self, run_node: str, tags: Mapping[str, str]) -> None:
        digest = tags.get("headrace.environment_digest")
        if digest is None:
            return
        node_id, title = f"environment:{digest}", f"environment {digest[:12]}"
        self._graph.add(Node(node_id, "environment", "model", title, {"digest": digest}))
        self._graph.link(run_node, node_id, "in")

    def _trained_on(self, run_node: str, run_id: str, tags: Mapping[str, str]) -> None:
        """Tables that the run read, from the lineage; else from the run's own record."""
        reads = [
            (access.name, access.version)
            for operation in reversed(self._reads(run_id))
            for access in operation.reads
            if access.kind == "table"
        ]
        if not reads and "headrace.table_version" in tags:
            reads = [(tags["headrace.table"], int(tags["headrace.table_version"]))]
        for name, version in dict.fromkeys(reads):
            self._graph.link(run_node, self._training.table(name, version), "trained on")

    def _reads(self, run_id: str) -> list[Operation]:
        """Operations whose rows the run can have learned from, newest first.

        Those that carry its id; for a notebook also what its session collected before the run
        began, since the run before it ended.
        """
        lineage = self._workspace.lineage
        during = [op for op in lineage.operations(run_id=run_id) if op.reads and not op.writes]
        if during:
            return during
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException:
            return []
        session = run.data.tags.get("headrace.session_id")
        if session is None:
            return []
        started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        belonging = reads_of_run(
            lineage.operations(session_id=session),
            run_id,
            started,
            self._previous_end(session, run),
        )
        return [op for op in reversed(belonging) if not op.writes]

    def _previous_end(self, session: str, run: Run) -> datetime | None:
        """When the run before this one of the same session ended."""
        earlier = self._client.search_runs(
            [run.info.experiment_id],
            f"tags.`headrace.session_id` = '{session}' "
            f"AND attributes.start_time < {run.info.start_time}",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        end = earlier[0].info.end_time if earlier else None
        return None if end is None else datetime.fromtimestamp(end / 1000, UTC)

    @cached_property
    def _client(self) -> MlflowClient:
        return self._workspace.mlflow()


def _facts_of(run_id: str | None, tags: Mapping[str, str]) -> ModelFacts:
    lookback = tags.get("headrace.lookback", "").removesuffix("s")
    version = tags.get("headrace.table_version", "")
    return ModelFacts(
        key=tuple(filter(None, tags.get("headrace.key", "").split(","))),
        time=tags.get("headrace.time"),
        group=tags.get("headrace.group"),
        lookback=timedelta(seconds=float(lookback)) if lookback else None,
        run_id=run_id,
        table=tags.get("headrace.table"),
        version=int(version) if version else None,
    )


def _model_id(version: ModelVersion) -> str | None:
    source = version.source or ""
    return version.model_id or (
        source.removeprefix("models:/") if source.startswith("models:/m-") else None
    )


def _moment(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return clock.iso(datetime.fromtimestamp(milliseconds / 1000, UTC))
