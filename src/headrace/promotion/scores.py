"""A version's scores on the frozen rows, in the shape that the metrics take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.gate.metrics import Outcome, Task
from headrace.promotion.errors import (
    ModelInputError,
    ModelNotLoadableError,
    NoHoldoutError,
    NoSignatureError,
)
from headrace.tracking import load_holdout, load_model
from headrace.tracking.data import frame_for
from headrace.tracking.evaluation import predicted, scores
from headrace.tracking.store import holdout as holdout_record

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from headrace.registry import ModelVersion
    from headrace.tracking import HoldoutRecord, HoldoutRows
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Contender:
    """A version, loaded from its immutable address.

    Attributes:
        version: which.
        model: the pyfunc model.
        inputs: MLflow type name by input column.
    """

    version: ModelVersion
    model: Any
    inputs: dict[str, str]


def contender(workspace: Workspace, version: ModelVersion) -> Contender:
    """Load a version and read its signature.

    Raises:
        ModelNotLoadableError: its files are gone, or its code fails.
        NoSignatureError: it has none, or one that names no columns.
    """
    try:
        model = load_model(workspace, version.model_id)
    except Exception as error:
        why = f"{type(error).__name__}: {str(error).strip()[:500]}"
        raise ModelNotLoadableError(version.name, str(version), why) from error
    schema = model.metadata.get_input_schema()
    if schema is None or not schema.has_input_names() or schema.is_tensor_spec():
        raise NoSignatureError(version.name, str(version))
    inputs = {str(column.name): str(column.type.name) for column in schema.inputs}
    return Contender(version, model, inputs)


def frozen_rows(
    workspace: Workspace, contenders: list[Contender], columns: set[str]
) -> HoldoutRows:
    """The candidate's frozen rows with the inputs of every contender.

    Args:
        workspace: the project.
        contenders: the candidate first.
        columns: to read beside.

    Raises:
        NoHoldoutError: the candidate has no hold-out.
        ModelInputError: a contender needs a column that the table did not have.
    """
    candidate = contenders[0].version
    digest = candidate.tags.get("headrace.holdout_digest")
    record = holdout_record(workspace.store, digest) if digest else None
    if record is None:
        raise NoHoldoutError(candidate.name, str(candidate))
    entry = workspace.catalog.resolve(record.table_name)
    if entry.location is not None:
        known = set(lakehouse.schema(entry.location, record.table_version).names)
        for each in contenders:
            missing = sorted(set(each.inputs) - known)
            if missing:
                at = f"{record.table_name} at version {record.table_version}"
                raise ModelInputError(candidate.name, str(each.version), at, missing)
    inputs = {name for each in contenders for name in each.inputs}
    return load_holdout(workspace, record.digest, inputs | columns)


def outcome(each: Contender, held: HoldoutRows, task: Task) -> Outcome:
    """Score the rows with one contender.

    A model of ours gives ``score`` and ``label``. Of any other a single number a row is a score
    and the last of two columns the positive class's; labels follow at 0.5.
    """
    import numpy as np

    frame = frame_for(held.rows, each.inputs, each.version.name, held.record.table_name)
    name, at = each.version.name, f"models:/{each.version}"
    answer = predicted(each.model.predict, frame, name, at)
    truth = np.asarray(held.y, np.float64)
    score = scores(_score(answer), len(truth), name, at)
    if task == "regression":
        return Outcome(truth, score, score)
    named = _label(answer)
    if named is None:
        label = (score >= 0.5).astype(np.float64) if task == "binary" else score
    else:
        codes = {value: float(code) for code, value in enumerate(held.record.labels or ())}
        # A label that the hold-out does not know is a wrong one, never a missing one.
        label = np.array([codes.get(value, -1.0) for value in named.tolist()])
        if task == "binary":
            label = (label == 1).astype(np.float64)
    return Outcome(truth, score, label, several=task == "multiclass")


def _score(answer: Any) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(answer, pd.DataFrame):
        return answer["score"] if "score" in answer else answer.iloc[:, -1]
    values = np.asarray(answer)
    return values[:, -1] if values.ndim == 2 else values


def _label(answer: Any) -> pd.Series | None:
    import pandas as pd

    if isinstance(answer, pd.DataFrame) and "label" in answer:
        return answer["label"]
    return None


def task_of(record: HoldoutRecord) -> Task:
    """What kind of task the frozen labels are of."""
    if record.labels is None:
        return "regression"
    return "binary" if len(record.labels) == 2 else "multiclass"


def column_values(rows: pa.Table, column: str) -> Any:
    """A column as an array, for slices and groups."""
    return rows.column(column).to_pandas().to_numpy()
