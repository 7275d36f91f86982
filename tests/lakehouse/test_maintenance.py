from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace import lakehouse
from headrace.lakehouse import CorruptTableError, RetentionTooShortError

if TYPE_CHECKING:
    from .conftest import MakeRows


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
    for file in location.rglob("*.parquet"):
        status = file.stat()
        os.utime(file, (status.st_atime, status.st_mtime - shift / 1000))


@pytest.mark.parametrize("retention", [timedelta(0), timedelta(days=6, hours=23), timedelta(-1)])
def test_a_retention_under_the_floor(
    location: Path, make_rows: MakeRows, retention: timedelta
) -> None:
    lakehouse.write(location, make_rows())
    with pytest.raises(RetentionTooShortError, match="floor of 7 days") as caught:
        lakehouse.vacuum(location, retention)
    assert caught.value.floor == timedelta(days=7)
    assert "dry_run=True" in str(caught.value)


def test_vacuum_removes_what_no_kept_version_needs(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows(3))
    (old,) = lakehouse.files(location)
    lakehouse.write(location, make_rows(5), mode="overwrite")
    (new,) = lakehouse.files(location)
    assert lakehouse.vacuum(location, timedelta(days=7)) == []
    age(location, days=8)
    assert lakehouse.vacuum(location, timedelta(days=9), dry_run=True) == []
    assert lakehouse.vacuum(location, timedelta(days=7), dry_run=True) == [old.path]
    assert Path(old.path).exists()
    assert lakehouse.vacuum(location, timedelta(days=7)) == [old.path]
    assert not Path(old.path).exists()
    assert Path(new.path).exists()
    assert lakehouse.row_count(location) == 5
    assert lakehouse.read(location).num_rows == 5
    with pytest.raises(CorruptTableError):
        lakehouse.read(location, version=0)


def test_vacuum_removes_what_a_killed_writer_left(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows(3))
    (live,) = lakehouse.files(location)
    left, fresh = location / "left.parquet", location / "fresh.parquet"
    left.write_bytes(Path(live.path).read_bytes())
    age(location, days=2)
    fresh.write_bytes(b"another writer is at it")
    day = timedelta(days=1)
    assert lakehouse.vacuum(location, day, floor=day) == []
    assert lakehouse.vacuum(location, day, floor=day, orphans=True) == [str(left)]
    assert fresh.exists()
    assert lakehouse.read(location).num_rows == 3


def test_compact_leaves_files_of_the_target_size(location: Path, make_rows: MakeRows) -> None:
    for number in range(4):
        lakehouse.write(location, make_rows(10, first=10 * number))
    assert lakehouse.compact(location, target_bytes=10) == 3
    assert len(lakehouse.files(location)) == 4


def test_compact_keeps_rows_and_versions(location: Path, make_rows: MakeRows) -> None:
    for number in range(5):
        lakehouse.write(location, make_rows(10, first=10 * number))
    assert lakehouse.compact(location) == 5
    assert len(lakehouse.files(location)) == 1
    assert lakehouse.read(location).sort_by("id") == make_rows(50)
    assert lakehouse.row_count(location, 2) == 30
    assert lakehouse.compact(location) == 5


def test_a_checkpoint_changes_nothing(location: Path, make_rows: MakeRows) -> None:
    for number in range(3):
        lakehouse.write(location, make_rows(10, first=10 * number))
    lakehouse.checkpoint(location)
    assert list((location / "_delta_log").glob("*2.checkpoint.parquet"))
    assert lakehouse.latest_version(location) == 2
    assert lakehouse.read(location).sort_by("id") == make_rows(30)
