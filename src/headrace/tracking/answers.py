"""Recording what the model in the training's own process answers on some rows of the hold-out.

The record lies in the model's directory and is written with it, so that whatever scores the
model later, elsewhere and in another environment, can be held against the process that trained
it. ``headrace.parity`` reads it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels.proof import distances
from headrace.tracking.errors import UnsupportedModelError
from headrace.tracking.evaluation import predicted, scores
from headrace.tracking.scorer import Scorer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from mlflow.models import ModelSignature
    from numpy.typing import NDArray

DIRECTORY: Final = "parity"
ROWS: Final = "rows.parquet"
ANSWERS: Final = "answers.parquet"
FACTS: Final = "parity.json"
FORMAT: Final = 1
MOST: Final = 256
#: Of these, at most so many are there for an edge of a column.
_EDGES: Final = 192
_LIBRARIES: Final = (
    "cloudpickle", "lightgbm", "mlflow", "numpy", "onnxruntime", "pandas", "pyarrow",
    "scikit-learn", "scipy", "skops", "xgboost", "xgboost-cpu",
)  # fmt: skip
_ARROW: Final = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
    "string": "string",
    "datetime": "timestamp[us]",
}


@dataclass(frozen=True)
class Sample:
    """Rows of the hold-out to record.

    Attributes:
        rows: features, as the training function's model takes them.
        seed: with which they were drawn.
        of: how many rows the hold-out has.
    """

    rows: pd.DataFrame
    seed: int
    of: int


@dataclass(frozen=True)
class Recorder:
    """Writes the record of one model into its directory.

    Attributes:
        model: what the training function returned.
        sample: the rows.
        name, at: of the model, and where its training function is, for messages.
    """

    model: object
    sample: Sample
    name: str
    at: str

    def write(
        self, home: Path, flavor: str, settings: dict[str, Any], signature: ModelSignature
    ) -> None:
        """Answer and write.

        Args:
            home: the model's directory, complete but for this.
            flavor: see ``flavor.flavor_of``.
            settings: task, labels and threshold.
            signature: of the model.

        Raises:
            ModelCannotPredictError: the model does not answer with a score a row.
            UnsupportedModelError: it does not load again.
        """
        scorer, source = self._scorer(home, flavor, settings, signature)
        rows = self.sample.rows
        answer = predicted(scorer.predict, rows, self.name, self.at)
        found = scores(answer["score"], len(rows), self.name, self.at)
        margins = predicted(lambda frame: _margins(scorer, frame, found), rows, self.name, self.at)
        labels = answer["label"].tolist() if "label" in answer else None
        directory = home / DIRECTORY
        directory.mkdir()
        digests = {
            ROWS: _write(directory / ROWS, _typed(rows, signature)),
            ANSWERS: _write(directory / ANSWERS, _answers(found, labels, margins)),
        }
        facts = {
            "format": FORMAT,
            "rows": len(rows),
            "holdout_rows": self.sample.of,
            "seed": self.sample.seed,
            "answered_by": source,
            "digests": digests,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "libraries": _versions(),
        }
        (directory / FACTS).write_text(json.dumps(facts, indent=1) + "\n")

    def _scorer(
        self, home: Path, flavor: str, settings: dict[str, Any], signature: ModelSignature
    ) -> tuple[Scorer, str]:
        """The fitted model itself where it can answer as it is, else what was saved, loaded here."""
        task, labels, threshold = settings["task"], settings["labels"], settings["threshold"]
        inner = _inner(self.model, flavor, signature)
        if inner is not None:
            return Scorer(inner, task, labels, threshold), "the fitted model"
        import mlflow.pyfunc

        try:
            loaded = mlflow.pyfunc.load_model(str(home))._model_impl
        except Exception as error:
            raise does_not_load(self.name, self.at, error) from error
        return Scorer(loaded.inner, task, labels, threshold), "the saved model, loaded again"


def sample(rows: pd.DataFrame, seed: int, most: int = MOST) -> Sample:
    """Rows to record: those with a null, the smallest or the largest value of a column, and others
    by chance, in the order of the hold-out.

    The same rows and the same seed give the same sample.

    Args:
        rows: features of the hold-out.
        seed: of the chance.
        most: how many.
    """
    import numpy as np

    if len(rows) <= most:
        return Sample(rows.reset_index(drop=True), seed, len(rows))
    chosen = list(dict.fromkeys(_edges(rows)))[: min(_EDGES, most)]
    # So many that enough are left without those that are chosen already.
    drawn = np.random.default_rng(seed).permutation(len(rows))[: most + len(chosen)].tolist()
    places = sorted(list(dict.fromkeys([*chosen, *drawn]))[:most])
    return Sample(rows.iloc[places].reset_index(drop=True), seed, len(rows))


def does_not_load(name: str, at: str, error: Exception) -> UnsupportedModelError:
    """Whatever the model's classes do when they are loaded, it could not be used either."""
    why = f"it does not load again: {type(error).__name__}: {str(error).strip()[:300]}"
    return UnsupportedModelError(name, at, why)


