"""The template and the examples load under Apache Spark's own pipelines.

Spark's Connect server resolves a few relations as soon as it gets them, at which time the tables
of the pipeline do not exist yet. Measured with Apache Spark 4.2; on Headrace they work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.pipelines.graph_element_registry import GraphElementRegistry

from headrace.pipeline.spec import load_spec, pipelines_cli, quiet

if TYPE_CHECKING:
    from pyspark.pipelines.flow import Flow
    from pyspark.sql.connect.session import SparkSession

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = {
    "device-health": ROOT / "src/headrace/project/templates/device-health",
    "machine_failure": ROOT / "examples/machine_failure",
    "turbofan": ROOT / "examples/turbofan",
}
# DataFrame.drop, .distinct and .dropDuplicates, .fillna, .dropna, .replace, .withWatermark
RESOLVED_AT_ONCE = ("drop", "deduplicate", "fill_na", "drop_na", "replace", "with_watermark")


class Flows(GraphElementRegistry):  # type: ignore[misc]
    """Keeps the flows of Python files and the text of SQL files."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.sql: list[str] = []

    def register_output(self, output: Any) -> None:
        """Outputs have no plan."""

    def register_auto_cdc_flow(self, flow: Any) -> None:
        raise NotImplementedError

    def register_flow(self, flow: Flow) -> None:
        self.flows.append(flow)

    def register_sql(self, sql_text: str, file_path: Path) -> None:
        self.sql.append(sql_text)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    from pysail.spark import SparkConnectServer
    from pyspark.sql.connect.session import SparkSession

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
    yield session
    session.stop()
    server.stop()


@pytest.mark.parametrize("name", PROJECTS)
def test_no_relation_needs_a_table_before_it_is_made(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = PROJECTS[name] / "spark-pipeline.yml"
    spec = load_spec(path)
    for key, value in spec.configuration.items():
        spark.conf.set(key, value)
    registry, cli = Flows(), pipelines_cli()
    with quiet(cli):
        cli.register_definitions(path, registry, spec, spark, "graph")
    assert registry.flows

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a flow asks for the columns of a table that is not made yet")

    monkeypatch.setattr(type(spark.client), "_analyze", refuse)
    for flow in registry.flows:
        plan = str(flow.func()._plan.to_proto(spark.client))
        found = [kind for kind in RESOLVED_AT_ONCE if re.search(rf"^\s*{kind} {{", plan, re.M)]
        assert not found, f"{flow.target} uses {found}: write it with select, groupBy or SQL"


@pytest.mark.parametrize("kind", ["drop", "distinct", "dropDuplicates", "fillna", "dropna"])
def test_such_relations_are_found_by_these_names(spark: SparkSession, kind: str) -> None:
    arguments = {"drop": ("x",), "fillna": (0,)}.get(kind, ())
    frame = getattr(spark.read.table("nowhere"), kind)(*arguments)
    plan = str(frame._plan.to_proto(spark.client))
    assert [word for word in RESOLVED_AT_ONCE if re.search(rf"^\s*{word} {{", plan, re.M)]
