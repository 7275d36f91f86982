from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from headrace import clock, lakehouse
from headrace.lakehouse import CorruptTableError, TableHeldError, VersionNotFoundError, sweep
from headrace.lakehouse.timeline import timeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from .conftest import MakeRows

WEEK = timedelta(days=7)
MONTH = timedelta(days=30)

Later = Callable[[timedelta], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Moves the clock."""

    def move(by: timedelta) -> None:
        moment = datetime.now(UTC) + by
        monkeypatch.setattr(clock, "now", lambda: moment)

    return move


def swept(location: Path, *keep: int) -> sweep.Sweep:
    """Plan and apply."""
    planned = sweep.plan(location, WEEK, log_retention=MONTH, keep=keep)
    sweep.apply(planned)
    return planned


def names(location: Path) -> set[str]:
    """Data files in the directory."""
    return {path.name for path in location.rglob("*.parquet") if "_delta_log" not in path.parts}


def log(location: Path) -> list[str]:
    """Names in the log, shortened."""
    found = (path.name.lstrip("0") for path in (location / "_delta_log").iterdir())
    return sorted(name for name in found if not name.startswith("_"))


def overwritten(location: Path, make_rows: MakeRows, versions: int) -> None:
    """A table each of whose versions has one file of its own."""
    for version in range(versions):
        lakehouse.write(location, make_rows(5, first=100 * version), mode="overwrite")


def test_kept_versions_keep_their_files_and_a_checkpoint(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    overwritten(location, make_rows, 8)
    lakehouse.checkpoint(location)
    later(timedelta(days=40))
    planned = swept(location, 2, 5)
    assert len(planned.removed) == 5
    assert planned.isolated == (2, 5)
    assert log(location) == [
        "2.checkpoint.parquet", "2.json", "5.checkpoint.parquet", "5.json",
        "7.checkpoint.parquet", "7.json",
    ]  # fmt: skip
    for version in (2, 5, 7):
        assert lakehouse.read(location, version).sort_by("id") == make_rows(5, first=100 * version)
        assert lakehouse.check_version(location, version) == version
    for version in (1, 4, 6):
        with pytest.raises(VersionNotFoundError):
            lakehouse.read(location, version)
    assert lakehouse.version_range(location) == (7, 7)
    assert lakehouse.write(location, make_rows(1)) == 8


def test_a_second_sweep_finds_nothing(location: Path, make_rows: MakeRows, later: Later) -> None:
    overwritten(location, make_rows, 6)
    lakehouse.checkpoint(location)
    later(timedelta(days=40))
    swept(location, 1)
    again = sweep.plan(location, WEEK, log_retention=MONTH, keep=[1])
    assert not again.removed
    assert again.log == ()
    assert again.isolated == ()


def test_a_released_version_goes_with_the_next_sweep(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    overwritten(location, make_rows, 6)
    lakehouse.checkpoint(location)
    later(timedelta(days=40))
    swept(location, 1, 3)
    swept(location, 3)
    assert log(location)[:2] == ["3.checkpoint.parquet", "3.json"]
    assert len(names(location)) == 2
    with pytest.raises(VersionNotFoundError):
        lakehouse.read(location, 1)


def test_files_stay_for_the_retention_and_the_log_for_its_own(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    overwritten(location, make_rows, 4)
    lakehouse.checkpoint(location)
    assert not swept(location).removed
    later(timedelta(days=8))
    planned = swept(location)
    assert len(planned.removed) == 3
    assert planned.log == ()
    assert [commit.version for commit in lakehouse.history(location)] == [3, 2, 1, 0]


def test_what_nobody_names_stays_as_long_as_its_writer_may_be_at_it(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    lakehouse.write(location, make_rows())
    orphan, hidden = location / "orphan.parquet", location / "_staged" / "a.parquet"
    hidden.parent.mkdir()
    for path in (orphan, hidden):
        path.write_bytes(b"left by a killed writer")
    inside = location / "score_1" / "changed" / "part.parquet"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(b"left as well")
    assert not swept(location).removed
    later(timedelta(days=8))
    assert set(swept(location).removed) == {"orphan.parquet", "score_1/changed/part.parquet"}
    assert hidden.exists()
    assert not (location / "score_1").exists()
    assert lakehouse.read(location).num_rows == 10


def test_a_table_inside_another_one_is_not_swept_with_it(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    overwritten(location, make_rows, 2)
    inner = location / "below" / "inner"
    lakehouse.write(inner, make_rows(5))
    later(timedelta(days=40))
    assert len(swept(location).removed) == 1
    assert lakehouse.read(inner).num_rows == 5


def test_costs_tell_shared_bytes_from_exclusive_ones(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    lakehouse.write(location, make_rows(50))  # version 0: a
    lakehouse.write(location, make_rows(5, first=100))  # 1: a b
    lakehouse.write(location, make_rows(1, first=200), mode="overwrite")  # 2: c
    lakehouse.write(location, make_rows(1, first=300))  # 3: c d
    sizes = {version: sum(f.size for f in lakehouse.files(location, version)) for version in (0, 1)}
    later(timedelta(days=40))
    costs = sweep.plan(location, WEEK, keep=[0, 1, 2]).costs
    assert costs[0] == lakehouse.Cost(1, sizes[0], 0)
    assert costs[1] == lakehouse.Cost(2, sizes[1], sizes[1] - sizes[0])
    assert costs[2] == lakehouse.Cost(0, 0, 0)


def test_a_kept_version_that_the_log_lost_stops_the_sweep(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    overwritten(location, make_rows, 5)
    lakehouse.checkpoint(location)
    for version in range(3):
        (location / "_delta_log" / f"{version:020}.json").unlink()
    later(timedelta(days=40))
    planned = sweep.plan(location, WEEK, log_retention=MONTH, keep=[1])
    assert planned.lost == (1,)
    assert not planned.removed
    assert lakehouse.missing(location, [1, 4]) == {1: None, 4: []}
    with pytest.raises(VersionNotFoundError):
        lakehouse.vacuum(location, WEEK, keep=[1])


def test_missing_names_files_that_are_gone_or_cut_short(
    location: Path, make_rows: MakeRows
) -> None:
    overwritten(location, make_rows, 3)
    first, second = (Path(lakehouse.files(location, v)[0].path) for v in (0, 1))
    before = lakehouse.listing_digest(location)
    assert lakehouse.missing(location, [0, 1, 2]) == {0: [], 1: [], 2: []}
    first.unlink()
    second.write_bytes(b"cut")
    assert lakehouse.missing(location, [0, 1, 2]) == {0: [first.name], 1: [second.name], 2: []}
    assert lakehouse.listing_digest(location) != before


def test_a_file_that_is_taken_back_meanwhile_stays(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    from deltalake import DeltaTable

    overwritten(location, make_rows, 3)
    later(timedelta(days=8))
    planned = sweep.plan(location, WEEK)
    assert len(planned.removed) == 2
    DeltaTable(str(location)).restore(1)
    sweep.apply(planned)
    assert lakehouse.read(location).sort_by("id") == make_rows(5, first=100)
    assert len(names(location)) == 2


def test_a_checkpoint_without_the_right_files_stops_before_the_log_goes(
    location: Path, make_rows: MakeRows, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwritten(location, make_rows, 4)
    lakehouse.checkpoint(location)
    later(timedelta(days=40))
    planned = sweep.plan(location, WEEK, log_retention=MONTH, keep=[1])
    monkeypatch.setattr(sweep, "read_checkpoint", lambda *_: iter(()))
    with pytest.raises(CorruptTableError, match="checkpoint of version 1"):
        sweep.apply(planned)
    assert lakehouse.read(location, 0).num_rows == 5


def test_deletion_vectors_belong_to_their_versions(
    tmp_path: Path, spark: SparkSession, later: Later
) -> None:
    location = tmp_path / "vectors"
    spark.range(100).repartition(2).write.format("delta").option(
        "delta.enableDeletionVectors", "true"
    ).save(str(location))
    for remainder in (3, 5, 7):
        spark.sql(f"DELETE FROM delta.`{location}` WHERE id % {remainder} = 0").collect()
    expected = {v: lakehouse.row_count(location, v) for v in range(4)}
    lakehouse.compact(location)
    lakehouse.checkpoint(location)
    vectors = len(list(location.rglob("*.bin")))
    later(timedelta(days=40))
    planned = swept(location, 2)
    gone = [name for name in planned.removed if name.endswith(".bin")]
    assert 0 < len(gone) < vectors
    reader = spark.read.format("delta")
    for version in (2, 4):
        count = expected.get(version, expected[3])
        assert lakehouse.read(location, version).num_rows == count
        assert reader.option("versionAsOf", version).load(str(location)).count() == count
    assert timeline(location).ranges == [(0, 4)]
    lakehouse.write(location, pa.table({"id": [1]}))
    lakehouse.checkpoint(location)
    swept(location, 2)
    assert timeline(location).ranges == [(2, 2), (5, 5)]
    assert reader.option("versionAsOf", 2).load(str(location)).count() == expected[2]
    assert lakehouse.read(location, 2).num_rows == expected[2]


def test_sail_reads_old_versions_of_a_table_with_a_checkpoint(
    tmp_path: Path, make_rows: MakeRows, spark: SparkSession
) -> None:
    from deltalake import DeltaTable

    location = tmp_path / "table"
    for number in range(6):
        lakehouse.write(location, make_rows(1, first=number))
    lakehouse.checkpoint(location)
    reader = spark.read.format("delta")
    assert reader.option("versionAsOf", 3).load(str(location)).count() == 4
    lakehouse.write(location, make_rows(1, first=6))
    DeltaTable(str(location)).create_checkpoint()
    lakehouse.forget_hint(location, 6)
    assert (location / "_delta_log" / "_last_checkpoint").exists()
    lakehouse.forget_hint(location, 3)
    assert reader.option("versionAsOf", 3).load(str(location)).count() == 4


def test_a_held_table_is_safe_from_vacuums_of_others(
    location: Path, make_rows: MakeRows, later: Later
) -> None:
    from deltalake import DeltaTable

    overwritten(location, make_rows, 3)
    lakehouse.set_properties(location, {"delta.logRetentionDuration": "interval 3 days"})
    assert not lakehouse.is_held(location)
    lakehouse.hold(location)
    assert lakehouse.is_held(location)
    version = lakehouse.latest_version(location)
    assert lakehouse.hold(location) == version
    with pytest.raises(TableHeldError):
        lakehouse.vacuum(location, MONTH)
    # Weeks later, by its own clock: the age of the log is what others go by.
    age(location, days=60)
    table = DeltaTable(str(location))
    assert table.vacuum(dry_run=False, full=True) == []
    table.create_checkpoint()
    table.cleanup_metadata()
    for kept in range(3):
        assert lakehouse.read(location, kept).num_rows == 5
    lakehouse.set_properties(
        location, {"delta.deletedFileRetentionDuration": "interval 2 days", "a.b": "c"}
    )
    assert lakehouse.is_held(location)
    lakehouse.let_go(location)
    properties = DeltaTable(str(location)).metadata().configuration
    assert properties["delta.logRetentionDuration"] == "interval 3 days"
    assert properties["delta.deletedFileRetentionDuration"] == "interval 2 days"
    assert properties["delta.enableExpiredLogCleanup"] == "true"
    assert properties["a.b"] == "c"
    assert not lakehouse.is_held(location)
    assert len(DeltaTable(str(location)).vacuum(dry_run=False)) == 2


def test_small_files_count_by_partition(tmp_path: Path) -> None:
    rows = pa.table({"part": [f"p{number % 3}" for number in range(6)], "id": list(range(6))})
    for times in range(1, 10):
        lakehouse.write(tmp_path, rows, partition_by=["part"])
        assert lakehouse.small_files(tmp_path) == (3 * times if times >= 8 else 0)
    assert lakehouse.small_files(tmp_path, target_bytes=100) == 0


def test_upkeep_is_no_change(location: Path, make_rows: MakeRows) -> None:
    for number in range(3):
        lakehouse.write(location, make_rows(5, first=5 * number))
    assert lakehouse.last_change(location).version == 2
    lakehouse.compact(location)
    lakehouse.hold(location)
    assert lakehouse.latest_version(location) == 4
    assert lakehouse.last_change(location).version == 2
    lakehouse.write(location, pa.table(make_rows(1, first=99)))
    assert lakehouse.last_change(location).version == 5


def age(location: Path, days: int) -> None:
    """Let everything in the table have happened so many days ago."""
    shift = days * 86_400_000
    for commit in (location / "_delta_log").glob("*.json"):
        lines = []
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            for kind, key in (
                ("commitInfo", "timestamp"),
                ("add", "modificationTime"),
                ("remove", "deletionTimestamp"),
            ):
                if kind in action:
                    action[kind][key] -= shift
            lines.append(json.dumps(action))
        commit.write_text("\n".join(lines))
    for file in location.rglob("*"):
        if file.is_file():
            moment = file.stat().st_mtime - shift / 1000
            os.utime(file, (moment, moment))
