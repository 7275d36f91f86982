"""What a decision's statement says: gathered from the project, before the transaction.

Each field is described in ``docs/evidence.md``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import column, inspect, select, table

from headrace import kernels
from headrace.endpoints.records import model_directory
from headrace.evidence import Decision, digests_of, evidence_of
from headrace.evidence.digests import remove_bytecode
from headrace.evidence.envelope import peek
from headrace.evidence.errors import EvidenceRefusedError
from headrace.evidence.statement import GRANTING, subjects_of
from headrace.promotion.errors import ModelNotLoadableError
from headrace.registry import PRODUCTION, ModelVersion, resolve
from headrace.tracking import store as trainings

if TYPE_CHECKING:
    from headrace.gate.spec import GateSpec
    from headrace.gate.verdict import Verdict
    from headrace.workspace import Workspace

_run_tags: Final = table("tags", column("run_uuid"), column("key"), column("value"))
_GIT: Final = {"headrace.git_commit": "commit", "headrace.git_dirty": "dirty"}


def decision(
    workspace: Workspace,
    verdict: Verdict,
    gate: GateSpec,
    *,
    kind: Literal["promoted", "refused", "waiting"],
    alias: str = PRODUCTION,
) -> Decision:
    """What the gate decided on a version, with everything that it rests on.

    One that is promoted after it waited for approvals holds the statement that was approved.

    Args:
        workspace: the project.
        verdict: what the gate found.
        gate: by which rule.
        kind: what becomes of it.
        alias: for which alias it was judged.

    Raises:
        ModelNotLoadableError: the model's files cannot be read.
        EvidenceRefusedError: they are not those that were approved.
    """
    version = resolve(workspace, f"{verdict.model}/{verdict.version}")
    made = _described(workspace, version, verdict, gate, kind, alias)
    if kind != "promoted" or not gate.approvals.count:
        return made
    waited = next(
        (
            each
            for each in evidence_of(workspace.store, version.name, version.version, alias)
            if each.kind == "waiting"
        ),
        None,
    )
    if waited is None:
        return made
    before = peek(waited.envelope)
    if subjects_of(before) != dict(made.subjects):
        why = ["the model's files are not those that were approved"]
        raise EvidenceRefusedError(version.name, version.version, alias, why)
    predicate = {**made.predicate, "waiting": waited.envelope.decode()}
    return Decision(made.kind, made.model, made.version, made.subjects, predicate, alias)


def override(
    workspace: Workspace,
    version: ModelVersion,
    *,
    alias: str = PRODUCTION,
    reason: str,
    verdict: Verdict | None = None,
    gate: GateSpec | None = None,
) -> Decision:
    """That a person gives a version its alias without the gate's yes.

    Args:
        workspace: the project.
        version: which.
        alias: which alias.
        reason: why, in the person's words.
        verdict: what the gate had found, if it had judged the version by ``gate``.
        gate: the rule of the project.

    Raises:
        ModelNotLoadableError: the model's files cannot be read.
    """
    made = _described(workspace, version, verdict, gate, "overridden", alias)
    predicate = {**made.predicate, "override": {"reason": reason}}
    return Decision(made.kind, made.model, made.version, made.subjects, predicate, alias)


def withdrawal(model: str, *, alias: str = PRODUCTION, reason: str) -> Decision:
    """That a person takes an alias away from a model."""
    return Decision("overridden", model, None, {}, {"override": {"reason": reason}}, alias)


def _described(
    workspace: Workspace,
    version: ModelVersion,
    verdict: Verdict | None,
    gate: GateSpec | None,
    kind: Any,
    alias: str,
) -> Decision:
    with model_files(workspace, version) as directory, _readable(version, directory):
        subjects = digests_of(directory)
        kernel = _kernel(directory, subjects)
    judged = verdict is not None and gate is not None
    predicate = {
        "model": {"model_id": version.model_id, "run_id": version.run_id},
        "champion": _champion(workspace, verdict, alias),
        "inputs": _inputs(workspace, version),
        "holdout": _holdout(workspace, version),
        "rule": gate.model_dump(mode="json") if judged and gate is not None else None,
        "verdict": verdict.as_json() if judged and verdict is not None else None,
        "kernel": kernel,
        "environment": {
            "digest": version.tags.get("headrace.environment_digest"),
            "lock": subjects.get("environment.lock"),
            "project_lock": version.tags.get("headrace.lock"),
            "drift": version.tags.get("headrace.drift"),
        },
        "code": {
            "digest": version.tags.get("headrace.code_digest"),
            "spec": version.tags.get("headrace.spec_digest"),
            "git": _git(workspace, version),
        },
    }
    return Decision(kind, version.name, version.version, subjects, predicate, alias)


def judged_files(workspace: Workspace, version: ModelVersion) -> dict[str, str] | None:
    """Digests of what the gate is about to load; ``None`` where that is on another machine.

    Bytecode that lies beside the model's code is removed: it would be judged in the code's place,
    and is not signed.

    Raises:
        ModelNotLoadableError: they cannot be read.
    """
    here = model_directory(workspace.store, version.model_id)
    if here is None or not here.is_dir():
        return None
    with _readable(version, here):
        remove_bytecode(here)
        return digests_of(here)


@contextmanager
def _readable(version: ModelVersion, directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = f"{directory}: {error}"
        raise ModelNotLoadableError(version.name, str(version), why) from error


@contextmanager
def model_files(workspace: Workspace, version: ModelVersion) -> Iterator[Path]:
    """The directory of a version's files; a copy where they lie on another machine.

    Raises:
        ModelNotLoadableError: they cannot be read.
    """
    here = model_directory(workspace.store, version.model_id)
    if here is not None:
        if not (here / "MLmodel").is_file():
            raise ModelNotLoadableError(version.name, str(version), f"{here} holds no model")
        yield here
        return
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    location = workspace.mlflow().get_logged_model(version.model_id).artifact_location
    with tempfile.TemporaryDirectory(dir=workspace.paths.temporary) as copy:
        try:
            found = mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=copy)
        except (MlflowException, OSError) as error:
            raise ModelNotLoadableError(version.name, str(version), str(error)) from error
        yield Path(found)


def _kernel(directory: Path, subjects: Mapping[str, str]) -> dict[str, Any] | None:
    report = kernels.report_on_disk(directory)
    if report is None:
        return None
    return {
        "report": subjects.get("kernel/kernel.json"),
        "graph": subjects.get("kernel/model.onnx"),
        "status": report.status,
        "summary": report.summary,
    }


def _champion(workspace: Workspace, verdict: Verdict | None, alias: str) -> dict[str, Any] | None:
    if verdict is None or verdict.champion is None:
        return None
    known = evidence_of(workspace.store, verdict.model, verdict.champion, alias)
    granted = (each.digest for each in known if each.kind in GRANTING)
    return {
        "version": verdict.champion,
        "model_id": resolve(workspace, f"{verdict.model}/{verdict.champion}").model_id,
        "evidence": next(granted, None),
    }


def _inputs(workspace: Workspace, version: ModelVersion) -> list[dict[str, Any]]:
    """What the training run read, each once."""
    if version.run_id is None:
        return []
    read: dict[str, dict[str, Any]] = {}
    for operation in workspace.lineage.operations(run_id=version.run_id, kind="train"):
        for access in operation.reads:
            entry = {
                "kind": access.kind,
                "name": access.name,
                "version": access.version,
                "columns": None if access.columns is None else sorted(access.columns),
            }
            read[json.dumps(entry)] = entry
    return [read[text] for text in sorted(read)]


def _holdout(workspace: Workspace, version: ModelVersion) -> dict[str, Any] | None:
    digest = version.tags.get("headrace.holdout_digest")
    record = trainings.holdout(workspace.store, digest) if digest else None
    if record is None:
        return None
    return {
        "digest": record.digest,
        "table": record.table_name,
        "version": record.table_version,
        "rule": record.rule,
        "rows": record.rows,
        "key": record.key,
        "label": record.label,
    }


def _git(workspace: Workspace, version: ModelVersion) -> dict[str, Any] | None:
    """The commit that the training ran on, as its run has it."""
    query = select(_run_tags.c.key, _run_tags.c.value).where(
        _run_tags.c.run_uuid == version.run_id, _run_tags.c.key.in_(_GIT)
    )
    with workspace.store.reading() as connection:
        if not inspect(connection).has_table(_run_tags.name):
            return None
        found = {_GIT[row.key]: row.value for row in connection.execute(query)}
    if "commit" not in found:
        return None
    return {"commit": found["commit"], "dirty": found.get("dirty") == "true"}
