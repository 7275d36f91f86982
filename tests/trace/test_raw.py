"""Which raw files hold rows of an entity, and whether they are still what was read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.catalog import Lineage, RawFile, Store
from headrace.settings import Paths
from headrace.trace import raw

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., RawFile]:
    """``make_file("a.parquet", device_id=[1, 2], ts=[...])`` writes a raw file."""

    def make(name: str, **columns: object) -> RawFile:
        path = tmp_path / name
        table = pa.table(columns)
        if name.endswith(".parquet"):
            pq.write_table(table, path, row_group_size=2)
        else:
            table.to_pandas().to_csv(path, index=False)
        content = path.read_bytes()
        return RawFile(str(path), len(content), hashlib.sha256(content).hexdigest(), NOON)

    return make


def times(*minutes: int) -> pa.Array:
    """Moments so many minutes from noon."""
    return pa.array([NOON + timedelta(minutes=m) for m in minutes], pa.timestamp("us", "UTC"))


def entity(device: object = 7, lookback: timedelta | None = timedelta(hours=3)) -> raw.Entity:
    return raw.Entity({"device_id": device}, "window_end", NOON, lookback)


def kept(narrowed: raw.Narrowed) -> dict[str, int | None]:
    return {Path(file.path).name: rows for file, rows in narrowed.files}


def test_only_files_with_rows_in_the_window_are_kept(make_file: Callable[..., RawFile]) -> None:
    files = [
        make_file("all.parquet", device_id=[7, 7, 8], ts=times(-10, 0, -10)),
        make_file("other.parquet", device_id=[6, 8], ts=times(-10, -10)),
        make_file("late.parquet", device_id=[7, 7], ts=times(1, 60)),
        make_file("early.parquet", device_id=[7], ts=times(-180)),
        make_file("one.parquet", device_id=[1, 2, 7, 9], ts=times(-5, -5, -179, -5)),
    ]
    narrowed = raw.narrow(files, entity())
    assert kept(narrowed) == {"all.parquet": 2, "one.parquet": 1}
    assert (narrowed.left_out, narrowed.narrowed) == (3, True)
    assert narrowed.how == (
        "rows of device_id=7 in (2026-01-01T09:00:00.000Z, 2026-01-01T12:00:00.000Z] by ts"
    )


def test_without_a_lookback_everything_before_counts(make_file: Callable[..., RawFile]) -> None:
    files = [make_file("a.parquet", device_id=[7, 7], ts=times(-10_000, 1))]
    narrowed = raw.narrow(files, entity(lookback=None))
    assert kept(narrowed) == {"a.parquet": 1}
    assert "up to 2026-01-01T12:00:00.000Z" in narrowed.how


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime(2026, 1, 1, 11)], pa.timestamp("ns")),
        pa.array([datetime(2026, 1, 1, 11)], pa.timestamp("ms")),
        pa.array([datetime(2026, 1, 1, 11, tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin")),
        pa.array([datetime(2026, 1, 1).date()], pa.date32()),
    ],
    ids=str,
)
def test_times_of_every_type_are_compared_as_utc(
    make_file: Callable[..., RawFile], column: pa.Array
) -> None:
    files = [make_file("a.parquet", device_id=[7], at=column)]
    assert kept(raw.narrow(files, entity(lookback=timedelta(hours=13)))) == {"a.parquet": 1}
    yesterday = raw.Entity({"device_id": 7}, "t", NOON - timedelta(days=1), timedelta(hours=13))
    assert not raw.narrow(files, yesterday).narrowed


def test_the_column_of_the_same_name_is_the_time(make_file: Callable[..., RawFile]) -> None:
    files = [make_file("a.parquet", device_id=[7], window_end=times(600), received=times(0))]
    narrowed = raw.narrow(files, entity())
    assert not narrowed.narrowed
    assert narrowed.how.startswith("not narrowed: no file holds rows of device_id=7 in")


def test_keys_are_compared_in_the_type_of_the_file(make_file: Callable[..., RawFile]) -> None:
    text = make_file("a.parquet", device_id=pa.array(["7", "8"]).dictionary_encode())
    small = make_file("b.parquet", device_id=pa.array([7, 8], pa.int8()))
    assert kept(raw.narrow([text, small], entity())) == {"a.parquet": 1, "b.parquet": 1}
    narrowed = raw.narrow([small], entity("pump"))
    assert narrowed.how == "not narrowed: device_id is a int8 there, and 'pump' is none"


def test_csv_files_are_looked_into(make_file: Callable[..., RawFile]) -> None:
    stamps = ["2026-01-01T11:00:00Z", "2026-01-01T13:00:00Z"]
    files = [make_file("a.csv", device_id=[7, 7], ts=stamps), make_file("b.csv", device_id=[8])]
    assert kept(raw.narrow(files, entity())) == {"a.csv": 1}


def test_what_cannot_be_looked_into_is_kept_with_the_reason(
    make_file: Callable[..., RawFile], tmp_path: Path
) -> None:
    good = make_file("good.parquet", device_id=[7], ts=times(0))
    torn = make_file("torn.parquet", device_id=[7], ts=times(0))
    Path(torn.path).write_bytes(b"PAR1 no")
    notes = RawFile(str(tmp_path / "notes.txt"), 1, "0", NOON)
    gone = RawFile(str(tmp_path / "gone.parquet"), 1, "0", NOON)
    narrowed = raw.narrow([good, torn, notes, gone], entity())
    assert kept(narrowed) == {
        "good.parquet": 1,
        "torn.parquet": None,
        "notes.txt": None,
        "gone.parquet": None,
    }
    assert "3 kept unread: it cannot be read: " in narrowed.how
    assert 'files "*.txt" are not looked into; the file is gone' in narrowed.how


def test_without_a_key_column_nothing_is_left_out(make_file: Callable[..., RawFile]) -> None:
    narrowed = raw.narrow([make_file("a.parquet", machine=[7])], entity())
    assert narrowed.how == "not narrowed: no column device_id"
    assert kept(narrowed) == {"a.parquet": None}


@pytest.mark.parametrize("anew", [False, True])
def test_a_file_is_unchanged_changed_or_gone(
    make_file: Callable[..., RawFile], tmp_path: Path, anew: bool
) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'lineage.db'}")
    lineage, file = Lineage(store), make_file("a.parquet", device_id=[7])
    other = make_file("b.parquet", device_id=[7])
    path = Path(file.path)
    assert raw.statuses(lineage, [file, other], anew=anew) == ["unchanged", "unchanged"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert raw.statuses(lineage, [file, other], anew=anew) == ["changed since", "unchanged"]
    path.unlink()
    assert raw.statuses(lineage, [file, other], anew=anew) == ["gone", "unchanged"]
    facts = raw.facts(Paths(tmp_path), lineage, raw.narrow([file], None, "asked for all"))
    assert facts["status"] == {"gone": 1}
    assert facts["files"][0]["path"] == "a.parquet"
    assert facts["how"] == "not narrowed: asked for all"
    store.close()


def test_a_file_rewritten_under_its_old_time_is_noticed(
    make_file: Callable[..., RawFile], tmp_path: Path
) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'lineage.db'}")
    lineage, file = Lineage(store), make_file("a.parquet", device_id=[7])
    path, long_ago = Path(file.path), 1_700_000_000
    os.utime(path, (long_ago, long_ago))
    lineage.fingerprint(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, (long_ago, long_ago))
    assert raw.statuses(lineage, [file], anew=True) == ["changed since"]
    store.close()


def test_counts_agree_with_pandas(make_file: Callable[..., RawFile]) -> None:
    devices = [i % 5 for i in range(101)]
    minutes = [(i * 37) % 400 - 300 for i in range(101)]
    file = make_file("a.parquet", device_id=devices, ts=times(*minutes))
    frame = pd.DataFrame({"device": devices, "minute": minutes})
    for device in range(5):
        inside = frame[(frame.device == device) & (frame.minute > -180) & (frame.minute <= 0)]
        assert kept(raw.narrow([file], entity(device))) == {"a.parquet": len(inside)}
