"""From a prediction back to the raw file.

::

    trace = trace_row(open_workspace(), "gold.device_failure_predictions", "device_id=7,day=31")
    trace.raw_files          # each with its size, its checksum and whether it is unchanged
    print_trace(trace)       # from headrace.trace.render
"""

from __future__ import annotations

from headrace.trace.errors import TraceError as TraceError
from headrace.trace.graph import Edge as Edge
from headrace.trace.graph import Node as Node
from headrace.trace.graph import Trace as Trace
from headrace.trace.mermaid import mermaid as mermaid
from headrace.trace.prediction import trace_prediction as trace_prediction
from headrace.trace.row import trace_row as trace_row

__all__ = ["Edge", "Node", "Trace", "TraceError", "mermaid", "trace_prediction", "trace_row"]
