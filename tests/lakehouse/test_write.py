from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pytest

from headrace import lakehouse
from headrace.lakehouse import (
    DeltaConflictError,
    StorageFullError,
    TableSchemaError,
    Transaction,
    retry,
)

if TYPE_CHECKING:
    from .conftest import MakeRows


def ids(location: Path) -> list[int]:
    return sorted(lakehouse.read(location)["id"].to_pylist())


def test_append_and_overwrite(location: Path, make_rows: MakeRows) -> None:
    assert lakehouse.write(location, make_rows(2)) == 0
    assert lakehouse.write(location, make_rows(2, first=2)) == 1
    assert ids(location) == [0, 1, 2, 3]
    assert lakehouse.write(location, make_rows(3), mode="overwrite") == 2
    assert ids(location) == [0, 1, 2]
    assert lakehouse.row_count(location, 1) == 4


def test_what_is_written_is_read(location: Path, make_rows: MakeRows) -> None:
    rows = make_rows(100)
    lakehouse.write(location, rows, partition_by=["device"])
    assert lakehouse.read(location).sort_by("id") == rows
    assert len(lakehouse.files(location)) == 3


def test_a_reader_is_streamed(location: Path, make_rows: MakeRows) -> None:
    """Only a few batches of the hundred are alive at any time."""
    alive = 0
    most = 0

    class Tracked:
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def batches() -> Iterator[pyarrow.RecordBatch]:
        nonlocal alive, most
        for number in range(100):
            alive += 1
            most = max(most, alive)
            tracked = Tracked()
            yield make_rows(1000, first=1000 * number).to_batches()[0]
            del tracked

    reader = pyarrow.RecordBatchReader.from_batches(make_rows().schema, batches())
    assert lakehouse.write(location, reader) == 0
    assert lakehouse.row_count(location) == 100_000
    assert most < 10


def test_a_reader_that_fails_leaves_nothing(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows())

    def batches() -> Iterator[pyarrow.RecordBatch]:
        yield make_rows(1000).to_batches()[0]
        raise RuntimeError("the source broke")

    reader = pyarrow.RecordBatchReader.from_batches(make_rows().schema, batches())
    with pytest.raises(Exception, match="the source broke"):
        lakehouse.write(location, reader)
    assert lakehouse.latest_version(location) == 0
    assert lakehouse.row_count(location) == 10


def test_columns_match_by_name(location: Path, make_rows: MakeRows) -> None:
    rows = make_rows(2)
    lakehouse.write(location, rows)
    lakehouse.write(location, rows.select(["load", "at", "device", "id"]))
    assert lakehouse.read(location)["id"].to_pylist().count(1) == 2


def test_narrower_numbers_are_widened(location: Path) -> None:
    lakehouse.write(location, pyarrow.table({"id": pyarrow.array([1], pyarrow.int64())}))
    lakehouse.write(location, pyarrow.table({"id": pyarrow.array([2], pyarrow.int32())}))
    assert ids(location) == [1, 2]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.drop_columns(["load"]), "lacks load"),
        (lambda rows: rows.append_column("new", rows["id"]), "has new besides"),
        (lambda rows: rows.rename_columns(["id", "device", "at", "lod"]), "lacks load and has lod"),
        (lambda rows: rows.append_column("id", rows["id"]), "two columns id"),
        (lambda rows: rows.set_column(3, "load", rows["device"]), "(?i)cast"),
    ],
)
def test_rows_that_do_not_fit(
    location: Path, make_rows: MakeRows, mode: Any, change: Any, reason: str
) -> None:
    lakehouse.write(location, make_rows())
    with pytest.raises(TableSchemaError, match=reason) as caught:
        lakehouse.write(location, change(make_rows()), mode=mode)
    assert caught.value.location == str(location)
    assert lakehouse.latest_version(location) == 0


def test_an_overwrite_replaces_the_columns_when_asked(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows(), partition_by=["device"])
    new = pyarrow.table({"id": ["a"], "site": ["x"]})
    lakehouse.write(location, new, mode="overwrite", replace_schema=True)
    assert lakehouse.schema(location).names == ["id", "site"]
    assert lakehouse.read(location).to_pylist() == [{"id": "a", "site": "x"}]
    assert lakehouse.read(location, version=0).num_rows == 10
    lakehouse.write(location, new, mode="overwrite", replace_schema=True, partition_by=["site"])
    assert lakehouse.files(location)[0].partition_values == {"site": "x"}


def test_a_transaction_writes_once(location: Path, make_rows: MakeRows) -> None:
    for app, version, expected in (
        ("a", 0, 0),
        ("a", 0, 0),
        ("b", 0, 1),
        ("a", 1, 2),
        ("a", 0, 0),
        ("a", 3, 3),
        ("a", 2, 3),
    ):
        transaction = Transaction(app, version)
        assert lakehouse.write(location, make_rows(1), transaction=transaction) == expected
    assert lakehouse.row_count(location) == 4
    assert lakehouse.transaction_version(location, "a") == 3
    assert lakehouse.transaction_version(location, "b") == 0
    assert lakehouse.transaction_version(location, "c") is None


