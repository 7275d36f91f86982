"""Loading definition files: what they declare, and every way in which they can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace.pipeline.elements import Location
from headrace.pipeline.errors import (
    CycleError,
    DefinitionError,
    DuplicateDefinitionError,
    SpecError,
    UnknownTableError,
    UnknownTargetError,
    UnsupportedDefinitionError,
)
from headrace.pipeline.spec import load_spec, pipelines_cli

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Project

VIEW = "@dp.materialized_view\ndef {name}():\n    return spark.table('{reads}')\n"


def views(project: Project, **reads: str) -> None:
    """One materialized view for each name, which reads another."""
    project.python("".join(VIEW.format(name=name, reads=other) for name, other in reads.items()))


class TestGraph:
    def test_what_is_declared(self, events: Project) -> None:
        events.python("""
            @dp.temporary_view(comment="Large ones")
            def large():
                return spark.table("bronze.events").where("value > 1")

            @dp.materialized_view(name="gold.counts", comment="How many", partition_cols=["id"])
            def counts():
                return spark.table("large").join(spark.read.parquet("raw/names"), "id")
        """)
        events.sql(
            "CREATE MATERIALIZED VIEW gold.sql COMMENT 'In SQL' AS SELECT * FROM gold.counts"
        )
        datasets = events.load().datasets
        assert {name: dataset.kind for name, dataset in datasets.items()} == {
            "main.bronze.events": "streaming_table",
            "large": "temporary_view",
            "main.gold.counts": "materialized_view",
            "main.gold.sql": "materialized_view",
        }
        counts = datasets["main.gold.counts"]
        assert counts.location == Location("transformations/tables.py", 8)
        assert counts.inputs == (str(events.root / "raw/names"), "large")
        assert counts.output.partition_by == ("id",)
        assert datasets["main.gold.sql"].location == Location("transformations/tables.sql", 1)
        assert datasets["main.gold.sql"].inputs == ("main.gold.counts",)
        assert datasets["main.gold.sql"].output.comment == "In SQL"

    def test_order_of_thirty_datasets(self, project: Project) -> None:
        # Written last first: table k reads k-1 and k-7.
        lines = []
        for number in range(29, -1, -1):
            reads = [
                f"spark.table('t{other:02}')" for other in (number - 1, number - 7) if other >= 0
            ]
            body = ".union(".join(reads or ["spark.range(1)"]) + ")" * (len(reads) - 1)
            lines.append(f"@dp.materialized_view\ndef t{number:02}():\n    return {body}\n")
        project.python("".join(lines))
        order = project.load().order()
        assert order == [f"main.default.t{number:02}" for number in range(30)]

    def test_independent_tables_keep_the_order_of_the_files(self, project: Project) -> None:
        names = ["zeta", "alpha", "mid"]
        project.python("".join(VIEW.format(name=n, reads="base") for n in names), "b")
        project.python("@dp.materialized_view\ndef base():\n    return spark.range(1)", "c")
        order = project.load().order()
        assert [name.rpartition(".")[2] for name in order] == ["base", *names]

    def test_subqueries_and_common_table_expressions(self, events: Project) -> None:
        events.sql("""
            CREATE MATERIALIZED VIEW gold.a AS
              WITH bronze AS (SELECT * FROM bronze.events)
              SELECT * FROM bronze WHERE id IN (SELECT max(id) FROM gold.b);
            CREATE MATERIALIZED VIEW gold.b AS SELECT id FROM bronze.events;
        """)
        pipeline = events.load()
        assert pipeline.datasets["main.gold.a"].inputs == ("main.bronze.events", "main.gold.b")
        assert pipeline.order() == ["main.bronze.events", "main.gold.b", "main.gold.a"]

    def test_catalog_views_are_followed(self, events: Project) -> None:
        events.workspace.spark().range(3).write.saveAsTable("lab.numbers")
        events.workspace.catalog.create_view("lab.view", "SELECT * FROM lab.numbers")
        views(events, copy="lab.view")
        assert events.load().datasets["main.default.copy"].inputs == ("main.lab.numbers",)

    def test_loading_runs_no_query_and_writes_nothing(self, events: Project) -> None:
        events.load()
        assert events.workspace.lineage.operations() == []
        assert list((events.root / "warehouse").iterdir()) == []

    def test_loading_prints_nothing(
        self, events: Project, capfd: pytest.CaptureFixture[str]
    ) -> None:
        events.load()
        assert capfd.readouterr() == ("", "")


class TestUnknownTables:
    def test_python(self, events: Project) -> None:
        views(events, counts="bronze.event")
        with pytest.raises(UnknownTableError, match=r"main\.default\.counts reads") as caught:
            events.load()
        assert caught.value.location == Location("transformations/tables.py", 3)
        assert 'did you mean "main.bronze.events"?' in str(caught.value)

    def test_sql(self, events: Project) -> None:
        events.sql(
            "-- two lines\n\nCREATE MATERIALIZED VIEW a AS SELECT * FROM bronze.events, nope"
        )
        with pytest.raises(UnknownTableError, match=r"main\.default\.nope") as caught:
            events.load()
        assert caught.value.location == Location("transformations/tables.sql", 3)


class TestCycles:
    def test_three_tables(self, project: Project) -> None:
        views(project, a="c", b="a", c="b")
        with pytest.raises(CycleError) as caught:
            project.load()
        chain = [name.rpartition(".")[2] for name, _ in caught.value.chain]
        assert chain in (list("abca"), list("bcab"), list("cabc"))
        for line in (3, 6, 9):
            assert f"transformations/tables.py:{line}" in str(caught.value)

    def test_itself(self, project: Project) -> None:
        views(project, a="a")
        with pytest.raises(CycleError, match=r"main\.default\.a -> main\.default\.a"):
            project.load()

    def test_through_a_temporary_view_and_sql(self, project: Project) -> None:
        project.python("@dp.temporary_view\ndef v():\n    return spark.table('t')")
        project.sql("CREATE MATERIALIZED VIEW t AS SELECT * FROM v")
        with pytest.raises(CycleError, match="has a cycle") as caught:
            project.load()
        assert "tables.sql:1" in str(caught.value)


class TestRefused:
    def test_duplicate_dataset(self, project: Project) -> None:
        project.python("@dp.materialized_view\ndef a():\n    return spark.range(1)")
        project.sql("CREATE MATERIALIZED VIEW main.default.a AS SELECT 1 AS x")
        with pytest.raises(DuplicateDefinitionError, match=r"main\.default\.a is defined twice"):
            project.load()

    def test_duplicate_flow(self, project: Project) -> None:
        project.sql("""
            CREATE STREAMING TABLE a;
            CREATE FLOW f AS INSERT INTO a BY NAME SELECT * FROM STREAM b;
            CREATE FLOW f AS INSERT INTO a BY NAME SELECT * FROM STREAM c;
        """)
        with pytest.raises(DuplicateDefinitionError, match="flow f") as caught:
            project.load()
        assert (caught.value.first.line, caught.value.second.line) == (3, 4)

    def test_flow_into_nothing(self, events: Project) -> None:
        events.python("""
            @dp.append_flow(target="bronze.event")
            def more():
                return spark.readStream.table("bronze.events")
        """)
        with pytest.raises(UnknownTargetError, match=r"bronze\.event,") as caught:
            events.load()
        assert "did you mean" in str(caught.value)

    def test_second_flow_into_a_view(self, project: Project) -> None:
        project.python("""
            @dp.materialized_view
            def a():
                return spark.range(1)

            @dp.append_flow(target="a", name="other")
            def b():
                return spark.range(1)
        """)
        with pytest.raises(DefinitionError, match="only a streaming table"):
            project.load()

    def test_streaming_table_without_flow(self, project: Project) -> None:
        project.python('dp.create_streaming_table("bronze.events")')
        with pytest.raises(DefinitionError, match="has no flow"):
            project.load()

    def test_sink(self, project: Project) -> None:
        project.python('dp.create_sink("out", "parquet")')
        with pytest.raises(UnsupportedDefinitionError, match="Sink out") as caught:
            project.load()
        assert caught.value.location == Location("transformations/tables.py", 3)

    def test_auto_cdc(self, project: Project) -> None:
        project.python("""
            dp.create_streaming_table("a")
            dp.create_auto_cdc_flow(target="a", source="b", keys=["id"], sequence_by="at")
        """)
        with pytest.raises(UnsupportedDefinitionError, match="Auto CDC") as caught:
            project.load()
        assert caught.value.location.line == 5

    def test_format(self, project: Project) -> None:
        project.python('dp.create_streaming_table("a", format="parquet")')
        with pytest.raises(UnsupportedDefinitionError, match="parquet"):
            project.load()

    def test_cluster_by(self, project: Project) -> None:
        project.python('dp.create_streaming_table("a", cluster_by=["id"])')
        with pytest.raises(UnsupportedDefinitionError, match="cluster_by"):
            project.load()


class TestBrokenFiles:
    def test_syntax_error(self, project: Project) -> None:
        project.python("def broken(:\n    pass")
        with pytest.raises(DefinitionError, match="failed while it was imported") as caught:
            project.load()
        assert caught.value.location == Location("transformations/tables.py", 3)

    def test_exception_at_import(self, project: Project) -> None:
        project.python("x = 1\ny = x / 0")
        with pytest.raises(DefinitionError, match="ZeroDivisionError") as caught:
            project.load()
        assert caught.value.location == Location("transformations/tables.py", 4)

    def test_exception_in_a_helper(self, project: Project) -> None:
        project.write("helper.py", "def f():\n    return {}['x']\n")
        project.python("import helper\nhelper.f()")
        with pytest.raises(DefinitionError, match="KeyError") as caught:
            project.load()
        assert caught.value.location == Location("helper.py", 2)

    def test_session_change_at_import(self, project: Project) -> None:
        project.python('spark.conf.set("a", "b")')
        with pytest.raises(DefinitionError) as caught:
            project.load()
        assert caught.value.location == Location("transformations/tables.py", 3)

    def test_missing_configuration(self, project: Project) -> None:
        project.python('spark.conf.get("no.such.key")')
        with pytest.raises(DefinitionError, match=r"no\.such\.key") as caught:
            project.load()
        assert caught.value.location.line == 3

    def test_other_kinds_of_files(self, project: Project) -> None:
        project.write("transformations/notes.txt", "hello")
        with pytest.raises(DefinitionError, match=r"notes\.txt"):
            project.load()


class TestConfiguration:
    def test_overrides(self, project: Project) -> None:
        project.python("""
            raw, other = spark.conf.get("raw"), spark.conf.get("other")

            @dp.materialized_view
            def a():
                return spark.range(1).select(F.lit(f"{raw} {other}").alias("text"))
        """)
        pipeline = project.load(raw="elsewhere", other="x")
        pipeline.refresh("a")
        assert project.rows("default.a") == [("elsewhere x",)]

    def test_sql(self, project: Project) -> None:
        project.sql("SET word = two; CREATE MATERIALIZED VIEW a AS SELECT '${raw} ${word}' AS text")
        project.load(raw="one").refresh("a")
        assert project.rows("default.a") == [("one two",)]


class TestSpec:
    @pytest.mark.parametrize(
        ("text", "message", "line"),
        [
            ("", "empty", None),
            ("- a", "not a mapping", None),
            ("name: a\nstorage: b\n  bad: [", "not YAML", 3),
            ("name: a", "storage", None),
            ("name: a\nstorage: b\nnope: c", "nope", None),
            ("name: a\nstorage: b\nlibraries: x", "must be a list", None),
            ("name: a\nstorage: b\nlibraries: [{file: x}]", "glob", None),
            ("name: a\nstorage: b\nlibraries: [{glob: {include: 'a/**/b.py'}}]", r"a/\*\*/b", None),
            ("name: a\nstorage: b\nconfiguration: {a: 1}", "configuration", None),
        ],
    )
    def test_bad_spec(self, tmp_path: Path, text: str, message: str, line: int | None) -> None:
        path = tmp_path / "spark-pipeline.yml"
        path.write_text(text)
        with pytest.raises(SpecError, match=message) as caught:
            load_spec(path)
        assert caught.value.line == line
        assert str(path) in str(caught.value)

    def test_missing_spec(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="no such file"):
            load_spec(tmp_path / "spark-pipeline.yml")


def test_the_same_files_pass_pysparks_own_loader(events: Project) -> None:
    """PySpark's loader and a registry that only writes down what it is given."""
    from pyspark.pipelines.graph_element_registry import GraphElementRegistry

    class Plain(GraphElementRegistry):  # type: ignore[misc]
        def __init__(self) -> None:
            self.found: list[Any] = []

        def register_output(self, output: Any) -> None:
            self.found.append(output.name)

        def register_flow(self, flow: Any) -> None:
            self.found.append((flow.name, flow.target))

        def register_auto_cdc_flow(self, flow: Any) -> None:
            raise NotImplementedError

        def register_sql(self, sql_text: str, file_path: Path) -> None:
            self.found.append(file_path.name)

    events.python(VIEW.format(name="counts", reads="bronze.events"))
    events.sql("CREATE MATERIALIZED VIEW gold.sql AS SELECT * FROM counts")
    events.load()
    cli = pipelines_cli()
    path = events.root / "spark-pipeline.yml"
    registry, spark = Plain(), events.workspace.spark()
    spark.conf.set("raw", "raw")
    cli.register_definitions(path, registry, cli.load_pipeline_spec(path), spark, "graph")
    spark.conf.unset("raw")
    assert sorted(registry.found, key=str) == [
        ("bronze.events", "bronze.events"),
        ("counts", "counts"),
        "bronze.events",
        "counts",
        "tables.sql",
    ]
