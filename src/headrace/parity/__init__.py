"""Parity: the same rows give the same answers in training, in batch, and live.

::

    record = recorded(Path(model))          # rows of the hold-out, with the training's answers
    report = compare(record, scores, labels, tolerance_of(Path(model)), "batch")
    report.agreed, report.reason
"""

from __future__ import annotations

from headrace.parity.compare import Tolerance as Tolerance
from headrace.parity.compare import compare as compare
from headrace.parity.compare import tolerance_of as tolerance_of
from headrace.parity.errors import DisagreementError as DisagreementError
from headrace.parity.errors import ParityError as ParityError
from headrace.parity.errors import RecordDamagedError as RecordDamagedError
from headrace.parity.record import Recorded as Recorded
from headrace.parity.record import recorded as recorded
from headrace.parity.report import Disagreement as Disagreement
from headrace.parity.report import ParityReport as ParityReport

__all__ = [
    "Disagreement",
    "DisagreementError",
    "ParityError",
    "ParityReport",
    "RecordDamagedError",
    "Recorded",
    "Tolerance",
    "compare",
    "recorded",
    "tolerance_of",
]
