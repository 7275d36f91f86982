from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace import lakehouse
from headrace.lakehouse import (
    CorruptTableError,
    NotADeltaTableError,
    TimestampOutOfRangeError,
    Transaction,
    VersionNotFoundError,
)

if TYPE_CHECKING:
    from .conftest import MakeRows

START = datetime(2026, 3, 1, tzinfo=UTC)


def commit_file(location: Path, version: int) -> Path:
    return location / "_delta_log" / f"{version:020}.json"


def set_timestamps(location: Path, *minutes: int) -> None:
    """Let the commits have been made so many minutes after the start."""
    for version, minute in enumerate(minutes):
        file = commit_file(location, version)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                moment = START + timedelta(minutes=minute)
                line["commitInfo"]["timestamp"] = int(moment.timestamp() * 1000)
        file.write_text("\n".join(json.dumps(line) for line in lines))


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def test_where_there_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / "_delta_log").mkdir(parents=True)
    for place in (tmp_path / "gone", tmp_path / "empty", tmp_path / "begun"):
        assert not lakehouse.exists(place)
        assert lakehouse.latest_version(place) is None
        assert lakehouse.transaction_version(place, "app") is None
        for action in (
            lambda place=place: lakehouse.check_version(place, 0),
            lambda place=place: lakehouse.version_at(place, START),
            lambda place=place: lakehouse.history(place),
            lambda place=place: lakehouse.read(place),
            lambda place=place: lakehouse.schema(place),
            lambda place=place: lakehouse.files(place),
            lambda place=place: lakehouse.compact(place),
        ):
            with pytest.raises((NotADeltaTableError, CorruptTableError)) as caught:
                action()
            assert str(place) in str(caught.value)


def test_versions_count_up(location: Path, make_rows: MakeRows) -> None:
    for version in range(3):
        assert lakehouse.write(location, make_rows()) == version
        assert lakehouse.latest_version(location) == version
    assert lakehouse.exists(str(location))
    assert lakehouse.exists(location.as_uri())
    assert lakehouse.check_version(location, 1) == 1


@pytest.mark.parametrize("version", [-1, 3, 10**9])
def test_a_version_out_of_range_names_the_range(
    location: Path, make_rows: MakeRows, version: int
) -> None:
    for _ in range(3):
        lakehouse.write(location, make_rows())
    with pytest.raises(VersionNotFoundError, match="from 0 to 2") as caught:
        lakehouse.read(location, version=version)
    assert (caught.value.first, caught.value.last) == (0, 2)


def test_reading_a_version(location: Path, make_rows: MakeRows) -> None:
    for number in range(3):
        lakehouse.write(location, make_rows(5, first=5 * number))
    assert [lakehouse.row_count(location, version) for version in range(3)] == [5, 10, 15]
    assert lakehouse.read(location, version=1).num_rows == 10


def test_the_version_at_a_moment(location: Path, make_rows: MakeRows) -> None:
    for _ in range(3):
        lakehouse.write(location, make_rows())
    set_timestamps(location, 0, 10, 20)
    expected = {0: 0, 9.99: 0, 10: 1, 10.01: 1, 19.99: 1, 20: 2}
    assert {minute: lakehouse.version_at(location, at(minute)) for minute in expected} == expected


@pytest.mark.parametrize(
    ("minute", "side"), [(-0.01, "before the first"), (20.01, "after the last")]
)
def test_a_moment_out_of_range_names_the_range(
    location: Path, make_rows: MakeRows, minute: float, side: str
) -> None:
    for _ in range(3):
        lakehouse.write(location, make_rows())
    set_timestamps(location, 0, 10, 20)
    with pytest.raises(TimestampOutOfRangeError, match=side) as caught:
        lakehouse.version_at(location, at(minute))
    assert (caught.value.first, caught.value.last) == (at(0), at(20))
    assert "2026-03-01T00:20:00.000Z" in str(caught.value)


def test_a_moment_without_a_zone_is_a_guess(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows())
    with pytest.raises(ValueError, match="no time zone"):
        lakehouse.version_at(location, datetime(2026, 3, 1))


