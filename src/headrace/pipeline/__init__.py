"""Pipelines of Spark Declarative Pipelines: what is stale is refreshed, in order, exactly once.

::

    workspace = open_workspace()
    pipeline = load_pipeline(workspace, Path("spark-pipeline.yml"))
    for name in pipeline.order():
        if pipeline.freshness(name).stale:
            print(name, pipeline.refresh(name).rows)
"""

from __future__ import annotations

from headrace.pipeline.graph import Dataset as Dataset
from headrace.pipeline.pipeline import Pipeline as Pipeline
from headrace.pipeline.pipeline import load_pipeline as load_pipeline
from headrace.pipeline.refresh import Refresh as Refresh
from headrace.pipeline.spec import Expectations as Expectations
from headrace.pipeline.store import ExpectationCount as ExpectationCount
