"""Headrace: from raw telemetry to a live model, with proof.

In a project (``headrace init``), or a notebook inside one::

    import headrace

    spark = headrace.spark()                       # Spark Connect, no JVM
    spark.table("gold.device_features").show()     # plain Delta, versions recorded

Tables that are read and written through this session are Delta tables of the project, and
their lineage is recorded from the query plans.
"""

from __future__ import annotations

from importlib.metadata import version as _version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["__version__", "spark"]

__version__ = _version("headrace")


def spark(project: str | Path | None = None) -> SparkSession:
    """The Spark session of the project, started on first use.

    Args:
        project: the project directory; the nearest ``headrace.yaml`` upwards if not given.

    Returns:
        An unmodified PySpark Spark Connect session. MLflow's tracking URI is set to the
        project's store unless the process has set one.

    Raises:
        headrace.errors.HeadraceError: there is no project here, or the engine does not start.
    """
    from headrace.workspace import open_workspace

    return open_workspace(Path(project) if project else None).spark()
