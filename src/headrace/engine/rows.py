"""Fitting rows to the columns of the table that they are written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import Relation

    from headrace.engine.writes import Write


def fitted(write: Write, client: SparkConnectClient) -> Relation:
    """The rows with the table's columns."""
    return write.rows
