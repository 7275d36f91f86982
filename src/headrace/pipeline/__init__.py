"""Pipelines of Spark Declarative Pipelines: what is stale is refreshed, in order, exactly once.

::

    workspace = open_workspace()
    pipeline = load_pipeline(workspace, Path("spark-pipeline.yml"), {}, {})
    for name in pipeline.order():
        if pipeline.freshness(name).stale:
            print(name, pipeline.refresh(name).rows)
"""

from __future__ import annotations

from headrace.pipeline.spec import Expectations as Expectations
