"""Materialized views: refreshed when stale, for a reason that a person can read."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from headrace import lakehouse
from headrace.catalog import TableName
from headrace.pipeline import store
from headrace.pipeline.errors import (
    ColumnNotFoundError,
    ConcurrentRefreshError,
    DefinitionError,
    DiskFullError,
    RefreshError,
    UnknownDatasetError,
    UnknownTableError,
    UnsupportedDefinitionError,
)
from headrace.pipeline.lock import table_lock

from .conftest import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTS = """
@dp.materialized_view(name="gold.counts", comment="How many")
def counts():
    return spark.table("bronze.events").groupBy((F.col("id") % 2).alias("odd")).count()
"""


@pytest.fixture
def counted(events: Project) -> Project:
    events.python(COUNTS)
    return events


def test_refresh_replaces_all_rows(counted: Project) -> None:
    refresh = counted.run()["gold.counts"]
    assert (refresh.version, refresh.rows, refresh.skipped) == (0, 2, False)
    assert refresh.reason == "never refreshed"
    assert counted.rows("gold.counts") == [(0, 1), (1, 2)]
    counted.parquet("raw/events/2.parquet", id=[5], value=[5.0])
    counted.run()
    assert counted.rows("gold.counts") == [(0, 1), (1, 3)]
    assert counted.rows("gold.counts", 0) == [(0, 1), (1, 2)]


def test_table_is_in_the_catalog_and_plain_delta(counted: Project) -> None:
    counted.run()
    entry = counted.workspace.catalog.resolve("gold.counts")
    assert entry.comment == "How many"
    assert DeltaTable(str(entry.location)).to_pyarrow_table().num_rows == 2
    assert counted.workspace.spark().table("gold.counts").count() == 2


def test_lineage_of_a_refresh(counted: Project) -> None:
    counted.run()
    operations = counted.workspace.lineage.producers(TableName.parse("gold.counts"), 0)
    assert [each.kind for each in operations] == ["refresh"]
    assert operations[0].subject == "main.gold.counts"
    assert operations[0].source == "transformations/tables.py:4"
    assert [(r.name, r.version) for r in operations[0].reads] == [("main.bronze.events", 0)]


def test_second_run_does_nothing(counted: Project) -> None:
    counted.run()
    assert counted.run() == {}
    assert counted.load().refresh("gold.counts").skipped
    assert counted.freshness("gold.counts").reason == "up to date at version 0"


def test_refresh_writes_nothing_to_the_lineage_but_itself(counted: Project) -> None:
    counted.run()
    kinds = [each.kind for each in counted.workspace.lineage.operations()]
    assert kinds == ["refresh", "append"]


class TestReasons:
    def reason(self, project: Project) -> str:
        verdict = project.freshness("gold.counts")
        assert verdict.stale
        return verdict.reason

    def test_input_moved(self, counted: Project) -> None:
        counted.run()
        counted.parquet("raw/events/2.parquet", id=[5], value=[5.0])
        counted.load().refresh("bronze.events")
        assert self.reason(counted) == "input main.bronze.events moved from version 0 to 1"

    def test_code_changed(self, counted: Project) -> None:
        counted.run()
        counted.python(COUNTS.replace("% 2", "% 3"))
        assert self.reason(counted) == "code of transformations/tables.py changed"
        counted.run()
        assert counted.rows("gold.counts") == [(0, 1), (1, 1), (2, 1)]

    def test_code_of_a_view_changed(self, counted: Project) -> None:
        view = (
            '@dp.temporary_view(name="some")\ndef some():\n    return spark.table("bronze.events")'
        )
        counted.python(view, "views")
        counted.python(COUNTS.replace('"bronze.events"', '"some"'))
        counted.run()
        counted.python(view + ".limit(1)", "views")
        assert "transformations/views.py changed" in self.reason(counted)

    def test_sql_changed(self, events: Project) -> None:
        text = "CREATE MATERIALIZED VIEW gold.counts AS SELECT count(*) AS n FROM bronze.events"
        events.sql(text)
        events.run()
        events.sql(f"-- a comment\n{text.replace('SELECT', '  select /* all */')}")
        assert events.run() == {}
        events.sql(text + " WHERE id > 1")
        assert self.reason(events) == "code of transformations/tables.sql changed"

    def test_expectations_changed(self, counted: Project) -> None:
        counted.run()
        pipeline = counted.load({"gold.counts": {"expect": {"some": "count > 0"}}})
        assert pipeline.freshness("gold.counts").reason == "its expectations changed"

    def test_partitions_changed(self, counted: Project) -> None:
        counted.run()
        counted.python(COUNTS.replace('"gold.counts"', '"gold.counts", partition_cols=["odd"]'))
        assert self.reason(counted) == "its partition columns changed"

    def test_configuration_changed(self, counted: Project) -> None:
        counted.run()
        verdict = counted.load(extra="1").freshness("gold.counts")
        assert verdict.reason == "configuration extra changed from None to 1"

    def test_someone_else_wrote(self, counted: Project) -> None:
        counted.run()
        DeltaTable(counted.location("gold.counts")).delete("odd = 1")
        assert self.reason(counted) == (
            "someone else wrote version 1; its last refresh made version 0"
        )
        counted.run()
        assert counted.rows("gold.counts") == [(0, 1), (1, 2)]

    def test_table_deleted(self, counted: Project) -> None:
        counted.run()
        counted.workspace.catalog.drop("gold.counts")
        assert self.reason(counted) == "its table was deleted"

    def test_compaction_is_no_reason(self, counted: Project) -> None:
        counted.run()
        counted.parquet("raw/events/2.parquet", id=[5], value=[5.0])
        counted.run()
        lakehouse.compact(counted.location("bronze.events"))
        lakehouse.compact(counted.location("gold.counts"))
        assert lakehouse.latest_version(counted.location("bronze.events")) == 2
        assert counted.run() == {}

    def test_files_of_a_path_changed(self, project: Project) -> None:
        project.python("""
            @dp.materialized_view(name="gold.counts")
            def counts():
                return spark.read.parquet("raw")
        """)
        project.parquet("raw/1.parquet", id=[1])
        project.run()
        assert project.run() == {}
        project.parquet("raw/2.parquet", id=[2])
        assert self.reason(project) == "files in raw changed"

    def test_table_outside_the_pipeline_moved(self, project: Project) -> None:
        spark = project.workspace.spark()
        spark.range(3).write.saveAsTable("lab.numbers")
        project.python("""
            @dp.materialized_view(name="gold.counts")
            def counts():
                return spark.table("lab.numbers")
        """)
        project.run()
        spark.range(4).write.mode("append").saveAsTable("lab.numbers")
        assert self.reason(project) == "input main.lab.numbers moved from version 0 to 1"


def test_failed_refresh_leaves_the_version_before(counted: Project) -> None:
    counted.run()
    counted.python(COUNTS.replace('F.col("id")', 'F.col("idd")'))
    with pytest.raises(ColumnNotFoundError, match="could not be refreshed") as caught:
        counted.run()
    error = caught.value
    assert (error.column, error.dataset) == ("idd", "main.gold.counts")
    assert error.inputs == {"main.bronze.events": ["id", "value"]}
    assert 'did you mean "id"?' in str(error)
    assert "transformations/tables.py:4" in str(error)
    assert counted.rows("gold.counts") == [(0, 1), (1, 2)]
    directories = {path.name for path in counted.location("gold.counts").iterdir()}
    assert len(directories) == 2  # the log, and the files of the refresh that succeeded
    newest = store.history(counted.workspace.store, "main.gold.counts")[0]
    assert (newest.status, newest.version) == ("failed", None)
    counted.python(COUNTS)
    assert counted.run() == {}


def test_column_that_vanished_upstream(counted: Project) -> None:
    counted.run()
    bronze = counted.root / "transformations/bronze.py"
    bronze.write_text(bronze.read_text().replace('/events")', '/events").select("value")'))
    counted.load().refresh("bronze.events", full=True)
    with pytest.raises(ColumnNotFoundError, match=r"main\.gold\.counts") as caught:
        counted.run()
    assert caught.value.inputs == {"main.bronze.events": ["value"]}


def test_failure_while_running(counted: Project) -> None:
    counted.python(
        COUNTS.replace(".count()", ".agg(F.raise_error(F.lit('no')).cast('int').alias('n'))")
    )
    with pytest.raises(RefreshError, match="could not be refreshed"):
        counted.run()
    assert not lakehouse.exists(counted.location("gold.counts"))
    assert counted.workspace.catalog.find("gold.counts") is None


def test_failing_query_function(counted: Project) -> None:
    counted.python("""
        @dp.materialized_view(name="gold.counts")
        def counts():
            return {}["key"]
    """)
    with pytest.raises(DefinitionError, match=r"query of main\.gold\.counts failed") as caught:
        counted.load()
    assert str(caught.value.location) == "transformations/tables.py:6"
    assert "KeyError" in str(caught.value)


def test_query_that_returns_no_frame(counted: Project) -> None:
    counted.python('@dp.materialized_view(name="gold.counts")\ndef counts():\n    return 3')
    with pytest.raises(DefinitionError, match="returns no DataFrame"):
        counted.load()


def test_query_must_not_write(counted: Project) -> None:
    counted.python("""
        @dp.materialized_view(name="gold.counts")
        def counts():
            frame = spark.range(3)
            frame.write.saveAsTable("lab.numbers")
            return frame
    """)
    with pytest.raises(Exception, match="while the pipeline's definitions are read"):
        counted.load()
    assert counted.workspace.catalog.find("lab.numbers") is None


def test_schema_of_a_view_may_change(counted: Project) -> None:
    counted.run()
    counted.python(
        COUNTS.replace(".count()", ".agg(F.lit('x').alias('count'), F.max('id').alias('m'))")
    )
    counted.run()
    assert counted.rows("gold.counts") == [(0, "x", 2), (1, "x", 3)]
    assert counted.rows("gold.counts", 0) == [(0, 1), (1, 2)]


def test_view_without_rows_has_columns(counted: Project) -> None:
    counted.python(COUNTS.replace(".count()", ".count().where('false')"))
    assert counted.run()["gold.counts"].rows == 0
    schema = lakehouse.schema(counted.location("gold.counts"))
    assert schema.names == ["odd", "count"]
    assert schema.field("count").type == pa.int64()


def test_declared_columns_are_cast_and_checked(events: Project) -> None:
    events.python("""
        @dp.materialized_view(name="gold.counts", schema="n int, id string")
        def counts():
            return spark.table("bronze.events").select("id", F.lit(1).cast("long").alias("n"))
    """)
    events.run()
    schema = lakehouse.schema(events.location("gold.counts"))
    assert [(field.name, str(field.type)) for field in schema] == [("n", "int32"), ("id", "string")]
    events.python("""
        @dp.materialized_view(name="gold.counts", schema="n int, name string")
        def counts():
            return spark.table("bronze.events").select("id", F.lit(1).alias("n"))
    """)
    with pytest.raises(DefinitionError, match="columns that it declares") as caught:
        events.run()
    assert "it lacks name and it has id too" in str(caught.value)


def test_partitions(events: Project) -> None:
    events.python("""
        @dp.materialized_view(name="gold.counts", partition_cols=["odd"])
        def counts():
            return spark.table("bronze.events").withColumn("odd", F.col("id") % 2)
    """)
    events.run()
    table = DeltaTable(events.location("gold.counts"))
    assert table.metadata().partition_columns == ["odd"]
    assert events.rows("gold.counts") == [(1, 1.0, 1), (2, 2.0, 0), (3, 3.0, 1)]
    events.python("""
        @dp.materialized_view(name="gold.counts", partition_cols=["nope"])
        def counts():
            return spark.table("bronze.events")
    """)
    with pytest.raises(DefinitionError, match="partitioned by a column that it lacks: nope"):
        events.run()


def test_query_may_look_at_columns_of_a_table_that_is_not_there_yet(events: Project) -> None:
    events.python("""
        @dp.materialized_view(name="gold.wide")
        def wide():
            frame = spark.table("bronze.events")
            return frame.select(*[F.col(name).alias(f"{name}_x") for name in frame.columns])
    """)
    pipeline = events.load()
    assert pipeline.datasets["main.gold.wide"].deferred
    assert pipeline.order() == ["main.bronze.events", "main.gold.wide"]
    events.run(pipeline)
    assert lakehouse.schema(events.location("gold.wide")).names == ["id_x", "value_x"]
    assert events.run() == {}


def test_python_function_on_rows(events: Project) -> None:
    events.write("helpers.py", "def double(value):\n    return value * 2\n")
    events.python("""
        from helpers import double

        twice = F.udf(double, "double")

        @dp.materialized_view(name="gold.twice")
        def twice_as_much():
            return spark.table("bronze.events").select(twice("value").alias("value"))
    """)
    events.run()
    assert events.column("gold.twice", "value") == [2.0, 4.0, 6.0]
    events.write("helpers.py", "def double(value):\n    return value * 2  # twice\n")
    assert events.run() == {}
    events.write("helpers.py", "def double(value):\n    return value + value + 1\n")
    assert list(events.run()) == ["gold.twice"]
    assert events.column("gold.twice", "value") == [3.0, 5.0, 7.0]


def test_spark_configuration_holds_for_a_flow_only(events: Project) -> None:
    events.python("""
        @dp.materialized_view(name="gold.conf", spark_conf={"my.key": "inside"})
        def conf():
            return spark.table("bronze.events").select(F.lit(spark.conf.get("my.key", "?")).alias("k"))
    """)
    events.run()
    assert set(events.column("gold.conf", "k")) == {"inside"}
    spark = events.workspace.spark()
    assert spark.conf.get("my.key", "none") == "none"
    assert spark.conf.get("raw", "none") == "none"


def test_default_schema_of_the_pipeline(project: Project) -> None:
    spec = project.root / "spark-pipeline.yml"
    spec.write_text(spec.read_text() + "database: silver\n")
    project.python("""
        @dp.materialized_view
        def numbers():
            return spark.range(3)

        @dp.materialized_view
        def total():
            return spark.sql("SELECT sum(id) AS total FROM numbers")
    """)
    assert list(project.run()) == ["silver.numbers", "silver.total"]
    assert project.rows("silver.total") == [(3,)]
    assert project.workspace.spark().catalog.currentDatabase() == "default"


def test_unknown_name(counted: Project) -> None:
    with pytest.raises(UnknownDatasetError, match=r'no table "gold\.count"') as caught:
        counted.load().freshness("gold.count")
    assert "main.gold.counts" in str(caught.value)


def test_stored_inputs_look_through_views(counted: Project) -> None:
    counted.python("""
        @dp.temporary_view(name="some")
        def some():
            return spark.table("bronze.events")

        @dp.materialized_view(name="gold.counts")
        def counts():
            return spark.table("some")
    """)
    pipeline = counted.load()
    assert pipeline.stored_inputs("gold.counts") == ("main.bronze.events",)
    assert pipeline.order() == ["main.bronze.events", "main.gold.counts"]
    assert not pipeline.freshness("some").stale
    assert pipeline.refresh("some").skipped


class TestProperties:
    def test_are_kept_in_the_table(self, events: Project) -> None:
        events.python("""
            properties = {"quality": "gold", "delta.logRetentionDuration": "interval 60 days"}

            @dp.materialized_view(name="gold.counts", table_properties=properties)
            def counts():
                return spark.table("bronze.events")
        """)
        events.run()
        assert events.run() == {}
        table = DeltaTable(events.location("gold.counts"))
        assert table.metadata().configuration == {
            "quality": "gold",
            "delta.logRetentionDuration": "interval 60 days",
        }
        events.load().refresh("gold.counts", full=True)
        again = DeltaTable(events.location("gold.counts"))
        assert again.metadata().configuration == table.metadata().configuration
        assert again.version() == table.version() + 1

    @pytest.mark.parametrize(
        ("key", "value", "error"),
        [
            ("delta.enableChangeDataFeed", "true", UnsupportedDefinitionError),
            ("delta.logRetentionDuration", "soon", DefinitionError),
            ("delta.checkpointInterval", "0", DefinitionError),
        ],
    )
    def test_of_delta_are_refused_by_name(
        self, project: Project, key: str, value: str, error: type[Exception]
    ) -> None:
        project.sql(
            f"CREATE MATERIALIZED VIEW a TBLPROPERTIES ('{key}' = '{value}') AS SELECT 1 AS x"
        )
        with pytest.raises(error, match=key):
            project.load()


def test_a_table_is_refreshed_by_one_process_at_a_time(counted: Project) -> None:
    pipeline = counted.load()
    with (
        table_lock(counted.workspace.paths, "main.bronze.events"),
        pytest.raises(ConcurrentRefreshError, match=r"main\.bronze\.events"),
    ):
        pipeline.refresh("bronze.events")
    assert pipeline.refresh("bronze.events").rows == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of two megabytes."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


HUGE = """
@dp.materialized_view(name="gold.huge")
def huge():
    rows = 0 if spark.conf.get("raw") == "none" else 1000000
    return spark.range(rows).select(F.xxhash64("id").alias("noise"))
