from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pydantic import ValidationError

from headrace import lakehouse, pins
from headrace.catalog import TableNotFoundError
from headrace.locks import exclusive
from headrace.maintenance import (
    MaintenanceSpec,
    NothingToMaintainError,
    PinCost,
    TableReport,
    maintain,
)
from headrace.pipeline import store as refreshes
from headrace.requestlog.store import request_counts

if TYPE_CHECKING:
    from headrace.workspace import Workspace

    from .conftest import Later, MakeTable, PinIt

SPEC = MaintenanceSpec()
LONG = timedelta(days=40)


def ids(location: str, version: int | None = None) -> list[int]:
    return sorted(lakehouse.read(location, version).column("id").to_pylist())


def only(workspace: Workspace, spec: MaintenanceSpec = SPEC, dry_run: bool = False) -> TableReport:
    (report,) = maintain(workspace, spec, dry_run=dry_run)
    return report


def test_pinned_versions_stay_and_the_rest_goes(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, later: Later
) -> None:
    location = make_table(versions=12)
    pin_it(2, 5)
    size = {v: sum(file.size for file in lakehouse.files(location, v)) for v in range(12)}
    later(LONG)
    report = only(workspace)
    assert (report.state, report.files_before, report.files_after) == ("done", 12, 3)
    assert report.bytes_before == sum(size.values())
    assert report.bytes_after == size[2] + size[5] + size[11]
    assert report.pinned_bytes == size[2] + size[5]
    assert report.pins == (
        PinCost("failure", 1, 2, size[2], size[2]),
        PinCost("failure", 1, 5, size[5], size[5]),
    )
    assert {v: ids(location, v) for v in (2, 5)} == {2: [2], 5: [5]}
    assert ids(location) == [11]
    assert pins.broken(workspace.store, workspace.catalog) == []
    again = only(workspace)
    assert (again.freed, again.log_files, again.files_before) == (0, 0, 3)
    assert again.version == report.version


def test_a_dry_run_tells_the_same_and_changes_nothing(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, later: Later
) -> None:
    location = make_table(versions=5)
    pin_it(1)
    later(LONG)
    before = lakehouse.listing_digest(location)
    planned = only(workspace, dry_run=True)
    assert planned.state == "planned"
    assert planned.files_after == 2
    assert lakehouse.listing_digest(location) == before
    assert only(workspace).freed == planned.freed


def test_versions_that_share_files_share_the_cost(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, later: Later
) -> None:
    location = make_table(versions=1)
    lakehouse.write(location, pa.table({"id": [10]}))
    (first,), both = lakehouse.files(location, 0), lakehouse.files(location, 1)
    lakehouse.write(location, pa.table({"id": [20]}), mode="overwrite")
    pin_it(0, of="failure/1")
    pin_it(1, of="failure/2")
    pin_it(1, of="failure/3")
    later(LONG)
    whole = sum(file.size for file in both)
    assert only(workspace).pins == (
        PinCost("failure", 1, 0, first.size, 0),
        PinCost("failure", 2, 1, whole, 0),
        PinCost("failure", 3, 1, whole, 0),
    )
    pins.release(workspace, "failure", 3, reason="test", by="ada")
    assert only(workspace).pins[1] == PinCost("failure", 2, 1, whole, whole - first.size)


def test_the_retention_of_a_table(
    workspace: Workspace, make_table: MakeTable, later: Later
) -> None:
    location = make_table(versions=4)
    make_table("gold.other", versions=4)
    later(timedelta(days=20))
    spec = MaintenanceSpec.model_validate({"tables": {"gold.features": {"retention": "30d"}}})
    kept, swept = maintain(workspace, spec)
    assert (kept.table, kept.files_after) == ("main.gold.features", 4)
    assert (swept.table, swept.files_after) == ("main.gold.other", 1)
    assert ids(location, 0) == [0]
    for short in ({"retention": "6d"}, {"tables": {"t": {"retention": "1h"}}}):
        with pytest.raises(ValidationError, match="under 7 days"):
            MaintenanceSpec.model_validate(short)


