"""The gate: the ``production`` alias is earned on frozen rows, and moves with its record.

::

    result = build(workspace, training, GateSpec(metric="average_precision", min={"recall": 0.5}))
    result.verdict.summary     # version 2 promoted: average_precision 0.71, +0.05 (...)
"""

from __future__ import annotations

from headrace.gate.spec import GateSpec as GateSpec
from headrace.gate.verdict import Verdict as Verdict
from headrace.promotion.build import BuildResult as BuildResult
from headrace.promotion.build import build as build
from headrace.promotion.build import build_freshness as build_freshness
from headrace.promotion.errors import ChampionChangedError as ChampionChangedError
from headrace.promotion.errors import GateError as GateError
from headrace.promotion.judge import judge as judge
from headrace.promotion.override import override as override
from headrace.promotion.override import take_away as take_away
from headrace.promotion.promote import last_verdict as last_verdict
from headrace.promotion.promote import promote as promote
from headrace.promotion.promote import promote_approved as promote_approved
from headrace.promotion.records import Decided as Decided
from headrace.promotion.records import Move as Move
from headrace.promotion.records import last_decision as last_decision
from headrace.promotion.records import overridden as overridden
from headrace.promotion.waiting import Waiting as Waiting
from headrace.promotion.waiting import waits_for as waits_for

__all__ = [
    "BuildResult",
    "ChampionChangedError",
    "Decided",
    "GateError",
    "GateSpec",
    "Move",
    "Verdict",
    "Waiting",
    "build",
    "build_freshness",
    "judge",
    "last_decision",
    "last_verdict",
    "overridden",
    "override",
    "promote",
    "promote_approved",
    "take_away",
    "waits_for",
]
