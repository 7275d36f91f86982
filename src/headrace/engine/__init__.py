"""Spark Connect sessions whose every plan is resolved against the catalog and recorded.

::

    spark = engine.session()
    spark.table("silver.telemetry").groupBy("device").count().write.saveAsTable("gold.counts")
    lineage.producers("gold.counts", version=0)[0].reads   # main.silver.telemetry, version 12
"""

from __future__ import annotations

from headrace.engine.engine import Engine as Engine
from headrace.engine.record import Flow as Flow
from headrace.engine.record import Recording as Recording
from headrace.engine.record import composed as composed
from headrace.engine.record import placed as placed
from headrace.engine.record import reads_of_run as reads_of_run
from headrace.engine.references import Reference as Reference
from headrace.engine.streams import StreamBatch as StreamBatch

__all__ = [
    "Engine",
    "Flow",
    "Recording",
    "Reference",
    "StreamBatch",
    "composed",
    "placed",
    "reads_of_run",
]
