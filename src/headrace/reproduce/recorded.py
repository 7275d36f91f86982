"""What a training recorded of itself, gathered and checked before anything is run."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from pydantic import ValidationError

from headrace import lakehouse
from headrace.environments import Lock, LockNotFoundError, lock_of
from headrace.environments.compare import minor
from headrace.errors import HeadraceError
from headrace.pins import broken, pinned
from headrace.reproduce.errors import NotReproducibleError
from headrace.tracking import TrainingSpec
from headrace.tracking import store as trainings
from headrace.tracking.code import read_source
from headrace.tracking.data import Source, TrainingData, pin, prepare

if TYPE_CHECKING:
    import pandas as pd

    from headrace.registry import ModelVersion
    from headrace.tracking.store import TrainingRecord
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Recorded:
    """A version's training as it was recorded.

    Attributes:
        version: of the registry.
        record: the database's record of the training.
        spec: it was trained by.
        circumstances: ``circumstances.json`` of the run.
        code: path -> text of the source.
        model: directory of the registered model.
        lock: of the environment that the model needs.
        predictions: on the hold-out, as they were then.
    """

    version: ModelVersion
    record: TrainingRecord
    spec: TrainingSpec
    circumstances: dict[str, Any]
    code: bytes
    model: Path
    lock: Lock
    predictions: pd.DataFrame


def gather(workspace: Workspace, version: ModelVersion, scratch: Path) -> Recorded:
    """Find all that a version was made of; artifacts that lie elsewhere are copied to scratch.

    Raises:
        NotReproducibleError: the run, its code or its model is gone.
    """
    record = None
    if version.run_id is not None:
        record = trainings.last(workspace.store, version.name, "finished", run_id=version.run_id)
    if record is None:
        _lost(version, "record", "There is no record of how it was trained.",
              version.run_id and f"run {version.run_id}",
              "the model was not trained by headrace run, or in another project")  # fmt: skip
    try:
        spec = TrainingSpec.model_validate_json(record.spec)
    except ValidationError as error:
        why = f"its settings cannot be read: {str(error).splitlines()[0]}"
        _lost(version, "record", "It was trained by another version of Headrace.", None, why)
    circumstances = _circumstances(
        version, _artifact(workspace, version, "circumstances.json", scratch)
    )
    code = _artifact(workspace, version, "code/training.zip", scratch).read_bytes()
    if hashlib.sha256(code).hexdigest() != circumstances["code"]:
        _lost(version, "code", "The recorded code is not the code that trained it.",
              f"run {version.run_id}, code/training.zip", "the file was changed since")  # fmt: skip
    answers = _answers(
        version, _artifact(workspace, version, "holdout/predictions.parquet", scratch)
    )
    model = _model(workspace, version, scratch)
    try:
        lock = lock_of(model)
    except LockNotFoundError as error:
        _lost(version, "environment", error.what, error.where, error.why or "")
    return Recorded(version, record, spec, circumstances, code, model, lock, answers)


def read_rows(workspace: Workspace, recorded: Recorded) -> tuple[Source, TrainingData]:
    """The rows that it was trained on and measured on, from the pinned version of its table.

    Raises:
        NotReproducibleError: the table, its version, or files of that are gone.
    """
    version, record = recorded.version, recorded.record
    at = f"{record.table_name} at version {record.table_version}"
    for each in broken(workspace.store, workspace.catalog):
        if (each.pin.model, each.pin.version) == (version.name, version.version):
            files = f": {', '.join(each.files[:3])}" if each.files else ""
            _lost(
                version, "rows", "A pinned table version is lost.", str(each.pin), each.why + files
            )
    held = {
        pin.table_version
        for pin in pinned(workspace.store, record.table_name, model=version.name)
        if pin.version == version.version
    }
    try:
        source = pin(workspace, recorded.spec, record.table_version)
        rows = lakehouse.read(source.location, version=source.version, columns=list(source.columns))
        return source, prepare(rows, recorded.spec, source)
    except (HeadraceError, OSError) as error:
        said = error.what if isinstance(error, HeadraceError) else str(error)
        why = (error.why if isinstance(error, HeadraceError) else None) or ""
        note = "" if record.table_version in held else "; nothing pins it any more"
        _lost(version, "rows", "Its rows cannot be read again.", at, f"{said} {why}".strip() + note)


def unpack(recorded: Recorded, target: Path) -> bool | None:
    """Write the recorded source below a directory; whether its digest is the recorded one.

    ``None`` where that cannot be told: the digest is over syntax trees, which another version
    of Python writes in another way.
    """
    with zipfile.ZipFile(io.BytesIO(recorded.code)) as archive:
        archive.extractall(target)  # its digest was checked
    import platform

    if minor(recorded.circumstances["runtime"]["python"]) != minor(platform.python_version()):
        return None
    return read_source(target, recorded.spec).digest == recorded.record.code_digest


def _circumstances(version: ModelVersion, path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        for key in ("code", "rows", "runtime"):
            found[key]
    except (OSError, ValueError, TypeError, KeyError) as error:
        _lost(version, "record", f"{path.name} of its run is damaged.", str(path), repr(error))
    return found


def _answers(version: ModelVersion, path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        found = pd.read_parquet(path)
        found["score"].astype("float64")
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        said = str(error).splitlines()[0]
        _lost(version, "record", f"{path.name} of its run is damaged.", str(path), said)
    return found


def _artifact(workspace: Workspace, version: ModelVersion, name: str, scratch: Path) -> Path:
    from mlflow.exceptions import MlflowException

    try:
        found = workspace.mlflow().download_artifacts(
            str(version.run_id), name, dst_path=_place(scratch, name)
        )
    except (MlflowException, OSError) as error:
        missing = "code" if name.startswith("code") else "record"
        said = str(error).splitlines()[0]
        _lost(version, missing, f"{name} of its run is gone.", f"run {version.run_id}", said)
    return Path(found)


def _model(workspace: Workspace, version: ModelVersion, scratch: Path) -> Path:
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        location = workspace.mlflow().get_logged_model(version.model_id).artifact_location
        local = urlsplit(location).scheme in ("", "file")
        place = None if local else _place(scratch, "registered")
        found = mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=place)
    except (MlflowException, OSError) as error:
        said = str(error).splitlines()[0]
        _lost(
            version, "model", "The files of the registered model are gone.", version.model_id, said
        )
    return Path(found)


def _place(scratch: Path, name: str) -> str:
    target = scratch / "downloaded" / name.replace("/", "-")
    target.mkdir(parents=True, exist_ok=True)
    return str(target)


def _lost(version: ModelVersion, missing: str, what: str, where: str | None, why: str) -> NoReturn:
    raise NotReproducibleError(
        str(version),
        missing,
        what,
        where=where,
        why=why,
        next="headrace run --full makes a version that can be made again",
    )