def _edges(rows: pd.DataFrame) -> list[int]:
    """The first row with a null in each column, then those of the smallest and largest values."""
    import numpy as np

    missing: list[int] = []
    extreme: list[int] = []
    for name in rows.columns:
        column = rows[name]
        null = column.isna().to_numpy()
        if null.any():
            missing.append(int(null.argmax()))
        if not null.all():
            there = np.flatnonzero(~null)
            order = column[~null].argsort(kind="stable").to_numpy()
            extreme += [int(there[order[0]]), int(there[order[-1]])]
    return [*missing, *extreme]


def _inner(model: object, flavor: str, signature: ModelSignature) -> Any:
    """The model behind the interface that MLflow's flavour gives it; ``None``: it must be loaded."""
    if flavor == "lightgbm":
        from mlflow.lightgbm import _LGBModelWrapper

        return _LGBModelWrapper(model)
    if flavor == "xgboost":
        from mlflow.xgboost import _XGBModelWrapper

        return _XGBModelWrapper(model)
    if flavor == "pyfunc":
        from mlflow.pyfunc.model import PythonModel, _PythonModelPyfuncWrapper

        if type(model).load_context is not PythonModel.load_context:  # type: ignore[attr-defined]
            return None  # it is complete only once it is loaded
        return _PythonModelPyfuncWrapper(model, None, signature)
    return model


def _margins(scorer: Scorer, rows: pd.DataFrame, found: NDArray[np.float64]) -> Any:
    """How far each row is from another label: from the threshold, or the second best class.

    ``None`` where the model decides without telling.
    """
    import numpy as np

    if scorer.labels is None:
        return None
    if scorer.task == "binary":
        return distances(np.full_like(found, scorer.threshold), found)
    values = np.asarray(scorer._answer(rows))
    if values.ndim != 2 or values.shape[1] < 2:
        return None
    best = np.sort(values.astype(np.float64), axis=1)
    return best[:, -1] - best[:, -2]


def _typed(rows: pd.DataFrame, signature: ModelSignature) -> pa.Table:
    """The rows in the types of the signature; NaN and NaT are null, as a table has them."""
    import pyarrow as pa

    arrays, fields = [], []
    for column in signature.inputs.inputs:
        kind = _ARROW[column.type.name]
        parsed = pa.timestamp("us") if kind == "timestamp[us]" else pa.type_for_alias(kind)
        arrays.append(pa.array(rows[column.name], parsed, from_pandas=True))
        fields.append(pa.field(column.name, parsed))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _answers(
    found: NDArray[np.float64], labels: list[Any] | None, margins: NDArray[np.float64] | None
) -> pa.Table:
    import pyarrow as pa

    columns = {"score": pa.array(found)}
    if labels is not None:
        columns["label"] = pa.array(labels)
    if margins is not None:
        columns["margin"] = pa.array(margins)
    return pa.table(columns)


def _write(path: Path, table: pa.Table) -> str:
    """The file's sha256."""
    import pyarrow.parquet as pq

    pq.write_table(table, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