def test_small_files_are_merged_once_there_are_many(
    workspace: Workspace, make_table: MakeTable
) -> None:
    location = make_table(versions=1)
    for number in range(1, 7):
        lakehouse.write(location, pa.table({"id": [number]}))
    assert only(workspace).compacted == 0
    for number in range(7, 12):
        lakehouse.write(location, pa.table({"id": [number]}))
    (left,) = maintain(workspace, SPEC, compact=False)
    assert (left.compacted, left.reason) == (0, "small files stay: the project runs")
    report = only(workspace)
    assert report.compacted == 12
    assert len(lakehouse.files(location)) == 1
    assert ids(location) == list(range(12))
    assert lakehouse.last_change(location).version == 11
    assert only(workspace).version == report.version


def test_what_a_writer_is_at_stays(
    workspace: Workspace, make_table: MakeTable, later: Later
) -> None:
    location = Path(make_table(versions=3))
    later(LONG)
    young = (datetime.now(UTC) + LONG - timedelta(days=6)).timestamp()
    for name, moment in (("young.parquet", young), ("old.parquet", young - 2 * 86_400)):
        (location / name).write_bytes(b"not committed")
        os.utime(location / name, (moment, moment))
    assert only(workspace).files_after == 2
    assert (location / "young.parquet").exists()
    assert not (location / "old.parquet").exists()


def test_what_a_stream_has_not_read_stays(
    workspace: Workspace, make_table: MakeTable, later: Later
) -> None:
    location = make_table("bronze.events", versions=1)
    for number in range(1, 12):
        lakehouse.write(location, pa.table({"id": [number]}))
    make_table("silver.events", versions=1)
    later(LONG - timedelta(days=20))
    _refreshed(workspace, "main.silver.events", {"events|main.bronze.events": 4})
    lakehouse.compact(location)
    later(LONG)
    first, _ = maintain(workspace, SPEC)
    assert first.files_after == 13
    for version in range(5, 13):
        added = lakehouse.added_files(location, version - 1, version)
        assert added is not None
        assert len(added) == (version < 12)
    later(2 * LONG)
    first, _ = maintain(workspace, SPEC)
    assert first.files_after == 1


def _refreshed(workspace: Workspace, dataset: str, positions: dict[str, int]) -> None:
    from headrace import clock

    record = refreshes.RefreshRecord(
        id="op_1", dataset=dataset, status="running", epoch=0, batch=0, code="", settings={},
        inputs={"positions": positions}, prepared=None, version=0, rows=1, dropped=0,
        started_at=clock.now(), finished_at=None, error=None,
    )  # fmt: skip
    refreshes.begin(workspace.store, record)
    refreshes.finish(workspace.store, record, 0, 1, 0, [], [])


def test_further_versions_stay(workspace: Workspace, make_table: MakeTable, later: Later) -> None:
    location = make_table(versions=4)
    later(LONG)
    maintain(workspace, SPEC, further=lambda name: {1} if name == "main.gold.features" else ())
    assert ids(location, 1) == [1]


def test_a_lost_version_holds_everything_back_until_its_pin_is_released(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, later: Later
) -> None:
    location = make_table(versions=4)
    pin_it(0)
    lakehouse.checkpoint(location)
    (Path(location) / "_delta_log" / f"{0:020}.json").unlink()
    later(LONG)
    report = only(workspace)
    assert report.state == "failed"
    assert report.files_after == 4
    assert "headrace pins release failure/1" in report.reason
    pins.release(workspace, "failure", 1, reason="lost", by="ada")
    assert only(workspace).files_after == 1


def test_a_table_that_took_the_place_of_a_pinned_one_is_swept(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, later: Later
) -> None:
    make_table(versions=3)
    pin_it(0)
    workspace.catalog.drop("gold.features")
    make_table(versions=3)
    later(LONG)
    assert only(workspace).files_after == 1


def test_a_table_that_another_writer_replaced_under_a_new_id_keeps_its_pins(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, later: Later
) -> None:
    location = make_table(versions=3)
    pinned = lakehouse.read(location, 1)
    pin_it(1)
    before = lakehouse.table_id(location)
    schema = DeltaTable(str(location)).schema()
    DeltaTable.create(str(location), schema, mode="overwrite")
    lakehouse.checkpoint(location)
    for days in (60, 120):  # with the first commit, which tells the id, and without
        later(timedelta(days=days))
        assert only(workspace).state == "done"
        assert lakehouse.read(location, 1).equals(pinned)
    assert lakehouse.table_id(location) != before
    assert pins.broken(workspace.store, workspace.catalog) == []


