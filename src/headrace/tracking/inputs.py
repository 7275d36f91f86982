"""The data of a run as MLflow dataset inputs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from headrace.tracking.flavor import signature
from headrace.tracking.split import identities

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from headrace.tracking.data import Part, Source, TrainingData

_DIGEST: Final = 16  # MLflow keeps up to 36 characters


def dataset_inputs(table: Source, data: TrainingData, label: str) -> list[DatasetInput]:
    """Inputs ``train`` and ``holdout``: table, Delta version, rows, columns and a digest.

    Made by hand: MLflow's own dataset infers its schema from every value of every row, which
    takes longer than many trainings.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"path": table.location, "delta_table_version": table.version})
    inputs = []
    for context, part in (("train", data.train), ("holdout", data.holdout)):
        dataset = Dataset(
            name=f"{table.name}@v{table.version}",
            digest=rows_digest(part, label)[:_DIGEST],
            source_type="delta_table",
            source=source,
            schema=_schema(part, data, label),
            profile=json.dumps({"num_rows": len(part.y), "num_elements": int(part.X.size)}),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return inputs


def rows_digest(part: Part, label: str) -> str:
    """sha256, hexadecimal, of features and labels in their order, each row by its identity."""
    rows = identities(part.X.assign(**{label: part.raw_label}))
    return hashlib.sha256(rows.tobytes()).hexdigest()


def _schema(part: Part, data: TrainingData, label: str) -> str:
    made = signature(part.X, data.labels)
    columns = made.inputs.to_dict()
    answer = made.outputs.to_dict()[-1]  # the label's type, or the score's in a regression
    return json.dumps({"mlflow_colspec": [*columns, {**answer, "name": label}]})
