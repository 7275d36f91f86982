"""Streaming tables: only what is new is read, and it is read once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from headrace import lakehouse
from headrace.catalog import TableName
from headrace.pipeline.errors import (
    ChangedFileError,
    DefinitionError,
    SourceChangedError,
    StreamStateError,
    TableSchemaError,
    UnsupportedDefinitionError,
)

if TYPE_CHECKING:
    from .conftest import Project


def ids(project: Project, table: str = "bronze.events") -> list[int]:
    return list(project.column(table, "id"))


def test_reads_each_file_once(events: Project) -> None:
    assert events.run()["bronze.events"].rows == 3
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    second = events.run()["bronze.events"]
    assert (second.version, second.rows, second.batches) == (1, 1, 1)
    assert events.run() == {}
    assert ids(events) == [1, 2, 3, 4]


def test_a_file_that_is_gone_keeps_its_rows(events: Project) -> None:
    events.run()
    (events.root / "raw/events/1.parquet").unlink()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    assert ids(events) == [1, 2, 3, 4]


def test_lineage_names_the_raw_files_of_a_batch(events: Project) -> None:
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    lineage = events.workspace.lineage
    newest, first = lineage.producers(TableName.parse("bronze.events"), 1)
    assert [Path(file.path).name for file in newest.files] == ["2.parquet"]
    assert [Path(file.path).name for file in first.files] == ["1.parquet"]
    assert len(newest.files[0].sha256) == 64
    assert (newest.kind, newest.mode, newest.writes[0].version) == ("append", "append", 1)
    assert newest.source == "transformations/bronze.py:7"


def test_refresh_without_news_makes_no_version(events: Project) -> None:
    events.run()
    refresh = events.load().refresh("bronze.events")
    assert (refresh.skipped, refresh.version, refresh.batches) == (True, 0, 0)


def test_changed_code_applies_to_new_rows_and_makes_no_version(events: Project) -> None:
    events.run()
    file = events.root / "transformations/bronze.py"
    file.write_text(file.read_text().replace('/events")', '/events").where("id > 0")'))
    assert events.freshness("bronze.events").reason == (
        "code of transformations/bronze.py changed; rows already there stay as they are"
    )
    refresh = events.run()["bronze.events"]
    assert (refresh.skipped, refresh.version) == (True, 0)
    assert events.run() == {}


def test_touched_file_is_not_read_again(events: Project) -> None:
    events.run()
    os.utime(events.root / "raw/events/1.parquet", (1, 1))
    assert events.run() == {}


def test_changed_file_is_refused(events: Project) -> None:
    events.run()
    events.parquet("raw/events/1.parquet", id=[9], value=[9.0])
    assert events.freshness("bronze.events").reason == (
        "a file that was read has changed: raw/events/1.parquet"
    )
    with pytest.raises(ChangedFileError, match="changed after it was read") as caught:
        events.run()
    assert caught.value.batch == 0
    assert ids(events) == [1, 2, 3]
    assert events.load().refresh("bronze.events", full=True).rows == 1
    assert ids(events) == [9]


def test_full_refresh_starts_from_scratch_in_one_commit(events: Project) -> None:
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    (events.root / "raw/events/1.parquet").unlink()
    refresh = events.load().refresh("bronze.events", full=True)
    assert (refresh.version, refresh.rows) == (1, 1)
    assert ids(events) == [4]
    assert [row[0] for row in events.rows("bronze.events", 0)] == [1, 2, 3]
    assert events.run() == {}
    events.parquet("raw/events/3.parquet", id=[5], value=[5.0])
    events.run()
    assert ids(events) == [4, 5]


def test_deleted_table_is_made_again(events: Project) -> None:
    events.run()
    events.workspace.catalog.drop("bronze.events")
    assert events.freshness("bronze.events").reason == "its table was deleted"
    events.run()
    assert ids(events) == [1, 2, 3]


def test_table_set_back_is_refused(events: Project) -> None:
    events.run()
    lakehouse.write(
        events.location("bronze.events"),
        pa.table({"id": [7], "value": [7.0]}),
        mode="overwrite",
    )
    assert events.run()["bronze.events"].skipped
    log = events.location("bronze.events") / "_delta_log"
    for file in log.glob("*.json"):
        file.unlink()
    lakehouse.write(events.location("bronze.events"), pa.table({"id": [7], "value": [7.0]}))
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    with pytest.raises(StreamStateError, match="cannot go on"):
        events.load().refresh("bronze.events")


def test_foreign_table_at_the_location_is_refused(events: Project) -> None:
    lakehouse.write(events.location("bronze.events"), pa.table({"id": [7], "value": [7.0]}))
    with pytest.raises(StreamStateError, match="did not make"):
        events.run()
    events.load().refresh("bronze.events", full=True)
    assert ids(events) == [1, 2, 3]


def test_limit_makes_several_batches(project: Project) -> None:
    project.python("""
        @dp.table(name="bronze.events")
        def events():
            reader = spark.readStream.format("parquet").schema("id bigint")
            return reader.option("maxFilesPerTrigger", 2).load("raw")
    """)
    for number in range(5):
        project.parquet(f"raw/{9 - number}.parquet", id=[number])
    refresh = project.run()["bronze.events"]
    assert (refresh.batches, refresh.rows, refresh.version) == (3, 5, 2)
    # The oldest files come first, whatever their names.
    assert [row[0] for row in project.rows("bronze.events", 0)] == [0, 1]
    assert project.run() == {}


def test_several_flows_into_one_table(project: Project) -> None:
    project.python("""
        dp.create_streaming_table("bronze.events", comment="From two sites")

        def site(name):
            @dp.append_flow(target="bronze.events", name=name)
            def flow():
                reader = spark.readStream.format("parquet").schema("id bigint")
                return reader.load(f"raw/{name}").withColumn("site", F.lit(name))

        site("north")
        site("south")
    """)
    project.parquet("raw/north/1.parquet", id=[1])
    project.parquet("raw/south/1.parquet", id=[2])
    assert project.run()["bronze.events"].version == 0
    project.parquet("raw/south/2.parquet", id=[3])
    project.run()
    assert project.rows("bronze.events") == [(1, "north"), (2, "south"), (3, "south")]
    assert project.workspace.catalog.resolve("bronze.events").comment == "From two sites"


def test_stream_over_a_table_reads_appended_rows_only(events: Project) -> None:
    events.python("""
        @dp.table(name="silver.large")
        def large():
            return spark.readStream.table("bronze.events").where("value > 2")
    """)
    events.run()
    assert ids(events, "silver.large") == [3]
    events.parquet("raw/events/2.parquet", id=[4, 5], value=[0.0, 5.0])
    assert events.run()["silver.large"].rows == 1
    assert ids(events, "silver.large") == [3, 5]
    assert events.run() == {}
    newest = events.workspace.lineage.producers(TableName.parse("silver.large"), 1)[0]
    assert [(read.name, read.version) for read in newest.reads] == [("main.bronze.events", 1)]


def test_stream_in_sql(events: Project) -> None:
    events.sql("""
        CREATE STREAMING TABLE silver.large AS SELECT id FROM STREAM bronze.events WHERE value > 2;
        CREATE STREAMING TABLE silver.both;
        CREATE FLOW low AS INSERT INTO silver.both BY NAME
          SELECT id, 'low' AS kind FROM STREAM(bronze.events) WHERE value <= 2;
        CREATE FLOW high AS INSERT INTO silver.both BY NAME
          SELECT 'high' AS kind, id FROM STREAM silver.large;
    """)
    events.run()
    events.parquet("raw/events/2.parquet", id=[4, 5], value=[0.0, 5.0])
    events.run()
    assert events.rows("silver.both") == [
        (1, "low"), (2, "low"), (3, "high"), (4, "low"), (5, "high")
    ]  # fmt: skip


def test_stream_through_a_temporary_view(events: Project) -> None:
    events.python("""
        @dp.temporary_view(name="large")
        def large():
            return spark.readStream.table("bronze.events").where("value > 2")

        @dp.table(name="silver.large")
        def copy():
            return spark.readStream.table("large").select("id")
    """)
    events.run()
    events.parquet("raw/events/2.parquet", id=[4, 5], value=[0.0, 5.0])
    events.run()
    assert ids(events, "silver.large") == [3, 5]


def test_stream_joined_with_a_table(events: Project) -> None:
    events.parquet("raw/names/1.parquet", id=[1, 2, 3, 4], name=["a", "b", "c", "d"])
    events.python("""
        @dp.materialized_view(name="silver.names")
        def names():
            return spark.read.parquet("raw/names")

        @dp.table(name="silver.named")
        def named():
            return spark.readStream.table("bronze.events").join(spark.table("silver.names"), "id")
    """)
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    assert events.column("silver.named", "name") == ["a", "b", "c", "d"]


def test_change_in_the_source_is_refused(events: Project) -> None:
    events.python("""
        @dp.table(name="silver.copy")
        def copy():
            return spark.readStream.table("bronze.events")
    """)
    events.run()
    DeltaTable(events.location("bronze.events")).delete("id = 1")
    assert "were changed or deleted" in events.freshness("silver.copy").reason
    with pytest.raises(SourceChangedError, match=r"main\.bronze\.events had rows changed"):
        events.load().refresh("silver.copy")
    assert ids(events, "silver.copy") == [1, 2, 3]
    events.load().refresh("silver.copy", full=True)
    assert ids(events, "silver.copy") == [2, 3]


def test_skip_change_commits(events: Project) -> None:
    events.python("""
        @dp.table(name="silver.copy")
        def copy():
            reader = spark.readStream.option("skipChangeCommits", "true")
            return reader.table("bronze.events")
    """)
    events.run()
    DeltaTable(events.location("bronze.events")).delete("id = 1")
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    assert ids(events, "silver.copy") == [1, 2, 3, 4]


def test_starting_version(events: Project) -> None:
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    events.python("""
        @dp.table(name="silver.copy")
        def copy():
            return spark.readStream.option("startingVersion", 1).table("bronze.events")
    """)
    events.run()
    assert ids(events, "silver.copy") == [4]


def test_partitioned_source_keeps_its_partition_columns(events: Project) -> None:
    events.python("""
        @dp.table(name="silver.parts", partition_cols=["part"])
        def parts():
            return spark.readStream.table("bronze.events").withColumn("part", F.col("id") % 2)

        @dp.table(name="silver.copy")
        def copy():
            return spark.readStream.table("silver.parts")
    """)
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    expected = [(1, 1.0, 1), (2, 2.0, 0), (3, 3.0, 1), (4, 4.0, 0)]
    assert events.rows("silver.parts") == expected
    assert events.rows("silver.copy") == expected


def test_empty_source_makes_an_empty_table(project: Project) -> None:
    project.python("""
        @dp.table(name="bronze.events")
        def events():
            return spark.readStream.format("parquet").schema("id bigint").load("raw")
    """)
    (project.root / "raw").mkdir()
    refresh = project.run()["bronze.events"]
    assert (refresh.version, refresh.rows) == (0, 0)
    project.parquet("raw/1.parquet", id=[1])
    project.run()
    assert ids(project) == [1]


def test_new_column_of_the_query_needs_a_full_refresh(events: Project) -> None:
    events.run()
    file = events.root / "transformations/bronze.py"
    text = file.read_text()
    file.write_text(text.replace('/events")', '/events").selectExpr("*", "id * 2 AS twice")'))
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    with pytest.raises(TableSchemaError, match="do not fit") as caught:
        events.run()
    assert 'no column "twice"' in str(caught.value)
    assert "--full" in str(caught.value)
    events.load().refresh("bronze.events", full=True)
    assert events.column("bronze.events", "twice") == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ('table("bronze.events").groupBy("id").count()', "An aggregation"),
        ('table("bronze.events").distinct()', "Removing duplicates"),
        ('table("bronze.events").orderBy("id")', "Sorting"),
        ('table("bronze.events").limit(3)', "LIMIT"),
        ('table("bronze.events").select(F.max("id"))', "max, an aggregation"),
        ('table("bronze.events").selectExpr("sum(id)")', "sum, an aggregation"),
        (
            'table("bronze.events").join(spark.readStream.table("bronze.events"), "id")',
            "A join of two streams",
        ),
    ],
)
def test_what_needs_earlier_batches_is_refused(events: Project, query: str, reason: str) -> None:
    events.python(f"""
        @dp.table(name="silver.bad")
        def bad():
            return spark.readStream.{query}
    """)
    with pytest.raises(UnsupportedDefinitionError, match=reason) as caught:
        events.load()
    assert "transformations/tables.py:4" in str(caught.value)


def test_streaming_table_without_a_stream_is_refused(events: Project) -> None:
    events.python("""
        @dp.table(name="silver.copy")
        def copy():
            return spark.read.table("bronze.events")
    """)
    with pytest.raises(DefinitionError, match="reads nothing as a stream"):
        events.load()


def test_materialized_view_over_a_stream_is_refused(events: Project) -> None:
    events.python("""
        @dp.materialized_view(name="silver.copy")
        def copy():
            return spark.readStream.table("bronze.events")
    """)
    with pytest.raises(DefinitionError, match="as a stream"):
        events.load()


def test_stream_over_a_materialized_view_is_refused(events: Project) -> None:
    events.python("""
        @dp.materialized_view(name="silver.view")
        def view():
            return spark.table("bronze.events")

        @dp.table(name="silver.copy")
        def copy():
            return spark.readStream.table("silver.view")
    """)
    with pytest.raises(DefinitionError, match="written anew each time"):
        events.load()


def test_new_partitions_need_a_full_refresh(events: Project) -> None:
    events.run()
    file = events.root / "transformations/bronze.py"
    text = file.read_text()
    file.write_text(text.replace('"bronze.events"', '"bronze.events", partition_cols=["id"]'))
    with pytest.raises(TableSchemaError, match="do not fit") as caught:
        events.run()
    assert "--full" in str(caught.value)
    events.load().refresh("bronze.events", full=True)
    assert DeltaTable(events.location("bronze.events")).metadata().partition_columns == ["id"]
    assert events.run() == {}


def test_source_with_deletion_vectors_is_refused(project: Project) -> None:
    spark = project.workspace.spark()
    location = project.location("lab.numbers")
    spark.range(10).write.saveAsTable("lab.numbers")
    table = DeltaTable(location)
    table.alter.set_table_properties({"delta.enableDeletionVectors": "true"})
    spark.sql("DELETE FROM lab.numbers WHERE id = 3")
    project.python("""
        @dp.table(name="silver.copy")
        def copy():
            return spark.readStream.table("lab.numbers")
    """)
    assert any(file.has_deletion_vector for file in lakehouse.files(location))
    with pytest.raises(SourceChangedError):
        project.run()
