"""Where the columns of refreshed tables come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Project

DEFINITIONS = """
    @dp.table(name="bronze.events")
    def events():
        return spark.readStream.schema("id bigint, value double, kind string").parquet("raw")


    @dp.table(name="silver.clean", partition_cols=["kind"])
    def clean():
        return spark.readStream.table("bronze.events").withColumn("twice", F.col("value") * 2)


    @dp.materialized_view(name="gold.totals")
    def totals():
        return spark.table("silver.clean").groupBy("kind").agg(F.sum("twice").alias("total"))
"""


def flows(project: Project, table: str) -> dict[str, set[str]]:
    """Of the newest refresh: origins of each column, ``*`` for the rows, ``~`` where indirect."""
    operation = project.workspace.lineage.operations(subject=f"main.{table}", limit=1)[0]
    found: dict[str, set[str]] = {}
    for flow in operation.flows:
        source = operation.reads[flow.source].name.rpartition("/")[2].rpartition(".")[2]
        text = f"{source}.{flow.source_column or '*'}{'' if flow.how == 'direct' else '~'}"
        found.setdefault(flow.column or "*", set()).add(text)
    return found


def test_streams_views_and_conditions(project: Project) -> None:
    project.python(DEFINITIONS)
    project.parquet("raw/1.parquet", id=[1, 2], value=[1.0, -2.0], kind=["a", "b"])
    expected = {
        "*": {"events.*", "events.value~"},
        "id": {"events.id"},
        "value": {"events.value"},
        "kind": {"events.kind"},
        "twice": {"events.value"},
    }
    names = ("bronze.events", "silver.clean", "gold.totals")
    conditions = {"silver.clean": {"drop": {"positive": "twice > 0"}}}
    pipeline = project.load(conditions)
    for name in names:
        pipeline.refresh(name)
    assert flows(project, "bronze.events") == {
        "*": {"raw.*"},
        "id": {"raw.id"},
        "value": {"raw.value"},
        "kind": {"raw.kind"},
    }
    assert flows(project, "silver.clean") == expected
    assert flows(project, "gold.totals") == {
        "*": {"clean.*", "clean.kind~"},
        "kind": {"clean.kind"},
        "total": {"clean.twice"},
    }
    # An increment reads data files of the partitions, and says the same.
    project.parquet("raw/2.parquet", id=[3, 4], value=[3.0, 4.0], kind=["a", "c"])
    for name in names:
        pipeline.refresh(name)
    assert flows(project, "silver.clean") == expected
