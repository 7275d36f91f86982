"""From a bad file or table version forward to all that it reached.

::

    recall = find(open_workspace(), "raw/telemetry/2026-01-03.parquet")
    recall.serving           # deployments that answer with what it reached
    recall.as_json()
    print_recall(recall, console())   # from headrace.recall.render
    apply(open_workspace(), recall.origin, reason="sensor 17 was upside down")
"""

from __future__ import annotations

from headrace.recall.apply import apply as apply
from headrace.recall.apply import undo as undo
from headrace.recall.errors import RecallError as RecallError
from headrace.recall.find import find as find
from headrace.recall.found import Recall as Recall
from headrace.recall.origin import Origin as Origin
from headrace.recall.origin import parse as parse
from headrace.recall.store import RecallRecord as RecallRecord

__all__ = ["Origin", "Recall", "RecallError", "RecallRecord", "apply", "find", "parse", "undo"]
