"""Random tables with random pins: what is pinned reads back row for row, and nothing else stays."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import clock, lakehouse, pins
from headrace.catalog import Access
from headrace.lakehouse import VersionNotFoundError
from headrace.maintenance import MaintenanceSpec, maintain

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.workspace import Workspace

OPERATIONS = ["append", "append", "overwrite", "merge", "delete", "update", "compact", "checkpoint"]

Rows = list[tuple[int, int]]


class Table:
    """A table that is changed at random, and what each of its versions held."""

    def __init__(self, location: str, spark: SparkSession, vectors: bool) -> None:
        self.location, self._spark, self._vectors = location, spark, vectors
        self._next = 0
        self.versions: dict[int, Rows] = {}
        self._write("overwrite", 4)

    def do(self, operation: str) -> None:
        sql: dict[str, Callable[[], str]] = {
            "delete": lambda: f"DELETE FROM {self.name} WHERE id % 3 = {self._next % 3}",
            "update": lambda: f"UPDATE {self.name} SET value = value + 1 WHERE id % 2 = 0",
            "merge": lambda: (
                f"MERGE INTO {self.name} t USING (SELECT {self._next // 2} AS id, -1 AS value) s "
                "ON t.id = s.id WHEN MATCHED THEN UPDATE SET value = s.value "
                "WHEN NOT MATCHED THEN INSERT *"
            ),
        }
        if operation in sql:
            self._spark.sql(sql[operation]()).collect()
        elif operation == "compact":
            lakehouse.compact(self.location)
        elif operation == "checkpoint":
            lakehouse.checkpoint(self.location)
        else:
            self._write(operation, 3)
        self.note()

    @property
    def name(self) -> str:
        return f"delta.`{self.location}`"

    def note(self) -> None:
        """Remember what the newest version holds, by the reader that did not write it."""
        version = lakehouse.latest_version(self.location)
        assert version is not None
        if version not in self.versions:
            self.versions[version] = self.by_sail(version)

    def by_delta_rs(self, version: int) -> Rows:
        found = lakehouse.read(self.location, version)
        return sorted(zip(*(found.column(c).to_pylist() for c in ("id", "value")), strict=True))

    def by_sail(self, version: int) -> Rows:
        reader = self._spark.read.format("delta").option("versionAsOf", version)
        return sorted((row.id, row.value) for row in reader.load(self.location).collect())

    def _write(self, mode: str, count: int) -> None:
        first, self._next = self._next, self._next + count
        numbers = list(range(first, first + count))
        types = pa.schema([("id", pa.int64()), ("value", pa.int64())])
        frame: Any = self._spark.createDataFrame(
            pa.table({"id": numbers, "value": numbers}, types).to_pandas()
        )
        writer = frame.write.format("delta").mode(mode)
        if self._vectors and not self.versions:
            writer = writer.option("delta.enableDeletionVectors", "true")
        writer.save(self.location)
        self.note()


@pytest.mark.parametrize("vectors", [False, True], ids=["copies", "deletion vectors"])
def test_pinned_versions_read_back_and_nothing_else_stays(
    workspace: Workspace, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, vectors: bool
) -> None:
    made = iter(range(1_000_000))
    now = datetime.now(UTC)

    @settings(
        max_examples=12,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        database=None,
    )
    @given(
        operations=st.lists(st.sampled_from(OPERATIONS), min_size=3, max_size=14),
        choice=st.randoms(use_true_random=False),
        rounds=st.integers(1, 2),
    )
    def check(operations: list[str], choice: random.Random, rounds: int) -> None:
        name = f"main.gold.t{next(made)}"
        location = str(workspace.catalog.create_table(name).location)
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(clock, "now", lambda: now)
        table = Table(location, spark, vectors)
        pinned: set[int] = set()
        for each in range(rounds):
            for operation in operations:
                table.do(operation)
            known = sorted(v for v in table.versions if _readable(location, v))
            chosen = choice.sample(known, k=min(len(known), choice.randint(0, 3)))
            _pin(workspace, name, location, each, set(chosen))
            pinned |= set(chosen)
            monkeypatch.setattr(clock, "now", lambda: now + timedelta(days=60))
            (report,) = maintain(workspace, MaintenanceSpec(), [name])
            assert report.state == "done", report.reason
            newest = report.version
            assert newest is not None
            table.note()
            for version in {*pinned, newest}:
                assert table.by_delta_rs(version) == table.versions[version]
                assert table.by_sail(version) == table.versions[version]
            _nothing_else(location, {*pinned, newest})
        assert pins.broken(workspace.store, workspace.catalog) == []

    check()


def _pin(workspace: Workspace, name: str, location: str, round: int, versions: set[int]) -> None:
    table_id = lakehouse.table_id(location)
    needs = [pins.Need(Access("table", name, v), "trained on", table_id) for v in versions]
    with workspace.store.begin() as connection:
        pins.pin(connection, f"model of {name}", round + 1, needs)
    pins.protect(workspace, [name])


def _readable(location: str, version: int) -> bool:
    try:
        lakehouse.check_version(location, version)
    except VersionNotFoundError:
        return False
    return lakehouse.missing(location, [version])[version] == []


def _nothing_else(location: str, kept: set[int]) -> None:
    """Every data file is one that a kept version needs, by delta-rs's account of them."""
    needed = {Path(f.path).name for v in kept for f in lakehouse.files(location, v)}
    there = {Path(name).name for name in lakehouse.data_files(location)}
    assert {name for name in there if name.endswith(".parquet")} == needed
