"""A compiled model at work. Needs the standard library, numpy and onnxruntime only.

It imports nothing of Headrace: engines get this module by value, and a worker of theirs has the
kernel's directory and these two packages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

FORMAT: Final = 1
GRAPH: Final = "model.onnx"
MANIFEST: Final = "kernel.json"
UNSEEN: Final = -1.0
_FACTS: Final = frozenset({"digest", "columns", "task", "labels", "classes", "threshold", "link"})
# A sum of magnitudes under this proves at once that all values are finite and fit 32 bits.
_SMALL: Final = 1e38


class UnusableKernelError(Exception):
    """The directory holds no kernel that may be used: none, a refused one, or a damaged one."""

    def __init__(self, directory: str, why: str) -> None:
        super().__init__(f"{directory}: {why}")
        self.directory = directory
        self.why = why


class RefusedValueError(ValueError):
    """A value that the original model refuses too.

    Attributes:
        column: where it is.
        row: the first row that has it, from 0.
        why: the value, in words.
    """

    def __init__(self, column: str, row: int, why: str) -> None:
        super().__init__(f'column "{column}", row {row}: {why}')
        self.column = column
        self.row = row
        self.why = why


class Kernel:
    """Scores rows as the model's own ``pyfunc`` does. Threads may share one.

    Args:
        directory: holds ``model.onnx`` and ``kernel.json``.
        threads: of ONNX Runtime, for the rows of one call.

    Raises:
        UnusableKernelError: there is no proven kernel, or its graph is not the proven one.
    """

    def __init__(self, directory: Path | str, threads: int = 1) -> None:
        import numpy as np

        self.directory, self.threads = Path(directory), threads
        manifest = _manifest(self.directory)
        graph = _graph(self.directory, manifest)
        session = _session(self.directory, graph, threads)
        self.names: list[str] = [column["name"] for column in manifest["columns"]]
        self._pick = _picker(self.names)
        self._codes = [
            None
            if column["categories"] is None
            else {text: float(code) for code, text in enumerate(column["categories"])}
            for column in manifest["columns"]
        ]
        self._texts = [at for at, codes in enumerate(self._codes) if codes is not None]
        self._rules = [
            (at, column["name"], column["refuses"])
            for at, column in enumerate(manifest["columns"])
            if column["refuses"]
        ]
        self._text_rules = any(rules["unseen"] for _, _, rules in self._rules)
        self.task: str = manifest["task"]
        self._link: str | None = manifest["link"]
        self._names = None if manifest["labels"] is None else _labels(manifest["labels"])
        # The label of a single row, by whether its score reaches the threshold.
        self._either = [] if self._names is None else [_fixed(name) for name in self._names[:2]]
        self._classes = (
            None if manifest["classes"] is None else np.asarray(manifest["classes"], np.intp)
        )
        self._threshold: float = manifest["threshold"]
        self._input, self._outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]
        # What InferenceSession.run calls once it has checked the names, which are right here.
        self._run: Callable[..., list[Any]] = session._sess.run

    def __reduce__(self) -> tuple[type[Kernel], tuple[str, int]]:
        return Kernel, (str(self.directory), self.threads)

    def predict(
        self, columns: Mapping[str, npt.NDArray[Any]], rows: int
    ) -> dict[str, npt.NDArray[Any]]:
        """Score rows.

        Args:
            columns: at least the model's columns; one-dimensional arrays of numbers, bools, or
                objects (texts, with ``None`` where there is none).
            rows: how many; the length of each array.

        Returns:
            ``score`` in float64, and in a classification ``label``: what the model's frame has.

        Raises:
            RefusedValueError: a value that the original refuses.
            KeyError: a column is not there.
        """
        if rows != 1:
            return self.predict_matrix(self.matrix(columns, rows))
        import numpy as np

        values = self._values(columns)
        return self._one(np.array([values], np.float64), values)

    def _one(self, matrix: Matrix, values: list[Any]) -> dict[str, npt.NDArray[Any]]:
        """Score the only row; plain numbers are checked faster than arrays of so few."""
        # None, of a column of objects, is no number to add.
        if self._rules and (self._text_rules or not _moderate(values)):
            self._check(matrix)
        scores = self.scores(matrix)
        if self._classes is not None:
            return self._several(scores)
        score = scores[:, -1]
        if self._names is None:
            return {"score": score}
        return {"score": score, "label": self._either[score.item() >= self._threshold]}

    def _values(self, columns: Mapping[str, npt.NDArray[Any]]) -> list[Any]:
        """The only row: texts as their codes."""
        values = [array.item() for array in self._pick(columns)]
        for at in self._texts:
            values[at] = self._code(at, values[at])
        return values

    def matrix(self, columns: Mapping[str, npt.NDArray[Any]], rows: int) -> Matrix:
        """The columns as one float64 matrix, in the graph's order; texts become their codes."""
        import numpy as np

        if rows == 1:
            return np.array([self._values(columns)], np.float64)
        arrays = self._pick(columns)
        packed = np.empty((rows, len(arrays)), np.float64)
        for at, array in enumerate(arrays):
            packed[:, at] = array if self._codes[at] is None else self._coded(at, array)
        return packed

    def predict_matrix(self, matrix: Matrix) -> dict[str, npt.NDArray[Any]]:
        """Score rows of a C-ordered float64 matrix that ``matrix`` made, or that has its order."""
        if len(matrix) == 1:
            return self._one(matrix, matrix[0].tolist())
        import numpy as np

        if self._rules:
            with np.errstate(over="ignore"):
                if self._text_rules or not np.abs(matrix).sum() < _SMALL:
                    self._check(matrix)
        values = self.scores(matrix)
        if self._classes is not None:
            return self._several(values)
        score = values[:, -1]
        if self._names is None:
            return {"score": score}
        return {"score": score, "label": self._names[(score >= self._threshold).view(np.int8)]}

    def scores(self, matrix: Matrix) -> Matrix:
        """The model's scores, of values that nothing checks: a column a class, or one."""
        import numpy as np

        if not len(matrix):
            return np.empty((0, 1 if self._classes is None else len(self._classes)))
        return self.linked(self._run(self._outputs, {self._input: matrix}, None)[0])

    def linked(self, raw: Matrix) -> Matrix:
        """Scores of what the graph gives.

        The last function is numpy's: a row gets the same bits from it alone and among others,
        which ONNX Runtime does not promise.
        """
        import numpy as np

        if self._link is None:
            return raw
        with np.errstate(over="ignore", invalid="ignore"):
            if self._link == "sigmoid":
                return 1.0 / (1.0 + np.exp(-raw))
            if self._link == "exp":
                return np.exp(raw)
            powers = np.exp(raw - raw.max(axis=1, keepdims=True))
            shares: Matrix = powers / powers.sum(axis=1, keepdims=True)
            return shares

    def _several(self, values: Matrix) -> dict[str, npt.NDArray[Any]]:
        assert self._names is not None  # noqa: S101  # written with every classification
        assert self._classes is not None  # noqa: S101
        codes = self._classes[values.argmax(axis=1)]
        return {"score": values.max(axis=1), "label": self._names[codes]}

    def _code(self, at: int, value: Any) -> float:
        codes = self._codes[at]
        assert codes is not None  # noqa: S101  # asked of text columns only
        if isinstance(value, str):
            return codes.get(value, UNSEEN)
        if _is_null(value):
            return float("nan")
        raise RefusedValueError(self.names[at], 0, f"{value!r} is no text")

    def _coded(self, at: int, array: npt.NDArray[Any]) -> list[float]:
        codes = self._codes[at]
        assert codes is not None  # noqa: S101  # asked of text columns only
        get = codes.get
        found = [get(value) for value in array.tolist()]
        if None in found:
            for row, (value, code) in enumerate(zip(array.tolist(), found, strict=True)):
                if code is None:
                    try:
                        found[row] = self._code(at, value)
                    except RefusedValueError as error:
                        raise RefusedValueError(error.column, row, error.why) from None
        return found  # type: ignore[return-value]  # no None is left

    def _check(self, matrix: Matrix) -> None:
        import numpy as np

        for at, name, refuses in self._rules:
            column = matrix[:, at]
            for kind, found in (
                ("null", np.isnan(column)),
                ("limit", np.abs(column) > (refuses["limit"] or np.inf)),
                ("unseen", column == UNSEEN),
            ):
                if refuses[kind] and found.any():
                    row = int(found.argmax())
                    raise RefusedValueError(name, row, _words(kind, column[row]))