def test_an_overwrite_with_a_transaction_is_made_once(location: Path, make_rows: MakeRows) -> None:
    transaction = Transaction("refresh", 7)
    lakehouse.write(location, make_rows(3), mode="overwrite", transaction=transaction)
    lakehouse.write(location, make_rows(1, first=50))
    assert lakehouse.write(location, make_rows(3), mode="overwrite", transaction=transaction) == 0
    assert ids(location) == [0, 1, 2, 50]


def test_no_rows_still_make_a_table(location: Path, make_rows: MakeRows) -> None:
    assert lakehouse.write(location, make_rows(0)) == 0
    assert lakehouse.read(location).schema == make_rows().schema
    assert lakehouse.write(location, make_rows(0), transaction=Transaction("a", 1)) == 1
    assert lakehouse.transaction_version(location, "a") == 1


def test_retry_tries_again_until_it_works() -> None:
    from deltalake.exceptions import CommitFailedError

    left = [3]

    def action() -> str:
        if left[0]:
            left[0] -= 1
            raise CommitFailedError("a concurrent transaction")
        return "done"

    assert retry(action) == "done"


def test_retry_gives_up_and_names_the_table() -> None:
    from deltalake.exceptions import CommitFailedError

    tried = []

    def action() -> None:
        tried.append(1)
        raise CommitFailedError("a concurrent transaction\nmore")

    with pytest.raises(DeltaConflictError, match="compaction was tried 3 times") as caught:
        retry(action, location="/t", operation="compaction", attempts=3)
    assert len(tried) == 3
    assert (caught.value.location, caught.value.reason) == ("/t", "a concurrent transaction")
    assert caught.value.status == 409


def test_retry_leaves_other_errors_alone() -> None:
    tried = []

    def action() -> None:
        tried.append(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        retry(action)
    assert len(tried) == 1


def test_a_full_disk(location: Path, make_rows: MakeRows) -> None:
    """A limit on file sizes stands for the disk: the operating system refuses the write."""
    lakehouse.write(location, make_rows())
    code = f"""
        import os, resource, signal, sys
        import pyarrow
        from headrace import lakehouse
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        noise = pyarrow.table({{
            "id": range(200_000),
            "device": [os.urandom(8).hex() for _ in range(200_000)],
            "at": pyarrow.array([0] * 200_000, pyarrow.timestamp("us", "UTC")),
            "load": [0.5] * 200_000,
        }})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            lakehouse.write({str(location)!r}, noise)
        except lakehouse.StorageFullError as error:
            print(error)
            sys.exit(9)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 9, done.stderr
    assert str(location) in done.stdout
    assert "free disk space" in done.stdout
    assert lakehouse.latest_version(location) == 0
    assert lakehouse.read(location).num_rows == 10
    assert lakehouse.write(location, make_rows()) == 1


def test_no_space_left_is_a_full_disk(location: Path) -> None:
    from headrace.lakehouse.opening import delta_errors

    with pytest.raises(StorageFullError), delta_errors(location):
        raise OSError(28, "No space left on device")


def test_a_directory_that_may_not_be_written(location: Path, make_rows: MakeRows) -> None:
    location.parent.mkdir(parents=True)
    location.write_text("a file is in the way")
    with pytest.raises(lakehouse.StorageError) as caught:
        lakehouse.write(location, make_rows())
    assert caught.value.location == str(location)


@pytest.mark.parametrize("zone", ["Etc/UTC", "Europe/Berlin", "+02:00"])
def test_any_time_zone_is_stored_as_utc(tmp_path: Path, zone: str) -> None:
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    data = pyarrow.table({"at": pyarrow.array([moment], pyarrow.timestamp("ns", zone))})
    lakehouse.write(tmp_path / "table", data)
    lakehouse.write(tmp_path / "table", data.to_reader())
    stored = lakehouse.read(tmp_path / "table")
    assert stored.schema.field("at").type == pyarrow.timestamp("us", "UTC")
    assert stored.column("at").to_pylist() == [moment, moment]


@pytest.mark.parametrize("name", ["a[b]", "a%20b", "a*", "a{b}", "a\nb"])
def test_a_path_that_the_library_mistakes(tmp_path: Path, make_rows: MakeRows, name: str) -> None:
    with pytest.raises(lakehouse.StorageError, match="cannot address"):
        lakehouse.write(tmp_path / name, make_rows())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "ä", "100%", "a+b", "a#b", "a?b", "a&b", "a=b", "a'b"])
def test_other_odd_paths_work(tmp_path: Path, make_rows: MakeRows, name: str) -> None:
    location = tmp_path / name / "t"
    lakehouse.write(location, make_rows())
    assert lakehouse.read(location).num_rows == 10
    assert Path(lakehouse.files(location)[0].path).exists()
