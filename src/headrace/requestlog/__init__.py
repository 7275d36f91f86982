"""The request log: each answered request in a Delta table, exactly once.

The scoring plane appends to a *spool* before it answers; the *shipper*, a process of its own
beside it (``python -m headrace.requestlog``), moves the spool to Delta.
"""

from __future__ import annotations

from headrace.requestlog.spool import SpoolWriter as SpoolWriter
from headrace.requestlog.spool import find_spooled as find_spooled
from headrace.requestlog.tables import request_table as request_table
from headrace.requestlog.tables import truth_table as truth_table
