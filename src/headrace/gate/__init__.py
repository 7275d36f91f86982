"""The rule of the gate and its numbers: pure functions, without Spark, MLflow or a database."""

from __future__ import annotations

from headrace.gate.spec import GateSpec as GateSpec
from headrace.gate.verdict import Verdict as Verdict

__all__ = ["GateSpec", "Verdict"]
