"""One shape for the predictions of any model. Copied into each logged model, see ``flavor.py``.

It imports nothing of Headrace, so that a model loads with MLflow alone. A model that is loaded
runs the copy it was logged with: change ``VERSION`` with the behaviour, so that two copies can
live in one process.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

VERSION = 1
SETTINGS = "headrace.json"


class Scorer:
    """Predictions as a frame.

    A regression gives ``score``: the value. A classification gives ``score`` and ``label``. Of
    two classes the score is the positive class's probability, and the label is positive from
    the threshold on; of several classes it is the largest probability, and the label its class.

    Args:
        inner: what the model's own flavour loads; has ``predict``.
        task: ``binary``, ``multiclass`` or ``regression``.
        labels: the classes in the order of their codes: negative first.
        threshold: 0.5 if not given, or 0 for a model that gives margins.
    """

    def __init__(
        self, inner: Any, task: str, labels: list[Any] | None, threshold: float | None
    ) -> None:
        self.inner, self.task, self.labels = inner, task, labels
        unwrap = getattr(inner, "get_raw_model", None)
        self.raw = unwrap() if callable(unwrap) else inner
        self.threshold = _threshold(self.raw) if threshold is None else threshold

    def get_raw_model(self) -> Any:
        """The model that the training function returned."""
        return self.raw

    def predict(
        self,
        data: Any,
        params: dict[str, Any] | None = None,  # noqa: ARG002  # MLflow's call
    ) -> pd.DataFrame:
        """Score rows.

        Args:
            data: one row each, with the columns of the signature.
            params: not used; MLflow passes them.
        """
        import numpy as np
        import pandas as pd

        answer = self._answer(data)
        if isinstance(answer, pd.DataFrame) and "score" in answer:
            return self._named(answer)
        values = np.asarray(answer)
        if self.task == "multiclass":
            return self._several(values)
        # The last of two columns is the positive class's.
        score = (values[:, -1] if values.ndim == 2 else values).astype(np.float64)
        frame = pd.DataFrame({"score": score})
        if self.task == "binary":
            assert self.labels is not None  # noqa: S101  # written with every classifier
            decided = score >= self.threshold
            frame["label"] = np.where(decided, self.labels[1], self.labels[0])
        return frame

    def _answer(self, data: Any) -> Any:
        if self.task != "regression":
            for method in ("predict_proba", "decision_function"):
                found = getattr(self.raw, method, None)
                if callable(found):
                    return found(data)
        return self.inner.predict(data)

    def _named(self, answer: pd.DataFrame) -> pd.DataFrame:
        import numpy as np

        frame = answer.reset_index(drop=True)
        frame["score"] = frame["score"].astype(np.float64)
        if self.task == "regression":
            return frame[["score"]]
        if "label" not in frame:
            assert self.labels is not None  # noqa: S101  # written with every classifier
            decided = frame["score"].to_numpy() >= self.threshold
            frame["label"] = np.where(decided, self.labels[1], self.labels[0])
        return frame[["score", "label"]]

    def _several(self, values: np.ndarray) -> pd.DataFrame:
        import numpy as np
        import pandas as pd

        assert self.labels is not None  # noqa: S101  # written with every classifier
        names = np.asarray(self.labels)
        if values.ndim == 1:
            # A model that decides without probabilities: its decision is all there is.
            score, codes = np.ones(len(values)), values.astype(int)
        else:
            score, codes = values.max(axis=1).astype(np.float64), values.argmax(axis=1)
            # A model that saw some of the classes only has a column for each of those.
            known = getattr(self.raw, "classes_", None)
            codes = codes if known is None else np.asarray(known)[codes].astype(int)
        return pd.DataFrame({"score": score, "label": names[codes]})


def _threshold(raw: Any) -> float:
    for name in ("best_threshold_", "threshold"):
        tuned = getattr(raw, name, None)
        if isinstance(tuned, float | int) and hasattr(raw, "predict_proba"):
            return float(tuned)
    margins = hasattr(raw, "decision_function") and not hasattr(raw, "predict_proba")
    return 0.0 if margins else 0.5


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Scorer:
    """MLflow calls this with the path in the model's directory that its flavour named."""
    home = Path(path).resolve()
    while not (home / SETTINGS).is_file():
        if home == home.parent:
            raise FileNotFoundError(f"no {SETTINGS} at or above {path}")
        home = home.parent
    settings = json.loads((home / SETTINGS).read_text())
    load = importlib.import_module(settings["loader_module"])._load_pyfunc
    inner = load(path, model_config) if model_config else load(path)
    return Scorer(inner, settings["task"], settings["labels"], settings["threshold"])
