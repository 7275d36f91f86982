"""Each spooled request is in Delta exactly once, whenever the shipping process dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from tests.planes import make_root
from tests.requestlog.records import failed, served, truth

from headrace import lakehouse, pins
from headrace.catalog import Access, Catalog, Lineage, Store
from headrace.requestlog import upkeep
from headrace.requestlog.counts import counts_of
from headrace.requestlog.policy import LogPolicy
from headrace.requestlog.shipper import Shipper
from headrace.requestlog.spool import SpoolWriter, segments, writers
from headrace.requestlog.store import request_counts, shipments
from headrace.requestlog.tables import request_rows
from headrace.workspace import open_workspace

if TYPE_CHECKING:
    from headrace.settings import Paths

SHIP = """
import sys
from pathlib import Path
from headrace.catalog import Catalog, Store
from headrace.requestlog import shipper
from headrace.requestlog.shipper import Shipper
from headrace.settings import Paths
shipper.GROUP_BYTES = 4000  # a later attempt groups in another way
paths = Paths(Path(sys.argv[1]))
store = Store.open(paths.database_url)
Shipper(paths.spool, store, Catalog(store, paths.warehouse)).ship()
"""

CRASHES = [
    "ship:before-commit",
    "ship:after-commit",
    "ship:before-counts",
    "ship:before-unlink",
    "ship:before-discard",
]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make_root(tmp_path / "project")


@pytest.fixture
def shipper(paths: Paths) -> Shipper:
    store = Store.open(paths.database_url)
    return Shipper(paths.spool, store, Catalog(store, paths.warehouse))


def spool(paths: Paths, records: list[dict[str, Any]], segment_bytes: int = 10**6) -> None:
    """Records of a writer that is gone."""
    with SpoolWriter(paths.spool, segment_bytes) as writer:
        for record in records:
            writer.append(record)


def logged(shipper: Shipper, endpoint: str = "scores") -> list[dict[str, Any]]:
    table = f"ops.{endpoint}_requests"
    rows: list[dict[str, Any]] = lakehouse.read(shipper.catalog.location_for(table)).to_pylist()
    return rows


def counts(shipper: Shipper) -> dict[str, tuple[int, int, int, int]]:
    with shipper.store.reading() as connection:
        rows = connection.execute(request_counts.select()).all()
    return {r.deployment: (r.served, r.scored_rows, r.failed, r.rejected) for r in rows}


def test_a_request_becomes_one_row_for_each_of_its_rows(shipper: Shipper, paths: Paths) -> None:
    spool(paths, [served(1, rows=2)])
    assert shipper.ship() == 1
    first, second = logged(shipper)
    assert first == {
        "prediction_id": "pred_scores_1_0",
        "request_id": "req_1",
        "row": 0,
        "endpoint": "scores",
        "deployment": "dep_1",
        "colour": "blue",
        "model_name": "model",
        "model_version": 1,
        "model_id": "m-1",
        "requested_at": datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC),
        "latency_ms": 1.5,
        "status": 200,
        "key": "d-0",
        "request": '{"a": 1}',
        "params": None,
        "prediction": "1.5",
        "score": 1.5,
    }
    assert (second["prediction_id"], second["row"]) == ("pred_scores_1_1", 1)


def test_nothing_is_left_behind(shipper: Shipper, paths: Paths) -> None:
    spool(paths, [served(1)])
    shipper.ship()
    assert writers(paths.spool) == []
    with shipper.store.reading() as connection:
        assert connection.execute(shipments.select()).all() == []
    assert shipper.ship() == 0


def test_the_table_and_its_lineage_are_recorded(shipper: Shipper, paths: Paths) -> None:
    spool(paths, [served(1), served(2, endpoint="other-one")])
    shipper.ship()
    assert str(shipper.catalog.resolve("ops.scores_requests").name) == "main.ops.scores_requests"
    [operation] = Lineage(shipper.store).operations(subject="other-one")
    assert operation.kind == "request_log"
    assert [access.name for access in operation.reads] == ["models:/m-1"]
    [write] = operation.writes
    assert (write.name, write.version) == ("main.ops.other_one_requests", 0)


def test_a_writer_goes_on_while_it_is_shipped(shipper: Shipper, paths: Paths) -> None:
    with SpoolWriter(paths.spool) as writer:
        for number in range(3):
            writer.append(served(number))
            assert shipper.ship() == 0
            writer.rotate()
            assert shipper.ship() == 1
        assert shipper.ship() == 0
        assert writers(paths.spool) == [writer.directory]
    assert {row["request_id"] for row in logged(shipper)} == {"req_0", "req_1", "req_2"}
    assert counts(shipper) == {"dep_1": (3, 3, 0, 0)}


def test_labels_are_joined_to_their_requests_and_the_latest_counts(paths: Paths) -> None:
    workspace = open_workspace(paths.root)
    shipper = Shipper(paths.spool, workspace.store, workspace.catalog)
    early, late = "2026-02-01T00:00:00.000Z", "2026-02-02T00:00:00.000Z"
    spool(paths, [truth(("pred_scores_1_0", 1, late), ("pred_of_nobody", "x", early))])
    shipper.ship()
    assert workspace.catalog.find("ops.scores_labelled") is None
    spool(paths, [served(1), served(2)])
    shipper.ship()
    assert workspace.catalog.find("ops.scores_labelled") is not None
    spool(paths, [truth(("pred_scores_1_0", 0, early))])
    shipper.ship()
    location = workspace.catalog.location_for("ops.scores_ground_truth")
    labels = sorted(lakehouse.read(location).column("label").to_pylist())
    assert labels == ['"x"', "0", "1"]
    labelled = workspace.spark().sql(
        "SELECT request_id, label, label_value, labelled_at FROM ops.scores_labelled"
    )
    [row] = labelled.collect()
    assert (row.request_id, row.label, row.label_value) == ("req_1", "1", 1.0)
    workspace.close()


def test_what_is_not_sampled_is_counted_alone(shipper: Shipper, paths: Paths) -> None:
    dropped = LogPolicy.model_validate({"sample": "0%"}).apply(served(1, rows=3))
    spool(paths, [dict(dropped)])
    assert shipper.ship() == 1
    assert counts(shipper) == {"dep_1": (1, 3, 0, 0)}
    assert not lakehouse.exists(shipper.catalog.location_for("ops.scores_requests"))


@pytest.mark.parametrize(
    "odd",
    [
        served(2) | {"rows": [{"id": "pred_2", "key": "k", "score": "a secret"}]},
        served(2) | {"endpoint": 7},
        served(2) | {"rows": None},
        {"kind": "served"},
    ],
    ids=["a score of text", "a number for a name", "no rows", "no endpoint"],
)
def test_a_record_that_makes_no_row_holds_up_no_other(
    shipper: Shipper, paths: Paths, caplog: pytest.LogCaptureFixture, odd: dict[str, Any]
) -> None:
    with SpoolWriter(paths.spool) as writer:
        for record in (served(1), odd, served(3)):
            writer.append(record)
            writer.rotate()
    shipper.ship()
    shipper.ship()
    assert sorted(row["request_id"] for row in logged(shipper)) == ["req_1", "req_3"]
    [aside] = paths.spool.glob("unreadable_*")
    assert aside.name in caplog.text
    assert "a secret" not in caplog.text
    assert writers(paths.spool) == []


@pytest.mark.parametrize("point", CRASHES)
def test_a_crash_loses_and_doubles_nothing(point: str, shipper: Shipper, paths: Paths) -> None:
    at = "2026-02-01T00:00:00.000Z"
    labels = [truth((f"pred_scores_{n}_0", n, at)) for n in range(4)]
    records = [served(n) for n in range(10)] + labels + [failed(500, "x")] * 3
    spool(paths, records, segment_bytes=1500)
    before = len(segments(paths.spool))
    crashed = 0
    for _ in range(before + 1):
        code = subprocess.run(
            [sys.executable, "-c", SHIP, str(paths.root)],
            env={**os.environ, "HEADRACE_CRASH_AT": point},
            timeout=120,
            check=False,
        ).returncode
        assert code in (0, 137)
        crashed += code == 137
        if code == 0 or crashed == 3:
            break
    assert crashed
    shipper.ship()
    assert sorted(row["request_id"] for row in logged(shipper)) == [f"req_{n}" for n in range(10)]
    truths = lakehouse.read(shipper.catalog.location_for("ops.scores_ground_truth"))
    assert sorted(truths.column("value").to_pylist()) == [0, 1, 2, 3]
    assert counts(shipper) == {"dep_1": (10, 10, 3, 0)}
    assert writers(paths.spool) == []
    recorded = Lineage(shipper.store).operations(subject="scores")
    assert {access.name for one in recorded for access in one.reads} == {"models:/m-1"}


def test_two_shippers_at_once_ship_once(shipper: Shipper, paths: Paths) -> None:
    spool(paths, [served(n) for n in range(40)], segment_bytes=1000)
    other = Shipper(paths.spool, shipper.store, shipper.catalog)
    threads = [threading.Thread(target=s.ship) for s in (shipper, other) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shipper.ship()
    assert len(logged(shipper)) == 40
    assert counts(shipper) == {"dep_1": (40, 40, 0, 0)}


def test_what_cannot_be_shipped_waits(shipper: Shipper, paths: Paths) -> None:
    spool(paths, [served(n) for n in range(6)], segment_bytes=1000)
    location = shipper.catalog.location_for("ops.scores_requests")
    location.parent.mkdir(parents=True)
    location.write_text("in the way")
    assert shipper.ship() == 0
    assert len(segments(paths.spool)) > 1
    location.unlink()
    assert shipper.ship() > 1
    assert len(logged(shipper)) == 6


def test_small_files_are_merged(
    shipper: Shipper, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "EVERY_COMMITS", 5)
    for number in range(5):
        spool(paths, [served(number)])
    shipper.ship()
    location = shipper.catalog.location_for("ops.scores_requests")
    assert len(lakehouse.files(location)) == 1
    assert len(logged(shipper)) == 5
    spool(paths, [served(5)])
    shipper.ship()
    assert len(logged(shipper)) == 6


def test_files_of_table_and_log_stay_bounded(
    shipper: Shipper, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "EVERY_COMMITS", 10)
    monkeypatch.setattr(upkeep, "RETENTION", timedelta(0))
    monkeypatch.setattr(upkeep, "VACUUM_SECONDS", 0.0)
    second = dict.fromkeys(list(upkeep.PROPERTIES)[:2], "interval 1 seconds")
    monkeypatch.setattr(upkeep, "PROPERTIES", {**upkeep.PROPERTIES, **second})
    location = shipper.catalog.location_for("ops.scores_requests")
    most = 0
    with SpoolWriter(paths.spool) as writer:
        for number in range(250):
            writer.append(served(number))
            writer.rotate()
            shipper.ship()
            most = max(most, len(list(location.glob("*.parquet"))))
    assert most <= 11
    log = location / "_delta_log"
    # delta-rs clears the log at its own checkpoints, each hundred versions.
    assert len(list(log.glob("*.json"))) < 150
    assert len(list(log.glob("*.checkpoint.parquet"))) < 10
    assert len(logged(shipper)) == 250


def test_versions_that_a_model_was_trained_on_stay(
    shipper: Shipper, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "EVERY_COMMITS", 5)
    monkeypatch.setattr(upkeep, "RETENTION", timedelta(0))
    monkeypatch.setattr(upkeep, "VACUUM_SECONDS", 0.0)
    location = shipper.catalog.location_for("ops.scores_requests")

    def ship(first: int, until: int) -> None:
        for number in range(first, until):
            spool(paths, [served(number)])
            shipper.ship()

    ship(0, 3)
    version = lakehouse.latest_version(location)
    assert version is not None
    access = Access("table", "main.ops.scores_requests", version)
    need = pins.Need(access, "trained on", lakehouse.table_id(location))
    with shipper.store.begin() as connection:
        pins.pin(connection, "scores", 1, [need])
    lakehouse.hold(location)
    ship(3, 40)
    assert lakehouse.read(location, version).num_rows == 3
    assert len(logged(shipper)) == 40
    assert len(list((location / "_delta_log").glob("*.json"))) < 25
    assert len(lakehouse.data_files(location)) < 15


def test_failures_are_told_from_refused_input() -> None:
    records = [
        served(1, rows=3),
        failed(500, "internal_error"),
        failed(504, "deadline_exceeded"),
        failed(400, "prediction_failed"),
        failed(429, "overloaded", ""),
        failed(400, "invalid_input"),
        failed(413, "body_too_large", ""),
    ]
    assert counts_of(records) == {
        ("scores", "dep_1"): {
            "served": 1,
            "logged": 1,
            "scored_rows": 3,
            "failed": 3,
            "rejected": 1,
        },
        ("scores", ""): {"failed": 1, "rejected": 1},
    }


def test_rows_of_nothing_still_have_their_columns() -> None:
    assert request_rows([]).column_names[0] == "prediction_id"


def test_a_record_that_was_torn_does_not_stop_the_others(
    shipper: Shipper, paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    spool(paths, [served(1), served(2)])
    path = segments(paths.spool)[0].path
    path.write_bytes(path.read_bytes()[:-10])
    shipper.ship()
    assert [row["request_id"] for row in logged(shipper)] == ["req_1"]
    assert "not written out" in caplog.text


def test_what_was_served_before_requests_could_be_sampled_is_in_the_log() -> None:
    migration = import_module("headrace.catalog.migrations.0008_request_log")
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE headrace_request_counts (endpoint TEXT, served BIGINT)")
        )
        connection.execute(text("INSERT INTO headrace_request_counts VALUES ('scores', 7)"))
        migration.upgrade(connection)
        rows = connection.execute(text("SELECT served, logged FROM headrace_request_counts"))
        assert [tuple(row) for row in rows] == [(7, 7)]
    engine.dispose()