def test_a_clock_set_back_does_not_reorder_versions(location: Path, make_rows: MakeRows) -> None:
    for _ in range(4):
        lakehouse.write(location, make_rows())
    set_timestamps(location, 0, 30, 10, 40)
    assert lakehouse.version_at(location, at(15)) == 0
    assert lakehouse.version_at(location, at(31)) == 2
    assert lakehouse.version_at(location, at(40)) == 3


def test_history_is_newest_first(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows(), marker="op_1")
    lakehouse.write(location, make_rows(), mode="overwrite")
    set_timestamps(location, 0, 10)
    found = lakehouse.history(location)
    assert [(commit.version, commit.timestamp, commit.user_metadata) for commit in found] == [
        (1, at(10), None),
        (0, at(0), "op_1"),
    ]
    assert found[0].operation == "WRITE"
    assert lakehouse.history(location, limit=1) == found[:1]


def test_the_commit_of_a_marker(location: Path, make_rows: MakeRows) -> None:
    for version in range(4):
        lakehouse.write(location, make_rows(), marker=f"op_{version}")
    assert lakehouse.commit_of(location, "op_2") == 2
    assert lakehouse.commit_of(location, "op_2", after=1) == 2
    assert lakehouse.commit_of(location, "op_2", after=2) is None
    assert lakehouse.commit_of(location, "op_9") is None


def test_a_log_cleaned_up_after_a_checkpoint(location: Path, make_rows: MakeRows) -> None:
    for version in range(6):
        lakehouse.write(location, make_rows(5, first=5 * version))
        if version == 3:
            lakehouse.checkpoint(location)
    set_timestamps(location, 0, 10, 20, 30, 40, 50)
    for version in range(3):
        commit_file(location, version).unlink()
    assert lakehouse.version_range(location) == (3, 5)
    with pytest.raises(VersionNotFoundError, match="from 3 to 5"):
        lakehouse.read(location, version=2)
    with pytest.raises(TimestampOutOfRangeError):
        lakehouse.version_at(location, at(29))
    assert lakehouse.version_at(location, at(31)) == 3
    assert lakehouse.row_count(location, 3) == 20
    assert lakehouse.added_files(location, -1, 5) is None
    assert len(lakehouse.added_files(location, 3, 5) or []) == 2
    assert [commit.version for commit in lakehouse.history(location)] == [5, 4, 3]


def test_a_transaction_survives_its_commit(location: Path, make_rows: MakeRows) -> None:
    """After the log is cleaned up, the checkpoint alone holds the transaction."""
    lakehouse.write(location, make_rows(), transaction=Transaction("load", 1))
    for _ in range(2):
        lakehouse.write(location, make_rows())
    lakehouse.checkpoint(location)
    for version in range(2):
        commit_file(location, version).unlink()
    assert lakehouse.write(location, make_rows(), transaction=Transaction("load", 1)) == 2
    assert lakehouse.latest_version(location) == 2


def test_a_commit_missing_from_the_log(location: Path, make_rows: MakeRows) -> None:
    for _ in range(3):
        lakehouse.write(location, make_rows())
    commit_file(location, 1).unlink()
    with pytest.raises(CorruptTableError, match="commit 1 is missing"):
        lakehouse.check_version(location, 0)


def test_a_commit_cut_short(location: Path, make_rows: MakeRows) -> None:
    for _ in range(2):
        lakehouse.write(location, make_rows())
    file = commit_file(location, 1)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(CorruptTableError, match=r"00001.json, line 1"):
        lakehouse.history(location)
    with pytest.raises(CorruptTableError):
        lakehouse.read(location)
    assert lakehouse.read(location, version=0).num_rows == 10


def test_a_commit_that_is_no_text(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows())
    commit_file(location, 0).write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(CorruptTableError):
        lakehouse.history(location)
    with pytest.raises(CorruptTableError):
        lakehouse.read(location)


def test_a_table_made_again_in_the_same_place_has_another_id(
    location: Path, make_rows: MakeRows
) -> None:
    assert lakehouse.table_id(location) is None
    lakehouse.write(location, make_rows())
    first = lakehouse.table_id(location)
    lakehouse.write(location, make_rows(), mode="overwrite")
    lakehouse.checkpoint(location)
    assert lakehouse.table_id(location) == first
    commit_file(location, 0).unlink()
    assert lakehouse.table_id(location) == first
    shutil.rmtree(location)
    lakehouse.write(location, make_rows())
    assert lakehouse.table_id(location) not in {None, first}
