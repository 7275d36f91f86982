"""Rows at the edges of a model: where a graph and its original are likely to part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from headrace.kernels.original import Input

# The largest float64 that float32 holds without overflow: half a step under the next power.
FLOAT32_LIMIT: Final = 3.4028235677973362e38
FLOAT32_MOST: Final = 3.4028234663852886e38
FLOAT64_MOST: Final = 1.7976931348623157e308
_DTYPES: Final = {
    "double": "float64", "float": "float32", "long": "int64", "integer": "int32",
    "boolean": "bool", "string": "object",
}  # fmt: skip
_EXTREMES: Final = (
    0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-45, 1e-38, 1e-35, -1e-35, 1e-30, 16777217.0, 1e9,
    -1e9, 1e18, -1e18, 1e30, -1e30, 3.4e38, -3.4e38, FLOAT32_LIMIT, 1e39, -1e39, 1e300, -1e300,
)  # fmt: skip
_SPLITS: Final = 2000
NEVER_SEEN: Final = "\x1fnever seen"


@dataclass(frozen=True)
class Edge:
    """Values to put into one column, each into a row of its own."""

    column: Input
    values: list[Any]


def typed(frame: pd.DataFrame, inputs: tuple[Input, ...]) -> pd.DataFrame:
    """The model's columns, in the types of its signature.

    Raises:
        KeyError: a column is not there.
        ValueError: its values do not fit the type.
    """
    import pandas as pd

    made: dict[str, Any] = {}
    for column in inputs:
        found = frame[column.name]
        if column.is_text:
            held = found.to_numpy(dtype=object, copy=True)
            held[found.isna().to_numpy()] = None
            made[column.name] = held
        else:
            made[column.name] = found.to_numpy(dtype=_DTYPES[column.kind])
    return pd.DataFrame(made).reset_index(drop=True)


def sampled(
    inputs: tuple[Input, ...],
    categories: list[list[str] | None],
    splits: dict[int, list[float]],
    rows: int,
    seed: int,
) -> pd.DataFrame:
    """Plausible rows of a model of which none are at hand."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for at, column in enumerate(inputs):
        if column.is_text:
            texts = categories[at] or ["text"]
            made[column.name] = [texts[i] for i in rng.integers(len(texts), size=rows)]
        elif column.kind == "boolean":
            made[column.name] = rng.random(rows) < 0.5
        else:
            finite = [split for split in splits.get(at, ()) if np.isfinite(split)]
            center = float(np.mean(finite)) if finite else 0.0
            spread = float(np.std(finite)) + 1.0 if finite else 3.0
            values = rng.normal(center, spread, rows)
            whole = column.kind in ("long", "integer")
            made[column.name] = np.clip(np.round(values), -(2**31), 2**31 - 1) if whole else values
    return typed(pd.DataFrame(made), inputs)


def put(frame: pd.DataFrame, edges: list[Edge], seed: int) -> pd.DataFrame:
    """Rows of ``frame``, taken by chance, with one edge value each."""
    import numpy as np

    places = [(edge.column, value) for edge in edges for value in edge.values]
    rng = np.random.default_rng(seed)
    rows = frame.iloc[rng.integers(len(frame), size=len(places))].reset_index(drop=True)
    for name in {column.name for column, _ in places}:
        held = rows[name].to_numpy(copy=True)
        for row, (column, value) in enumerate(places):
            if column.name == name:
                held[row] = value
        rows[name] = held
    return rows


def nulls(inputs: tuple[Input, ...]) -> list[Edge]:
    """No value, in each column that may have none."""
    return [
        Edge(column, [None if column.is_text else float("nan")])
        for column in inputs
        if column.can_be_null
    ]


def infinities(inputs: tuple[Input, ...]) -> list[Edge]:
    """Both infinities, in each column of floats."""
    both = [float("inf"), float("-inf")]
    return [Edge(column, both) for column in inputs if column.kind in ("double", "float")]


def extremes(inputs: tuple[Input, ...]) -> list[Edge]:
    """Zeros of both signs, the smallest and the largest numbers, and those round 32 bits."""
    return [
        Edge(column, _fitted(column, list(_EXTREMES)))
        for column in inputs
        if not column.is_text and column.kind != "boolean"
    ]


def texts(inputs: tuple[Input, ...], categories: list[list[str] | None]) -> list[Edge]:
    """Each known text (of many, some), the empty one, and texts that are nearly known."""
    made = []
    for column, known in zip(inputs, categories, strict=True):
        if column.is_text:
            some = (known or [])[:200]
            near = [change for text in some[:3] for change in (text + " ", text.upper())]
            made.append(Edge(column, [*some, "", " ", NEVER_SEEN, *near]))
    return made


def steps(inputs: tuple[Input, ...], splits: dict[int, list[float]], seed: int) -> list[Edge]:
    """Each threshold (of many, some), and one step either side of it in 64 and in 32 bits."""
    import numpy as np

    pairs = [(at, split) for at, found in splits.items() for split in sorted(set(found))]
    pairs = [(at, split) for at, split in pairs if np.isfinite(split)]
    if len(pairs) > _SPLITS:
        chosen = np.random.default_rng(seed).choice(len(pairs), _SPLITS, replace=False)
        pairs = [pairs[index] for index in chosen]
    return [Edge(inputs[at], _fitted(inputs[at], round_about(split))) for at, split in pairs]


def round_about(value: float) -> list[float]:
    """A value, its neighbours in float64, and those in float32."""
    import numpy as np

    with np.errstate(over="ignore"):
        short = np.float32(value)
    wide = [value, float(np.nextafter(value, -np.inf)), float(np.nextafter(value, np.inf))]
    narrow = [
        short,
        np.nextafter(short, np.float32(-np.inf)),
        np.nextafter(short, np.float32("inf")),
    ]
    # Half way between two float32: where rounding to 32 bits decides.
    middle = (float(narrow[0]) + float(narrow[2])) / 2
    halves = [middle, float(np.nextafter(middle, -np.inf)), float(np.nextafter(middle, np.inf))]
    return [*wide, *(float(item) for item in narrow), *halves]


def _fitted(column: Input, values: list[float]) -> list[Any]:
    """Values that the column's type can hold."""
    import numpy as np

    if column.kind == "boolean":
        return [False, True]
    if column.kind in ("long", "integer"):
        # 2^53 and beyond, float64 has no longer every integer.
        bound = 2**31 - 1 if column.kind == "integer" else 2**53
        whole = {int(np.clip(np.floor(v), -bound, bound)) for v in values if np.isfinite(v)}
        return sorted(whole | {min(item + 1, bound) for item in whole})
    if column.kind == "float":
        with np.errstate(over="ignore"):
            return [float(np.float32(value)) for value in values]
    return values


def matrix_like(frame: pd.DataFrame) -> dict[str, npt.NDArray[np.generic]]:
    """The columns as the runtime takes them."""
    return {str(name): frame[name].to_numpy() for name in frame.columns}
