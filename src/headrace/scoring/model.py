"""The model to score with: an immutable local copy, and the columns it takes and gives."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.ids import new_id
from headrace.scoring.errors import NoSignatureError, PredictionColumnsError
from headrace.scoring.spec import RECORD_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.registry import ModelVersion
    from headrace.scoring.predict import Scorer
    from headrace.workspace import Workspace

_KEPT_SECONDS: Final = 7 * 24 * 3600
#: Arrow types of prediction columns that Delta holds as they are.
_PLAIN: Final = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "float", "double", "string", "date32[day]"}
)

#: Types of an MLflow signature, as Arrow names them.
_SIGNATURE: Final = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float",
    "double": "double",
    "string": "string",
}


@dataclass(frozen=True)
class LocalModel:
    """A model version on this machine's disk.

    Attributes:
        name: ``name/version``, for messages.
        path: a directory that holds this model and never another.
        inputs: signature type by input column, in the signature's order.
        optional: inputs that may be absent.
        outputs: name and Arrow type of each prediction column if the signature tells; else
            ``None``, and a sample must be predicted to know.
    """

    name: str
    path: Path
    inputs: dict[str, str]
    optional: frozenset[str]
    outputs: tuple[tuple[str, str], ...] | None


def fetch(workspace: Workspace, version: ModelVersion, table: str) -> LocalModel:
    """Copy the model's files into the project's scratch space once, and read its signature.

    The copy is named by the model id, so a moved alias or a re-created version never finds
    another model's files, as it would in a cache keyed by the model's address.

    Raises:
        NoSignatureError: the model names no input columns.
    """
    home = workspace.paths.temporary / "models"
    path = home / version.model_id
    try:
        os.utime(path)  # it is used: see _prune
    except FileNotFoundError:
        import mlflow.artifacts

        home.mkdir(mode=0o700, exist_ok=True)
        partial = home / new_id("partial")
        # By its location: MLflow would look an address up in the store that the process points to.
        location = workspace.mlflow().get_logged_model(version.model_id).artifact_location
        try:
            copied = mlflow.artifacts.download_artifacts(
                artifact_uri=location, dst_path=str(partial)
            )
            try:
                Path(copied).rename(path)
            except OSError:
                if not path.is_dir():  # else another process was first, with the same files
                    raise
            os.utime(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _prune(home)
    return _describe(path, f"{version.name}/{version.version}", table)


def _prune(home: Path) -> None:
    """Remove copies that nobody has scored with for a week, and what killed processes left."""
    for copy in home.iterdir():
        with suppress(FileNotFoundError):  # another process was first
            if time.time() - copy.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(copy, ignore_errors=True)


def _describe(path: Path, name: str, table: str) -> LocalModel:
    from mlflow.models import Model
    from mlflow.types.schema import ColSpec, DataType

    signature = Model.load(str(path)).signature
    if signature is None or signature.inputs is None:
        raise NoSignatureError(table, name, "it was logged without a signature")
    if not signature.inputs.has_input_names() or signature.inputs.is_tensor_spec():
        raise NoSignatureError(table, name, "its signature describes a tensor, not named columns")
    inputs = {
        column.name: column.type.name if isinstance(column.type, DataType) else "any"
        for column in signature.inputs.inputs
    }
    optional = frozenset(column.name for column in signature.inputs.inputs if not column.required)
    outputs = None
    declared = signature.outputs.inputs if signature.outputs is not None else []
    if declared and all(isinstance(column, ColSpec) and column.name for column in declared):
        aliases = [_SIGNATURE.get(getattr(column.type, "name", "")) for column in declared]
        if all(aliases):
            outputs = tuple(
                (str(column.name), str(alias))
                for column, alias in zip(declared, aliases, strict=True)
            )
    return LocalModel(name, path, inputs, optional, outputs)


def prediction_columns(
    model: LocalModel,
    scorer: Scorer,
    sample: pa.Table | None,
    table: str,
    kept: list[str],
) -> list[tuple[str, str]]:
    """Name and Arrow type of each prediction column, from the signature or by predicting ``sample``.

    Raises:
        PredictionColumnsError: a column's type has no place in a table, or its name is taken.
    """
    if model.outputs is not None:
        columns = list(model.outputs)
    elif sample is None or sample.num_rows == 0:
        columns = [("score", "double")]
    else:
        answers = scorer.answers(sample)
        columns = [(field.name, _plain_type(field, table, model.name)) for field in answers.schema]
    taken = {*kept, *RECORD_COLUMNS}
    clashes = [name for name, _ in columns if name in taken]
    if clashes:
        raise PredictionColumnsError(
            table, model.name, f"it returns columns whose names are taken: {', '.join(clashes)}"
        )
    return columns


def _plain_type(field: pa.Field, table: str, model: str) -> str:
    import pyarrow as pa

    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_unsigned_integer(kind):
        return "int64"
    if pa.types.is_float16(kind):
        return "float"
    if pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return "string"
    if pa.types.is_timestamp(kind):
        return "timestamp[us]"
    if str(kind) not in _PLAIN:
        raise PredictionColumnsError(table, model, f'its column "{field.name}" is a {kind}')
    return {"date32[day]": "date32"}.get(str(kind), str(kind))
