"""Queries that look at tables of the pipeline while definitions are read."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from headrace import lakehouse
from headrace.engine.errors import TableFilesGoneError
from headrace.pipeline.errors import DefinitionError, UnsupportedDefinitionError

if TYPE_CHECKING:
    from .conftest import Project

RENAMED = """
@dp.materialized_view(name="silver.events")
def renamed():
    return spark.table("bronze.events").withColumnRenamed("value", "v")


@dp.materialized_view(name="gold.sums")
def sums():
    return spark.table("silver.events").groupBy("id").sum("v").toDF("id", "total")
"""


def test_column_renamed_in_two_tables_at_once(events: Project) -> None:
    """``sum`` looks at the columns of the table as it is before the run."""
    events.python(RENAMED)
    events.run()
    events.python(RENAMED.replace('"v"', '"volt"'))
    assert events.load().datasets["main.gold.sums"].deferred
    done = events.run()
    assert (done["silver.events"].version, done["gold.sums"].version) == (1, 1)
    assert events.run() == {}


def test_query_that_is_wrong_stops_its_own_table_alone(events: Project) -> None:
    events.python(RENAMED)
    events.run()
    events.python(RENAMED.replace('.sum("v")', '.sum("volt")'))
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    pipeline = events.load()
    pipeline.refresh("bronze.events")
    assert pipeline.refresh("silver.events").rows == 4
    with pytest.raises(DefinitionError, match=r"query of main\.gold\.sums failed") as caught:
        pipeline.refresh("gold.sums")
    assert str(caught.value.location) == "transformations/tables.py:11"
    assert len(events.rows("gold.sums")) == 3


def test_deferred_stream_is_checked_once_it_can_be_read(events: Project) -> None:
    events.python("""
        @dp.table(name="silver.copy")
        def copy():
            columns = spark.table("bronze.events").columns
            return spark.readStream.table("bronze.events").groupBy(*columns).count()
    """)
    pipeline = events.load()
    pipeline.refresh("bronze.events")
    with pytest.raises(UnsupportedDefinitionError, match="An aggregation"):
        pipeline.refresh("silver.copy")


def test_table_whose_directory_was_deleted(events: Project) -> None:
    events.python(RENAMED)
    events.run()
    for name in ("bronze.events", "silver.events"):
        shutil.rmtree(events.location(name))
    assert set(events.run()) == {"bronze.events", "silver.events", "gold.sums"}
    assert events.column("gold.sums", "id") == [1, 2, 3]
    assert events.run() == {}


def test_input_of_someone_else_whose_directory_was_deleted(events: Project) -> None:
    location = events.location("raw.devices")
    lakehouse.write(location, pa.table({"id": [1]}))
    events.workspace.catalog.create_table("raw.devices")
    shutil.rmtree(location)
    events.python("""
        @dp.materialized_view(name="gold.devices")
        def devices():
            return spark.table("raw.devices").groupBy().sum("id").toDF("n")
    """)
    with pytest.raises(TableFilesGoneError, match=r"files of main\.raw\.devices are gone"):
        events.load()
