"""Whether the numbers of a judgement meet the rule. Whoever has both can check the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.gate.metrics import METRICS
from headrace.gate.verdict import Bound, Difference, gain_text

if TYPE_CHECKING:
    from headrace.gate.spec import GateSpec


def meets(name: str, value: float, bound: float) -> bool:
    """Whether a metric's value keeps a bound: at least, or at most where less is better."""
    return value >= bound if METRICS[name].greater_is_better else value <= bound


def reasons(
    gate: GateSpec,
    measured: float,
    champion: int | None,
    difference: Difference | None,
    bounds: tuple[Bound, ...],
) -> Iterator[str]:
    """Why a candidate may not take the alias, a sentence each; none if it may."""
    if difference is not None and champion is not None and not difference.low > gate.min_gain:
        wanted = f"by more than {gate.min_gain:g}" if gate.min_gain else "with certainty"
        yield (
            f"{gate.metric} {measured:.4g} is not better {wanted} than version "
            f"{champion}'s {difference.champion:.4g}: gain {gain_text(difference)}"
        )
    for bound in bounds:
        if not bound.met:
            side = "below" if METRICS[bound.metric].greater_is_better else "above"
            where = "" if bound.column is None else f" where {bound.column} = {bound.slice}"
            yield f"{bound.metric} {bound.value:.4g}{where} is {side} {bound.bound:g}"
