"""How much each feature matters: by the model's own account, else by permutation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from headrace.tracking.evaluation import PRIMARY, measure

if TYPE_CHECKING:
    import pandas as pd

    from headrace.tracking.data import Part, Task

_MOST_ROWS: Final = 2000
_FEWEST_ROWS: Final = 100
_REPEATS: Final = 3
_PREDICTED: Final = 100_000  # rows in all: a second or two with gradient boosting
_LOSSES: Final = {"rmse"}


@dataclass(frozen=True)
class Importance:
    """Importance by feature.

    Attributes:
        table: columns ``feature``, ``importance`` and, for permutations, ``spread`` (standard
            deviation over the repeats); most important first.
        method: the model's own, or permutation on the hold-out.
        unit: what one unit of importance is.
    """

    table: pd.DataFrame
    method: Literal["model", "permutation"]
    unit: str


def importance(
    model: Any,
    predict: Callable[[pd.DataFrame], pd.DataFrame],
    part: Part,
    task: Task,
    labels: tuple[object, ...] | None,
    seed: int,
) -> Importance:
    """Importance of each feature.

    Args:
        model: what the training function returned.
        predict: the logged model's predictions.
        part: the hold-out, for permutations (Breiman 2001): 3 repeats of at most 2000 rows, and of
            fewer, down to 100, where there are many features.
        task, labels: as in ``measure``.
        seed: of the permutations.
    """
    import pandas as pd

    names = list(part.X.columns)
    own = _own(model, names)
    if own is not None:
        table = pd.DataFrame({"feature": list(own), "importance": list(own.values())})
        return Importance(_sorted(table), "model", "the model's own importance")
    table = _permutation(predict, part, task, labels, seed)
    change = "added" if PRIMARY[task] in _LOSSES else "lost"
    return Importance(
        _sorted(table), "permutation", f"{PRIMARY[task]} {change} when the column is shuffled"
    )


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["importance", "feature"], ascending=[False, True], ignore_index=True)


def _own(model: Any, names: list[str]) -> dict[str, float] | None:
    kind = type(model)
    if kind.__name__ == "Booster" and kind.__module__.startswith("lightgbm"):
        gains = model.feature_importance(importance_type="gain")
        return dict(zip(model.feature_name(), map(float, gains), strict=True))
    if kind.__name__ == "Booster" and kind.__module__.startswith("xgboost"):
        scores = model.get_score(importance_type="gain")
        return {name: float(scores.get(name, 0.0)) for name in names}
    steps = getattr(model, "steps", None)
    final = steps[-1][1] if steps else model
    values = getattr(final, "feature_importances_", None)
    if values is None:
        return None
    if steps and len(steps) > 1:
        try:
            names = [str(name) for name in model[:-1].get_feature_names_out()]
        except (AttributeError, ValueError):
            # A step that does not name what it makes: the account cannot be read.
            return None
    if len(values) != len(names):
        return None
    return dict(zip(names, map(float, values), strict=True))


def _permutation(
    predict: Callable[[pd.DataFrame], pd.DataFrame],
    part: Part,
    task: Task,
    labels: tuple[object, ...] | None,
    seed: int,
) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    chosen = np.arange(len(part.y))
    most = rows_to_permute(part.X.shape[1])
    if len(chosen) > most:
        chosen = np.sort(_stratified(part.y.to_numpy(), task, most, rng))
    rows = part.X.iloc[chosen].reset_index(drop=True)
    truth = part.y.iloc[chosen].reset_index(drop=True)
    metric = PRIMARY[task]
    sign = -1 if metric in _LOSSES else 1

    def value(frame: pd.DataFrame) -> float:
        return sign * measure(task, truth, predict(frame), labels)[metric]

    whole = value(rows)
    records = []
    for name in rows.columns:
        lost = []
        for _ in range(_REPEATS):
            shuffled = rows.copy()
            order = rng.permutation(len(rows))
            shuffled[name] = rows[name].iloc[order].reset_index(drop=True)
            lost.append(whole - value(shuffled))
        records.append((name, float(np.mean(lost)), float(np.std(lost))))
    return pd.DataFrame(records, columns=["feature", "importance", "spread"])


def rows_to_permute(features: int) -> int:
    """How many rows are permuted, so that what is predicted does not grow with the features."""
    return min(_MOST_ROWS, max(_FEWEST_ROWS, _PREDICTED // (_REPEATS * max(features, 1))))


def _stratified(y: Any, task: Task, rows: int, rng: Any) -> Any:
    """Rows to permute; a rare class keeps enough of its rows to be measured."""
    import numpy as np

    if task == "regression":
        return rng.choice(len(y), rows, replace=False)
    classes = np.unique(y)
    most = rows // len(classes)
    parts = []
    for value in classes:
        members = np.flatnonzero(y == value)
        share = max(round(rows * len(members) / len(y)), min(len(members), most // 4))
        parts.append(rng.choice(members, share, replace=False))
    return np.concatenate(parts)
