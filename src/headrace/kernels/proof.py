"""The same rows through original and kernel, before the kernel may be used."""

from __future__ import annotations

import hashlib
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.kernels import edges, narrow
from headrace.kernels.report import Check, Layout, Report, manifest_of
from headrace.kernels.runtime import GRAPH, MANIFEST, Kernel, RefusedValueError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from headrace.kernels.convert import Compiled
    from headrace.kernels.original import Input, Original

ROWS: Final = 20_000
_SEED: Final = 20
_PAIRS: Final = 64
_SECONDS: Final = 1.0


def prove(
    original: Original, compiled: Compiled, rows: pd.DataFrame | None
) -> tuple[Report, Layout]:
    """Compare, and find what the original refuses.

    Args:
        original: the model.
        compiled: its graph.
        rows: rows to compare on besides generated ones; the first ``ROWS`` are used.

    Returns:
        A report without the graph's digest, and the layout with what the kernel refuses.
    """
    from threadpoolctl import threadpool_limits

    # Hundreds of small batches: threads would cost more than they give.
    with tempfile.TemporaryDirectory() as scratch, threadpool_limits(1):
        return _Trial(original, compiled, Path(scratch)).run(rows)


@dataclass
class _Trial:
    """One proof. The kernel under proof is laid out in ``home``, as a stored one is."""

    original: Original
    compiled: Compiled
    home: Path

    def __post_init__(self) -> None:
        self.layout = self.compiled.layout
        self.inputs = self.original.inputs
        self.categories = [column["categories"] for column in self.layout.columns]
        self.checks: list[Check] = []
        self.notes = list(self.compiled.notes)
        self.most = ROWS

    def run(self, given: pd.DataFrame | None) -> tuple[Report, Layout]:
        base = self._accepted(self._base(given))
        if base is None:
            return self._verdict("the original scores none of the rows"), self.layout
        self._find_refusals(base)
        kernel = self._kernel()
        splits = self.compiled.splits
        self._compare(kernel, "rows", self._base(given))
        for name, found in (
            ("nulls", edges.nulls(self.inputs)),
            ("infinities", edges.infinities(self.inputs)),
            ("extreme values", edges.extremes(self.inputs)),
            ("texts", edges.texts(self.inputs, self.categories)),
            ("steps round thresholds", edges.steps(self.inputs, splits, _SEED)),
            ("steps found by halving", self._halved(kernel, base)),
        ):
            if found:
                self._compare(kernel, name, edges.put(base, found, _SEED))
        self._no_values(kernel, base)
        self._one_by_one(kernel, base)
        self._empty(kernel, base)
        self._narrowed(kernel, base)
        bad = next((check for check in self.checks if not check.agrees), None)
        return self._verdict(None if bad is None else _disagreement(bad)), self.layout

    def _verdict(self, reason: str | None) -> Report:
        return Report(
            status="proven" if reason is None else "refused",
            reason=reason,
            precision="float64",
            tolerance=self.compiled.tolerance,
            margin=self.compiled.tolerance,
            checks=tuple(self.checks),
            notes=tuple(self.notes),
        )

    def _base(self, given: pd.DataFrame | None) -> pd.DataFrame:
        if given is not None and len(given):
            return edges.typed(given.head(ROWS), self.inputs)
        return edges.sampled(self.inputs, self.categories, self.compiled.splits, 500, _SEED)

    def _accepted(self, base: pd.DataFrame) -> pd.DataFrame | None:
        """Some rows that the original scores, to put edge values into."""
        some = base.head(500)
        started = time.perf_counter()
        if not self._refusal(some):
            # A slow original is asked for fewer rows: about a second a check.
            a_row = (time.perf_counter() - started) / len(some)
            self.most = min(ROWS, max(500, int(_SECONDS / a_row)))
            return some
        kept = [row for row in range(min(len(some), 50)) if not self._refusal(some.iloc[[row]])]
        return some.iloc[kept] if kept else None

    def _refusal(self, frame: pd.DataFrame) -> str | None:
        """What the original raises, if it does."""
        try:
            self.original.predict(frame)
        except Exception as error:  # noqa: BLE001  # foreign code; the reason is kept
            return f"{type(error).__name__}: {str(error).strip()[:200]}"
        return None

    def _find_refusals(self, base: pd.DataFrame) -> None:
        """Ask the original for each kind of value; all columns at once where it takes them."""
        columns = [{**column} for column in self.layout.columns]
        rules: list[dict[str, Any]] = [
            {"null": False, "limit": None, "unseen": False} for _ in columns
        ]
        for at in self._refusing(base, edges.nulls(self.inputs)):
            rules[at]["null"] = True
        for at in self._refusing(base, edges.infinities(self.inputs)):
            rules[at]["limit"] = self._limit(base, self.inputs[at])
        never = [edges.Edge(c, [edges.NEVER_SEEN]) for c in self.inputs if c.is_text]
        for at in self._refusing(base, never):
            rules[at]["unseen"] = True
        for column, found in zip(columns, rules, strict=True):
            column["refuses"] = found if any(found.values()) else None
        self.layout = replace(self.layout, columns=columns)

    def _limit(self, base: pd.DataFrame, column: Input) -> float:
        """The largest magnitude that the original takes; below a power of two where it scales."""

        def takes(value: float) -> bool:
            both = edges.put(base, [edges.Edge(column, [value, -value])], _SEED)
            return not self._refusal(both)

        if column.kind == "float":
            exact, low, high = edges.FLOAT32_MOST, 0, 128
        else:
            exact = edges.FLOAT64_MOST if takes(1e39) else edges.FLOAT32_LIMIT
            low, high = 0, 1024
        if takes(exact):
            return exact
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if takes(2.0**middle) else (low, middle)
        return 2.0**low

    def _refusing(self, base: pd.DataFrame, found: list[edges.Edge]) -> set[int]:
        if not found or not self._refusal(edges.put(base, found, _SEED)):
            return set()
        return {
            self.inputs.index(edge.column)
            for edge in found
            if self._refusal(edges.put(base, [edge], _SEED))
        }

    def _kernel(self) -> Kernel:
        graph = self.compiled.graph
        digest = hashlib.sha256(graph).hexdigest()
        (self.home / GRAPH).write_bytes(graph)
        (self.home / MANIFEST).write_bytes(
            manifest_of(Report("proven", digest=digest), self.layout)
        )
        return Kernel(self.home)

    def _compare(self, kernel: Kernel, name: str, frame: pd.DataFrame) -> None:
        """One check: what the kernel takes the original must take, and the scores must agree."""
        import numpy as np

        if len(frame) > self.most:
            frame = frame.iloc[np.linspace(0, len(frame) - 1, self.most).astype(int)]
        matrix = kernel.matrix(edges.matrix_like(frame), len(frame))
        refused = np.array([_refuses(kernel, matrix[row : row + 1]) for row in _suspects(matrix)])
        taken = np.ones(len(frame), bool)
        taken[_suspects(matrix)] = ~refused.astype(bool)
        asked = frame[taken]
        if asked.empty:
            self._note(name, len(frame), int((~taken).sum()))
            return
        try:
            theirs = self.original.predict(asked)
        except Exception as error:  # noqa: BLE001  # foreign code; the reason is kept
            why = f"the original: {type(error).__name__}: {str(error).strip()[:200]}"
            self.checks.append(Check(name, len(frame), agrees=False, note=why))
            return
        difference, labels = self._distance(kernel, matrix[taken], theirs)
        agrees = difference <= self.compiled.tolerance and not labels
        refusals = int((~taken).sum())
        self.checks.append(Check(name, len(frame), refusals, difference, labels, agrees))

    def _note(self, name: str, rows: int, refused: int, note: str | None = None) -> None:
        self.checks.append(Check(name, rows, refused, note=note))

    def _distance(
        self, kernel: Kernel, matrix: npt.NDArray[np.float64], theirs: dict[str, npt.NDArray[Any]]
    ) -> tuple[float, int]:
        """The largest distance of two scores, and how many labels differ outside the margin."""
        import numpy as np

        ours = kernel.predict_matrix(matrix)
        apart = distances(theirs["score"].astype(np.float64), ours["score"])
        difference = float(apart.max(initial=0.0))
        if "label" not in theirs:
            return difference, 0
        near = self._near(kernel, matrix, ours["score"])
        return difference, int(((theirs["label"] != ours["label"]) & ~near).sum())

    def _near(
        self, kernel: Kernel, matrix: npt.NDArray[np.float64], score: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        import numpy as np

        margin = self.compiled.tolerance
        if self.layout.classes is None:
            return np.asarray(
                distances(np.full_like(score, self.layout.threshold), score) <= margin
            )
        best = np.sort(kernel.scores(matrix), axis=1)
        return np.asarray(best[:, -1] - best[:, -2] <= margin)

    def _halved(self, kernel: Kernel, base: pd.DataFrame) -> list[edges.Edge]:
        """Where a score steps, through whatever the model does first: found with the kernel."""
        found: list[edges.Edge] = []
        for at, column in enumerate(self.inputs):
            known = at in self.compiled.splits  # and tested step by step already
            if column.kind in ("double", "float") and len(base) > 1 and not known:
                values = _steps(kernel, edges.matrix_like(base), len(base), at)
                found.append(edges.Edge(column, values))
        return [edge for edge in found if edge.values]

    def _no_values(self, kernel: Kernel, base: pd.DataFrame) -> None:
        frame = base.head(1).copy()
        for edge in edges.nulls(self.inputs):
            frame[edge.column.name] = [edge.values[0]]
        self._compare(kernel, "a row of nulls", edges.typed(frame, self.inputs))

    def _one_by_one(self, kernel: Kernel, base: pd.DataFrame) -> None:
        """A row alone must get the bits that it gets among others."""
        import numpy as np

        few = base.head(50)
        columns = edges.matrix_like(few)
        together = kernel.predict(columns, len(few))["score"]
        alone = [
            kernel.predict({name: values[row : row + 1] for name, values in columns.items()}, 1)
            for row in range(len(few))
        ]
        apart = distances(together, np.concatenate([item["score"] for item in alone]))
        difference = float(apart.max(initial=0.0))
        agrees = difference <= self.compiled.tolerance
        self.checks.append(Check("one by one", len(few), 0, difference, 0, agrees))

    def _narrowed(self, kernel: Kernel, base: pd.DataFrame) -> None:
        """How far a graph of 32 bits would be off, where these rows can tell."""
        found = edges.steps(self.inputs, self.compiled.splits, _SEED)[:200]
        frame = edges.put(base, found, _SEED) if found else base
        matrix = kernel.matrix(edges.matrix_like(frame), len(frame))
        try:
            short = kernel.linked(narrow.scores(self.compiled.graph, matrix))
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's own errors; the note keeps it
            self.notes.append(f"float32 was not tried: {str(error).strip()[:120]}")
            return
        off = float(distances(kernel.scores(matrix).ravel(), short.ravel()).max(initial=0.0))
        self.notes.append(f"float32 was rejected: it differs by up to {off:.1e}, and is no faster")

    def _empty(self, kernel: Kernel, base: pd.DataFrame) -> None:
        """No rows: the kernel answers none, also where the original wants at least one."""
        none = base.head(0)
        answer = kernel.predict(edges.matrix_like(none), 0)
        why = self._refusal(none)
        note = f"the original refuses it ({why})" if why else None
        agrees = all(len(values) == 0 for values in answer.values())
        self.checks.append(Check("no rows", 0, agrees=agrees, note=note))


def distances(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distances of scores, relative to those above 1; equal infinities and NaNs have none."""
    import numpy as np

    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a - b) / np.maximum(1.0, np.abs(a))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def _suspects(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Rows that some rule might refuse: those with other than moderate numbers."""
    import numpy as np

    return np.flatnonzero(~(np.abs(matrix) < 1e38).all(axis=1) | (matrix == -1.0).any(axis=1))


def _refuses(kernel: Kernel, row: npt.NDArray[np.float64]) -> bool:
    try:
        kernel.predict_matrix(row)
    except RefusedValueError:
        return True
    return False


def _steps(kernel: Kernel, columns: dict[str, Any], rows: int, at: int) -> list[float]:
    """Neighbouring float64 between which the score changes, each with the next one."""
    import numpy as np

    low = kernel.matrix(columns, rows)[:_PAIRS]
    high = low.copy()
    high[:, at] = np.roll(low[:, at], 1)
    fine = np.isfinite(low).all(axis=1) & np.isfinite(high[:, at])
    low, high = low[fine], high[fine]
    start = kernel.scores(low) if len(low) else None
    if start is None:
        return []
    for _ in range(64):
        middle = low.copy()
        middle[:, at] = low[:, at] / 2 + high[:, at] / 2
        same = (kernel.scores(middle) == start).all(axis=1)
        low[same, at] = middle[same, at]
        high[~same, at] = middle[~same, at]
    changed = (kernel.scores(high) != start).any(axis=1)
    return [float(v) for v in np.unique(np.concatenate([low[changed, at], high[changed, at]]))]


def _disagreement(check: Check) -> str:
    if check.note:
        return f"{check.name}: {check.note}"
    if check.labels:
        return f"{check.name}: {check.labels} of {check.rows:,} labels differ"
    return f"{check.name}: scores differ by up to {check.difference:.1e}"