"""


def test_full_disk_under_a_table(counted: Project, small_disk: Path) -> None:
    counted.python(HUGE)
    location = counted.location("gold.huge")
    location.parent.mkdir(parents=True)
    location.symlink_to(small_disk)
    counted.load(raw="none").refresh("gold.huge")
    with pytest.raises(DiskFullError, match="disk is full") as caught:
        counted.load().refresh("gold.huge")
    assert caught.value.location == str(location)
    assert counted.rows("gold.huge") == []
    counted.load(raw="none").refresh("gold.huge")
    assert list(small_disk.rglob("*.parquet")) == []
    assert counted.freshness("gold.huge").reason.startswith("configuration raw changed")


def test_full_disk_under_the_project(small_disk: Path) -> None:
    project = Project(small_disk)
    project.python(HUGE)
    try:
        project.load(raw="none").refresh("gold.huge")
        (small_disk / "ballast").write_bytes(
            b"x" * (shutil.disk_usage(small_disk).free - 64 * 1024)
        )
        with pytest.raises(DiskFullError, match="disk is full"):
            project.load().refresh("gold.huge")
        assert project.rows("gold.huge") == []
        (small_disk / "ballast").unlink()
        project.load(raw="none").refresh("gold.huge")
        assert not project.load(raw="none").freshness("gold.huge").stale
    finally:
        project.workspace.close()


def test_query_may_look_at_columns_of_a_temporary_view(events: Project) -> None:
    events.python("""
        @dp.temporary_view
        def some():
            return spark.table("bronze.events").where("id > 1")

        @dp.materialized_view(name="gold.wide")
        def wide():
            frame = spark.table("some")
            return frame.select(*[F.col(name).alias(f"{name}_x") for name in frame.columns])
    """)
    events.run()
    assert events.rows("gold.wide") == [(2, 2.0), (3, 3.0)]
    assert events.run() == {}
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    events.run()
    assert events.rows("gold.wide") == [(2, 2.0), (3, 3.0), (4, 4.0)]
    assert events.workspace.spark().catalog.listTables() == []


def test_query_that_looks_at_columns_of_no_table(events: Project) -> None:
    events.python("""
        @dp.materialized_view(name="gold.wide")
        def wide():
            return spark.table("bronze.event").select(*spark.table("bronze.event").columns)
    """)
    with pytest.raises(UnknownTableError, match=r"bronze\.event,") as caught:
        events.load()
    assert str(caught.value.location) == "transformations/tables.py:6"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("NULL AS x", "of type void"),
        ("struct(array(NULL) AS a) AS x", "of type void"),
        ("INTERVAL 1 DAY AS x", "of type interval"),
        ("1 AS a, 2 AS A", "two columns of one name"),
        ("count(*)", "cannot have a column"),
    ],
)
def test_columns_that_delta_does_not_hold(project: Project, query: str, message: str) -> None:
    project.sql(f"CREATE MATERIALIZED VIEW a AS SELECT {query}")
    with pytest.raises(DefinitionError, match=message) as caught:
        project.run()
    assert str(caught.value.location) == "transformations/tables.sql:1"
    assert not lakehouse.exists(project.location("default.a"))


def test_files_that_cannot_be_listed(project: Project) -> None:
    project.python("""
        @dp.table(name="bronze.events")
        def events():
            return spark.readStream.format("parquet").schema("id bigint").load("s3://bucket/raw")
    """)
    with pytest.raises(UnsupportedDefinitionError, match="s3://bucket/raw"):
        project.run()


def test_broken_link_among_raw_files(project: Project) -> None:
    project.python("""
        @dp.table(name="bronze.events")
        def events():
            return spark.readStream.format("parquet").schema("id bigint").load("raw")
    """)
    project.parquet("raw/1.parquet", id=[1])
    (project.root / "raw/2.parquet").symlink_to("nowhere")
    project.run()
    assert project.rows("bronze.events") == [(1,)]
