"""Writers in processes of their own, at once, on one table."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pytest
from pyarrow import parquet

from headrace import lakehouse
from headrace.lakehouse import DeltaConflictError, Transaction

if TYPE_CHECKING:
    from .conftest import MakeRows

SCHEMA = pyarrow.schema([("writer", pyarrow.int64()), ("number", pyarrow.int64())])


def rows(writer: int, number: int) -> pyarrow.Table:
    return pyarrow.table({"writer": [writer], "number": [number]}, SCHEMA)


def _append(location: str, writer: int, start: Any) -> None:
    start.wait()
    for number in range(10):
        lakehouse.write(location, rows(writer, number))


def _batches(location: str, writer: int, start: Any) -> None:
    """Every writer tries the same transactions; for each, one may win."""
    start.wait()
    for number in range(8):
        held = lakehouse.write(
            location, rows(writer, number), transaction=Transaction("shared", number)
        )
        assert held <= (lakehouse.latest_version(location) or 0)


def _commits(location: str, writer: int, start: Any) -> None:
    start.wait()
    for number in range(8):
        path = Path(location) / f"{writer}-{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(rows(writer, number), path)
        lakehouse.commit_files(location, [path], SCHEMA, transaction=Transaction("shared", number))


def at_once(target: Callable[..., None], location: Path, writers: int = 4) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(writers)
    processes = [
        context.Process(target=target, args=(str(location), writer, start))
        for writer in range(writers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    assert [process.exitcode for process in processes] == [0] * writers


def test_appends_are_all_there(location: Path) -> None:
    """The table does not exist yet: the writers race to make it, too."""
    at_once(_append, location)
    found = lakehouse.read(location).to_pylist()
    assert len(found) == 40
    assert {(row["writer"], row["number"]) for row in found} == {
        (writer, number) for writer in range(4) for number in range(10)
    }


@pytest.mark.parametrize("target", [_batches, _commits])
def test_a_transaction_is_made_once_by_whoever_is_first(
    location: Path, target: Callable[..., None]
) -> None:
    at_once(target, location)
    assert sorted(lakehouse.read(location)["number"].to_pylist()) == list(range(8))
    assert lakehouse.transaction_version(location, "shared") == 7


def between(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Let another writer commit after this one has read the table, once."""
    from headrace.lakehouse.opening import open_table

    left = [action]

    def open_then_lose(*arguments: Any) -> Any:
        table = open_table(*arguments)
        if left:
            left.pop()()
        return table

    monkeypatch.setattr("headrace.lakehouse.commit.open_table", open_then_lose)


def test_an_overwrite_that_lost_is_not_forced_through(
    location: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.write(location, make_rows(1))
    between(monkeypatch, lambda: lakehouse.write(location, make_rows(2), mode="overwrite"))
    with pytest.raises(DeltaConflictError, match="overwrite was tried once") as caught:
        lakehouse.write(location, make_rows(3), mode="overwrite")
    assert caught.value.location == str(location)
    assert lakehouse.row_count(location) == 2


def test_an_overwrite_keeps_an_append_that_it_has_not_seen(
    location: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.write(location, make_rows(1))
    between(monkeypatch, lambda: lakehouse.write(location, make_rows(1, first=100)))
    lakehouse.write(location, make_rows(1, first=200), mode="overwrite")
    assert sorted(lakehouse.read(location)["id"].to_pylist()) == [100, 200]


def test_an_append_that_lost_is_tried_again(
    location: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.write(location, make_rows(1))
    new = make_rows(2).append_column("site", make_rows(2)["device"])

    def change_the_table() -> None:
        lakehouse.write(location, new, mode="overwrite", replace_schema=True)
        lakehouse.write(location, make_rows(3), mode="overwrite", replace_schema=True)

    between(monkeypatch, change_the_table)
    assert lakehouse.write(location, make_rows(4)) == 3
    assert lakehouse.row_count(location) == 7


def test_a_reader_that_lost_is_reported(
    location: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are gone: trying again would commit nothing, or a part."""
    lakehouse.write(location, make_rows(1))
    between(
        monkeypatch,
        lambda: lakehouse.write(location, make_rows(2), mode="overwrite", replace_schema=True),
    )
    with pytest.raises(DeltaConflictError):
        lakehouse.write(location, make_rows(4).to_reader())
    assert lakehouse.row_count(location) == 2


def test_the_same_overwrite_by_another_engine_counts_as_done(
    location: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that knows nothing of our lock, but writes the same transaction."""
    from deltalake import CommitProperties, write_deltalake
    from deltalake.transaction import Transaction as DeltaTransaction

    lakehouse.write(location, make_rows(1))
    properties = CommitProperties(app_transactions=[DeltaTransaction("refresh", 1)])
    between(
        monkeypatch,
        lambda: write_deltalake(
            str(location), make_rows(2), mode="overwrite", commit_properties=properties
        ),
    )
    transaction = Transaction("refresh", 1)
    done = lakehouse.write(location, make_rows(3), mode="overwrite", transaction=transaction)
    assert done == 1
    assert lakehouse.row_count(location) == 2


def test_a_writer_that_holds_the_table_too_long(
    location: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headrace.lakehouse.lock import exclusive

    monkeypatch.setattr("headrace.lakehouse.lock.LONGEST_WAIT_SECONDS", 0.05)
    with exclusive(location), pytest.raises(DeltaConflictError, match="held the table"):
        lakehouse.write(location, make_rows(1))
    assert lakehouse.write(location, make_rows(1)) == 0


def unseen(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Let a writer see no table, once for each entry: it appeared right after the look."""
    answers: list[None] = [None]

    def late(place: Path) -> int | None:
        return answers.pop() if answers else lakehouse.latest_version(place)

    monkeypatch.setattr("headrace.lakehouse.commit.latest_version", late)
    return answers


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_table_that_appears_meanwhile_is_looked_at_again(
    location: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    """Two writers find no table; the slower one must not add the same transaction again."""
    transaction = Transaction("refresh", 1)
    lakehouse.write(location, make_rows(1), transaction=transaction)
    answers = unseen(monkeypatch)
    rows = make_rows(5)
    assert lakehouse.write(location, rows, mode=mode, transaction=transaction) == 0
    answers.append(None)
    parquet.write_table(rows, location / "1.parquet")
    done = lakehouse.commit_files(
        location, ["1.parquet"], rows.schema, mode=mode, transaction=transaction
    )
    assert done == 0
    assert lakehouse.row_count(location) == 1


def test_an_overwrite_of_a_table_that_appears_meanwhile(
    location: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.write(location, make_rows(1))
    unseen(monkeypatch).append(None)  # looked at before and behind the lock
    with pytest.raises(DeltaConflictError):
        lakehouse.write(location, make_rows(5), mode="overwrite")
    assert lakehouse.row_count(location) == 1
