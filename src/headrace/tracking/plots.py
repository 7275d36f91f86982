"""Pictures of a run: what a person looks for first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from headrace.tracking.data import Task
    from headrace.tracking.importance import Importance

    Floats = NDArray[np.float64]

_SIZE: Final = (6.4, 4.4)
_DPI: Final = 110
_LINE: Final = "#1f5fa8"
_FAINT: Final = "#9aa5b1"
_FEATURES: Final = 20
_POINTS: Final = 5000


def draw(
    directory: Path,
    task: Task,
    y: pd.Series,
    predictions: pd.DataFrame,
    labels: tuple[object, ...] | None,
    importance: Importance,
    title: str,
) -> list[Path]:
    """Write the pictures of a run as PNG.

    Two classes: precision and recall, and calibration where scores are probabilities. Several
    classes: the confusion matrix. Regression: residuals, and predicted against true. Always:
    importance.

    Args:
        directory: where they go.
        task, y, predictions, labels: the hold-out, as in ``evaluation.measure``.
        importance: of the features.
        title: written above each.
    """
    import numpy as np

    score = np.asarray(predictions["score"], np.float64)
    truth = np.asarray(y, np.float64)
    made = [_importance(directory, importance, title)]
    if task == "binary":
        made.append(_precision_recall(directory, truth, score, title))
        if ((score >= 0) & (score <= 1)).all():
            made.append(_calibration(directory, truth, score, title))
    elif task == "multiclass":
        assert labels is not None  # noqa: S101  # known for every classification
        codes = {value: code for code, value in enumerate(labels)}
        label = np.asarray(predictions["label"].map(codes), np.float64)
        made.append(_confusion(directory, truth, label, [str(value) for value in labels], title))
    else:
        made.append(_residuals(directory, truth, score, title))
        made.append(_predicted(directory, truth, score, title))
    return made


def _canvas(title: str, x: str, y: str) -> tuple[Any, Axes]:
    # A Figure of its own: pyplot keeps global state and may open a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, directory: Path, name: str) -> Path:
    path = directory / name
    figure.savefig(path)
    return path


def _precision_recall(directory: Path, truth: Floats, score: Floats, title: str) -> Path:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(truth, score)
    area = average_precision_score(truth, score)
    figure, axes = _canvas(f"{title}: precision and recall on the hold-out", "recall", "precision")
    axes.step(recall, precision, where="post", color=_LINE, label=f"average precision {area:.3f}")
    rate = float(truth.mean())
    axes.axhline(rate, color=_FAINT, linestyle="--", label=f"positives {rate:.2%}")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="best", frameon=False)
    return _save(figure, directory, "precision_recall.png")


def _calibration(directory: Path, truth: Floats, score: Floats, title: str) -> Path:
    import numpy as np

    # Quantile bins: scores of a rare class crowd near zero, where equal widths see nothing.
    edges = np.unique(np.quantile(score, np.linspace(0, 1, 11)))
    place = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, max(len(edges) - 2, 0))
    bins = np.unique(place)
    predicted = [score[place == each].mean() for each in bins]
    observed = [truth[place == each].mean() for each in bins]
    top = max(*predicted, *observed, 0.01) * 1.05
    figure, axes = _canvas(
        f"{title}: calibration on the hold-out", "mean score of a tenth", "share of positives"
    )
    axes.plot([0, top], [0, top], color=_FAINT, linestyle="--", label="perfectly calibrated")
    axes.plot(predicted, observed, marker="o", color=_LINE, label="model")
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.legend(loc="best", frameon=False)
    return _save(figure, directory, "calibration.png")


def _confusion(directory: Path, truth: Floats, label: Floats, names: list[str], title: str) -> Path:
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(truth, label, labels=list(range(len(names))))
    figure, axes = _canvas(f"{title}: decisions on the hold-out", "predicted", "true")
    axes.grid(visible=False)
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            dark = count > counts.max() / 2
            axes.text(
                column,
                row,
                f"{count:,}",
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=8,
            )
    return _save(figure, directory, "confusion.png")


def _residuals(directory: Path, truth: Floats, score: Floats, title: str) -> Path:
    figure, axes = _canvas(
        f"{title}: residuals on the hold-out", "predicted", "true minus predicted"
    )
    shown = slice(None, None, max(1, len(truth) // _POINTS))
    axes.scatter(score[shown], (truth - score)[shown], s=8, alpha=0.35, color=_LINE, linewidths=0)
    axes.axhline(0, color=_FAINT, linestyle="--")
    return _save(figure, directory, "residuals.png")


def _predicted(directory: Path, truth: Floats, score: Floats, title: str) -> Path:
    figure, axes = _canvas(f"{title}: predicted against true", "true", "predicted")
    shown = slice(None, None, max(1, len(truth) // _POINTS))
    axes.scatter(truth[shown], score[shown], s=8, alpha=0.35, color=_LINE, linewidths=0)
    low, high = min(truth.min(), score.min()), max(truth.max(), score.max())
    axes.plot([low, high], [low, high], color=_FAINT, linestyle="--")
    return _save(figure, directory, "predicted.png")


def _importance(directory: Path, importance: Importance, title: str) -> Path:
    top = importance.table.head(_FEATURES).iloc[::-1]
    figure, axes = _canvas(f"{title}: importance", importance.unit, "")
    figure.set_size_inches(_SIZE[0], max(2.4, 0.9 + 0.24 * len(top)))
    spread = top.get("spread")
    axes.barh(top["feature"], top["importance"], xerr=spread, color=_LINE, ecolor=_FAINT)
    axes.grid(visible=False, axis="y")
    hidden = len(importance.table) - len(top)
    if hidden > 0:
        axes.set_title(
            f"{title}: importance of {len(top)} of {len(importance.table)} features", fontsize=10
        )
    return _save(figure, directory, "importance.png")
