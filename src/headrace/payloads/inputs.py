"""Typed inputs of a model: columns of numpy, whatever protocol they came in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.payloads.arrays import arrow_array

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class Views(Mapping[str | int, "np.ndarray"]):
    """The columns of a matrix by name, each made when it is asked for."""

    __slots__ = ("_matrix", "_names")

    def __init__(self, names: Sequence[str | int], matrix: np.ndarray) -> None:
        self._names = names
        self._matrix = matrix

    def __getitem__(self, name: str | int) -> np.ndarray:
        try:
            at = self._names.index(name)
        except ValueError:
            raise KeyError(name) from None
        column: np.ndarray = self._matrix[:, at]
        return column

    def __iter__(self) -> Iterator[str | int]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(slots=True)
class Inputs:
    """What a model is given.

    Attributes:
        rows: how many.
        columns: one array of length ``rows`` a column: float64, float32, int64, int32, bool,
            datetime64[ns], or object for text, bytes and columns with nulls. Named by position
            where the signature has no names. Empty for a tensor.
        tensor: an array, or arrays by name, where the signature is one of tensors.
        matrix: the columns as one array of float64, ``rows`` by columns, where they came as one;
            ``columns`` are views of it.
    """

    rows: int
    columns: Mapping[str | int, np.ndarray]
    tensor: Any = None
    matrix: np.ndarray | None = None

    def frame(self) -> pd.DataFrame:
        """The columns as a DataFrame with a range index."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns), index=range(self.rows))

    def arrow(self) -> pa.Table:
        """The columns as an Arrow table; positional ones are named ``"0"``, ``"1"`` and so on.

        A tensor is a column too: of its values, or of lists of one length where it has more
        dimensions than the one of rows.
        """
        import pyarrow as pa

        if self.tensor is not None:
            named = self.tensor if isinstance(self.tensor, dict) else {"0": self.tensor}
            return pa.table({name: _tensor(array) for name, array in named.items()})
        arrays = [_array(column) for column in self.columns.values()]
        return pa.table(arrays, names=[str(name) for name in self.columns])


def _array(column: np.ndarray) -> pa.Array:
    import pyarrow as pa

    array = arrow_array(column)
    # Lists, objects and mixed values are left to pyarrow, which imports pandas for it.
    return pa.array(column, from_pandas=True) if array is None else array


def _tensor(array: np.ndarray) -> pa.Array:
    import pyarrow as pa

    column = _array(array.reshape(-1))
    # Not Arrow's type of tensors, which has none of truth values or texts.
    for length in reversed(array.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, length)
    return column
