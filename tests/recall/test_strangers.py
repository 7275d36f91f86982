"""Commits that nobody recorded, tables that came again, and projects that moved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyarrow import parquet

from headrace.recall import find
from headrace.recall.found import ReachedTable, Versions
from headrace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Lab:
    """A project with one bad raw file."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        (root / "headrace.yaml").write_text("name: strangers\n")
        self.root = root
        for name in ("bad", "good"):
            path = root / "raw" / f"{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            parquet.write_table(pa.table({"id": [len(name)], "a": [name]}), path)

    @property
    def workspace(self) -> Workspace:
        return open_workspace(self.root)

    @property
    def spark(self) -> SparkSession:
        return self.workspace.spark()

    def write(self, name: str, table: str, mode: str = "overwrite") -> None:
        frame = self.spark.read.parquet(str(self.root / "raw" / f"{name}.parquet"))
        frame.write.mode(mode).saveAsTable(table)

    def location(self, table: str) -> str:
        return str(self.workspace.catalog.resolve(table).location)

    def reached(self, table: str) -> ReachedTable | None:
        return find(self.workspace, str(self.root / "raw" / "bad.parquet")).table(f"main.{table}")


def _ranges(table: ReachedTable | None) -> list[tuple[str, str]]:
    return [] if table is None else [(str(each), each.certainty) for each in table.versions]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab")
    yield made
    made.workspace.close()


def test_a_restore_brings_rows_back(lab: Lab) -> None:
    lab.write("bad", "silver.t")
    lab.write("good", "silver.t")
    assert _ranges(lab.reached("silver.t")) == [("0", "certain")]
    DeltaTable(lab.location("silver.t")).restore(0)
    assert _ranges(lab.reached("silver.t")) == [("0", "certain"), ("2-", "certain")]
    DeltaTable(lab.location("silver.t")).restore(1)
    assert _ranges(lab.reached("silver.t")) == [("0", "certain"), ("2", "certain")]


def test_what_others_wrote_over_it_can_hold_it(lab: Lab) -> None:
    lab.write("bad", "silver.t")
    location = lab.location("silver.t")
    rows = DeltaTable(location).to_pyarrow_table()
    write_deltalake(location, rows, mode="append")
    assert _ranges(lab.reached("silver.t")) == [("0-", "certain")]
    write_deltalake(location, rows, mode="overwrite")
    lab.spark.table("silver.t").write.saveAsTable("gold.t")
    assert _ranges(lab.reached("silver.t")) == [("0-1", "certain"), ("2-", "possible")]
    assert _ranges(lab.reached("gold.t")) == [("0-", "possible")]


def test_a_table_of_the_same_name_and_place_is_another_one(lab: Lab) -> None:
    lab.write("bad", "silver.t")
    lab.spark.table("silver.t").write.saveAsTable("gold.before")
    lab.spark.sql("DROP TABLE silver.t")
    lab.write("good", "silver.t")
    lab.spark.table("silver.t").write.saveAsTable("gold.after")
    found = find(lab.workspace, str(lab.root / "raw" / "bad.parquet"))
    states = [(each.name, each.state, each.holds_now) for each in found.tables]
    assert states == [
        ("main.gold.before", "holds", "certain"),
        ("main.silver.t", "dropped", None),
    ]


def test_a_table_under_another_name_is_the_same_one(lab: Lab) -> None:
    place = lab.root / "elsewhere"
    frame = lab.spark.read.parquet(str(lab.root / "raw" / "bad.parquet"))
    frame.write.format("delta").save(str(place))
    lab.spark.sql(f"CREATE TABLE silver.named USING delta LOCATION '{place}'")
    lab.spark.table("silver.named").write.saveAsTable("gold.t")
    assert _ranges(lab.reached("gold.t")) == [("0-", "certain")]
    assert _ranges(lab.reached("silver.named")) == [("0-", "certain")]


def test_a_project_that_was_moved_keeps_what_it_knows(lab: Lab, tmp_path: Path) -> None:
    lab.write("bad", "silver.t")
    lab.workspace.close()
    moved = tmp_path / "moved"
    shutil.move(lab.root, moved)
    workspace = open_workspace(moved)
    workspace.spark().table("silver.t").write.saveAsTable("gold.t")
    found = find(workspace, str(lab.root / "raw" / "bad.parquet"))
    assert {each.name for each in found.tables} == {"main.silver.t", "main.gold.t"}
    workspace.close()
    shutil.move(moved, lab.root)


def test_files_that_were_written_over(lab: Lab) -> None:
    out = str(lab.root / "out")
    read: Callable[[str], None] = lambda table: (  # noqa: E731
        lab.spark.read.parquet(out).write.saveAsTable(table)
    )
    for name, table in (("bad", "gold.first"), ("good", "gold.second")):
        frame = lab.spark.read.parquet(str(lab.root / "raw" / f"{name}.parquet"))
        frame.write.mode("overwrite").parquet(out)
        read(table)
    assert _ranges(lab.reached("gold.first")) == [("0-", "certain")]
    assert lab.reached("gold.second") is None


def test_a_table_version_begins_there(lab: Lab) -> None:
    lab.write("good", "silver.t")
    lab.write("bad", "silver.t", "append")
    lab.spark.read.option("versionAsOf", 0).table("silver.t").write.saveAsTable("gold.zero")
    lab.spark.table("silver.t").write.saveAsTable("gold.one")
    found = find(lab.workspace, "silver.t@1")
    assert {each.name for each in found.tables} == {"main.silver.t", "main.gold.one"}
    both = find(lab.workspace, "silver.t@0")
    assert {each.name for each in both.tables} == {
        "main.silver.t", "main.gold.zero", "main.gold.one",
    }  # fmt: skip
    column = find(lab.workspace, "silver.t@1.a").table("main.gold.one")
    assert column is not None
    assert column.versions == (Versions(0, None, "certain", ("a",)),)