def test_tables_of_others_and_of_the_request_log_are_left_alone(
    workspace: Workspace, make_table: MakeTable, later: Later, tmp_path: Path
) -> None:
    theirs = make_table("raw.theirs", at=tmp_path / "theirs")
    logged = make_table("ops.failure_requests")
    with workspace.store.begin() as connection:
        connection.execute(
            request_counts.insert().values(
                endpoint="failure", deployment="", served=1, scored_rows=1, failed=0, rejected=0
            )
        )
    later(LONG)
    before = lakehouse.listing_digest(theirs), lakehouse.listing_digest(logged)
    reports = maintain(workspace, SPEC)
    assert {report.table: report.state for report in reports} == {
        "main.ops.failure_requests": "skipped",
        "main.raw.theirs": "skipped",
    }
    assert (lakehouse.listing_digest(theirs), lakehouse.listing_digest(logged)) == before


def test_two_at_once(workspace: Workspace, make_table: MakeTable) -> None:
    make_table()
    locks = workspace.paths.state / "locks"
    locks.mkdir(exist_ok=True)
    with exclusive(locks / "maintain main.gold.features.lock"):
        assert only(workspace).state == "busy"
    assert only(workspace).state == "done"


def test_a_damaged_table_does_not_stop_the_others(
    workspace: Workspace, make_table: MakeTable, later: Later
) -> None:
    damaged = make_table("bronze.damaged")
    make_table()
    (Path(damaged) / "_delta_log" / f"{1:020}.json").write_text("{")
    later(LONG)
    first, second = maintain(workspace, SPEC)
    assert first.state == "failed"
    assert "damaged" in first.reason
    assert (second.state, second.files_after) == ("done", 1)


def test_names(workspace: Workspace, make_table: MakeTable) -> None:
    make_table()
    make_table("gold.other")
    workspace.catalog.create_view("gold.view", "SELECT 1")
    assert [r.table for r in maintain(workspace, SPEC, ["gold.other"])] == ["main.gold.other"]
    assert len(maintain(workspace, SPEC)) == 2
    with pytest.raises(TableNotFoundError, match="did you mean"):
        maintain(workspace, SPEC, ["gold.othr"])
    with pytest.raises(NothingToMaintainError):
        maintain(workspace, SPEC, ["gold.view"])


_MAINTAIN = """
from datetime import UTC, datetime, timedelta
from headrace import clock
from headrace.maintenance import MaintenanceSpec, maintain
from headrace.workspace import open_workspace

moment = datetime.now(UTC) + timedelta(days=40)
clock.now = lambda: moment
print(maintain(open_workspace(), MaintenanceSpec())[0].state)
"""


@pytest.mark.parametrize(
    "point",
    ["maintenance.compacted", "maintenance.checkpointed", "sweep.isolated", "sweep.removed"],
)
def test_a_maintenance_that_is_killed_is_finished_by_the_next(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, later: Later, point: str
) -> None:
    location = make_table(versions=3)
    for number in range(10, 22):
        lakehouse.write(location, pa.table({"id": [number]}))
    pin_it(1, 6)
    rows = {version: ids(location, version) for version in (1, 6, 14)}
    script = workspace.paths.root / "maintain.py"
    script.write_text(_MAINTAIN)

    def run(crash_at: str) -> int:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=workspace.paths.root,
            env={**os.environ, "HEADRACE_CRASH_AT": crash_at},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (0, 137), done.stderr
        return done.returncode

    assert run(point) == 137
    for version in (1, 6):
        assert ids(location, version) == rows[version]
    assert ids(location) == rows[14]
    assert run("") == 0
    later(LONG)
    (report,) = maintain(workspace, SPEC)
    assert (report.freed, report.log_files) == (0, 0)
    for version in (1, 6):
        assert ids(location, version) == rows[version]
    assert ids(location) == rows[14]