def _moderate(values: list[Any]) -> bool:
    try:
        return bool(sum(map(abs, values)) < _SMALL)
    except TypeError:
        return False


def _fixed(label: Any) -> npt.NDArray[Any]:
    """A label as an array that many answers share."""
    import numpy as np

    array = np.array([label], dtype=object if isinstance(label, str) else None)
    array.flags.writeable = False
    return array


def _words(kind: str, value: float) -> str:
    if kind == "null":
        return "the model takes no nulls there"
    if kind == "unseen":
        return "the model was not trained on this text and takes no other"
    return f"{value} is too large for the model"


def _is_null(value: Any) -> bool:
    """``None``, NaN, NaT or pandas' NA, whose comparisons are not bools."""
    return value is None or (value != value) is not False


def _manifest(directory: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise UnusableKernelError(str(directory), f"there is no {MANIFEST}") from None
    except ValueError as error:
        raise UnusableKernelError(str(directory), f"{MANIFEST} is no JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UnusableKernelError(str(directory), f"{MANIFEST} is of another format")
    if manifest.get("status") != "proven":
        raise UnusableKernelError(str(directory), f"refused: {manifest.get('reason')}")
    missing = sorted(_FACTS - manifest.keys())
    if missing:
        raise UnusableKernelError(str(directory), f"{MANIFEST} lacks {', '.join(missing)}")
    return manifest


def _graph(directory: Path, manifest: dict[str, Any]) -> bytes:
    try:
        graph = (directory / GRAPH).read_bytes()
    except FileNotFoundError:
        raise UnusableKernelError(str(directory), f"there is no {GRAPH}") from None
    if hashlib.sha256(graph).hexdigest() != manifest["digest"]:
        raise UnusableKernelError(str(directory), f"{GRAPH} is not the graph that was proven")
    return graph


def _session(directory: Path, graph: bytes, threads: int) -> Any:
    try:
        return session_of(graph, threads)
    except Exception as error:
        # ONNX Runtime's errors have no base of their own; an older one knows fewer operators.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnusableKernelError(
            str(directory), f"this ONNX Runtime does not load it: {lines[0][:300]}"
        ) from error


def session_of(graph: bytes, threads: int) -> Any:
    """An ONNX Runtime session on the CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # A thread that spins takes the core that another request needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _picker(names: list[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda columns: (columns[names[0]],)
    return itemgetter(*names)


def _labels(labels: list[Any]) -> npt.NDArray[Any]:
    import numpy as np

    return np.array(labels, dtype=object if isinstance(labels[0], str) else None)
