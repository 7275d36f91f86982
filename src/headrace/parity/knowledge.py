"""What is known of libraries whose versions differ between training and serving.

Each entry names its source. What is not listed is not known, and counts as a difference all the
same: the lock is what was trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Known:
    """What a difference in one library's version means for a saved model.

    Attributes:
        applies: takes the trained and the served version.
        text: what happens.
        source: where that is said.
    """

    applies: Callable[[str, str], bool]
    text: str
    source: str


def _parts(version: str) -> list[str]:
    return version.replace("+", ".").split(".")


def _other_major(trained: str, served: str) -> bool:
    return _parts(trained)[0] != _parts(served)[0]


def _other_minor(trained: str, served: str) -> bool:
    return _parts(trained)[:2] != _parts(served)[:2]


def _other_patch(trained: str, served: str) -> bool:
    return trained != served and not _other_minor(trained, served)


def _older(trained: str, served: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(served) < Version(trained)
    except InvalidVersion:
        return False


def _any(trained: str, served: str) -> bool:
    return trained != served


_SKLEARN: Final = (
    "https://scikit-learn.org/stable/model_persistence.html#security-maintainability-limitations"
)
_XGBOOST: Final = Known(
    _any,
    "a model in XGBoost's own JSON or UBJSON crosses versions; a pickled one is a memory snapshot "
    "and does not",
    "https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html",
)

#: By distribution; the first entry that applies counts. ``python`` is the interpreter.
KNOWN: Final[dict[str, tuple[Known, ...]]] = {
    "python": (
        Known(
            _other_minor,
            "cloudpickle writes bytecode, which another minor version of Python does not run",
            "https://github.com/cloudpipe/cloudpickle#readme",
        ),
    ),
    "scikit-learn": (
        Known(
            _other_minor,
            "saved scikit-learn models do not cross minor versions, neither pickled nor as skops: "
            "they fail to load, or load and answer something else",
            _SKLEARN,
        ),
        Known(_other_patch, "loading across patch releases is not supported either", _SKLEARN),
    ),
    "numpy": (
        Known(
            _other_major,
            "arrays pickled by NumPy 2 name the module numpy._core, which NumPy 1 lacks or has in "
            "part only",
            "https://github.com/numpy/numpy/issues/28340",
        ),
    ),
    "pandas": (
        Known(
            _older,
            "pandas reads pickles of older versions, not of newer ones",
            "https://pandas.pydata.org/docs/reference/api/pandas.read_pickle.html",
        ),
    ),
    "cloudpickle": (
        Known(
            _any,
            "cloudpickle promises to read only what the same version wrote",
            "https://github.com/cloudpipe/cloudpickle#readme",
        ),
    ),
    "lightgbm": (
        Known(
            _other_major,
            "LightGBM's text format changed between major versions: 4.0 did not load some models "
            "of 3.3",
            "https://github.com/microsoft/LightGBM/issues/6082",
        ),
        Known(
            _any,
            "LightGBM's text format crosses versions of one major; a pickled estimator need not",
            "https://github.com/microsoft/LightGBM/issues/4407",
        ),
    ),
    "xgboost": (_XGBOOST,),
    "xgboost-cpu": (_XGBOOST,),
    "onnxruntime": (
        Known(
            _older,
            "a graph can need operators that an older ONNX Runtime does not have",
            "https://onnxruntime.ai/docs/reference/compatibility.html",
        ),
        Known(
            _any,
            "newer versions of ONNX Runtime run all graphs that older ones ran",
            "https://onnxruntime.ai/docs/reference/compatibility.html",
        ),
    ),
}


def known_of(distribution: str, trained: str, served: str) -> Known | None:
    """What is known of this difference; ``None``: nothing."""
    found = KNOWN.get(distribution, ())
    return next((each for each in found if each.applies(trained, served)), None)
