"""Typed inputs of a model: columns of numpy, whatever protocol they came in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

        A tensor is a column too: of numbers, or of tensors of one shape where it has more
        dimensions than the one of rows.
        """
        import pyarrow as pa

        if self.tensor is not None:
            named = self.tensor if isinstance(self.tensor, dict) else {"0": self.tensor}
            return pa.table({name: _tensor(array) for name, array in named.items()})
        arrays = [pa.array(column, from_pandas=True) for column in self.columns.values()]
        return pa.table(arrays, names=[str(name) for name in self.columns])


def _tensor(array: np.ndarray) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))
