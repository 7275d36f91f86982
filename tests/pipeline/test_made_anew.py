"""Tables that were dropped and made again, and tables that became another kind of table."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from headrace import lakehouse
from headrace.pipeline.errors import StreamStateError

from .conftest import EVENTS

if TYPE_CHECKING:
    from .conftest import Project

VIEW = """
@dp.materialized_view(name="gold.copy")
def copy():
    return spark.table("raw.devices")
"""

STREAM = """
@dp.table(name="gold.copy")
def copy():
    return spark.readStream.table("raw.devices")
"""


def make_devices(project: Project, *ids: int) -> None:
    """The table raw.devices anew, as a notebook makes it; one version whatever was there."""
    catalog = project.workspace.catalog
    if catalog.find("raw.devices") is not None:
        catalog.drop("raw.devices")
    lakehouse.write(catalog.location_for("raw.devices"), pa.table({"id": list(ids)}))
    catalog.create_table("raw.devices")


def test_input_that_was_dropped_and_made_again(project: Project) -> None:
    project.python(VIEW)
    make_devices(project, 1, 2)
    project.run()
    assert project.run() == {}
    make_devices(project, 3)
    assert project.freshness("gold.copy").reason == (
        "input main.raw.devices was deleted and made again"
    )
    project.run()
    assert project.column("gold.copy", "id") == [3]
    assert project.run() == {}


def test_stream_whose_source_was_dropped_and_made_again(project: Project) -> None:
    project.python(STREAM)
    make_devices(project, 1, 2)
    project.run()
    make_devices(project, 3)
    assert "is not the table that it has read" in project.freshness("gold.copy").reason
    with pytest.raises(StreamStateError, match=r"main\.gold\.copy cannot go on"):
        project.run()
    assert project.column("gold.copy", "id") == [1, 2]
    project.load().refresh("gold.copy", full=True)
    assert project.column("gold.copy", "id") == [3]
    assert project.run() == {}


def test_streaming_table_upstream_that_was_deleted(events: Project) -> None:
    events.python("""
        @dp.table(name="silver.copy")
        def copy():
            return spark.readStream.table("bronze.events")
    """)
    events.run()
    shutil.rmtree(events.location("bronze.events"))
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    pipeline = events.load()
    pipeline.refresh("bronze.events")
    with pytest.raises(StreamStateError, match="made again after version 0"):
        pipeline.refresh("silver.copy")
    pipeline.refresh("silver.copy", full=True)
    assert events.column("silver.copy", "id") == [1, 2, 3, 4]


def test_table_that_someone_else_made_again(project: Project) -> None:
    project.python(VIEW)
    make_devices(project, 1, 2)
    project.run()
    project.workspace.catalog.drop("gold.copy")
    lakehouse.write(project.location("gold.copy"), pa.table({"id": [9]}))
    project.workspace.catalog.create_table("gold.copy")
    assert "made another one" in project.freshness("gold.copy").reason
    project.run()
    assert project.column("gold.copy", "id") == [1, 2]
    assert project.run() == {}


def test_remembered_when_nothing_was_new(project: Project) -> None:
    """A refresh that only notes changed code forgets nothing."""
    project.python(STREAM)
    make_devices(project, 1, 2)
    project.run()
    project.python(STREAM.replace('devices")', 'devices").where("id > 0")'))
    assert project.run()["gold.copy"].skipped
    make_devices(project, 3)
    assert project.freshness("gold.copy").stale


def test_streaming_table_that_becomes_a_view_and_back(events: Project) -> None:
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    view = EVENTS.replace("dp.table", "dp.materialized_view").replace("readStream", "read")
    events.write("transformations/bronze.py", view)
    events.run()
    assert events.run() == {}
    (events.root / "raw/events/1.parquet").unlink()
    events.run()
    assert events.column("bronze.events", "id") == [4]
    assert events.run() == {}
    events.write("transformations/bronze.py", EVENTS)
    with pytest.raises(StreamStateError, match="--full"):
        events.run()
    events.load().refresh("bronze.events", full=True)
    assert events.column("bronze.events", "id") == [4]
    assert events.run() == {}
