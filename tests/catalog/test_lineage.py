from __future__ import annotations

import hashlib
import multiprocessing
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from headrace.catalog import Access, ColumnFlow, Lineage, Operation, RawFileError, Store, TableName
from headrace.catalog.tables import flow_sets
from headrace.ids import new_id

from .conftest import NOON

if TYPE_CHECKING:
    from .conftest import MakeOperation


def versions(operations: list[Operation]) -> list[int | None]:
    return [operation.writes[0].version for operation in operations]


def test_an_operation_comes_back_as_it_was_recorded(
    lineage: Lineage, make_operation: MakeOperation, tmp_path: Path
) -> None:
    raw = tmp_path / "a.parquet"
    raw.write_bytes(b"rows")
    operation = make_operation(
        "gold.features",
        3,
        "overwrite",
        reads=(
            Access("table", "main.silver.telemetry", 7, ("device", "at")),
            Access("path", str(tmp_path)),
            Access("model", "models:/m-1"),
        ),
        files=(lineage.fingerprint(raw),),
        run_id="run",
    )
    lineage.record(operation)
    assert lineage.operation(operation.id) == operation
    assert lineage.operation("op_unknown") is None


def test_flows_are_kept_once_for_all_operations_that_have_them(
    lineage: Lineage, store: Store, make_operation: MakeOperation
) -> None:
    def refresh(version: int, *flows: ColumnFlow) -> Operation:
        read = Access("table", "main.silver.telemetry", version)
        operation = make_operation("gold.features", version, reads=(read,))
        return replace(operation, flows=flows)

    flows = (ColumnFlow("a", 0, "x", "direct"), ColumnFlow(None, 0, None, "direct"))
    made = [refresh(0, *flows), refresh(1, *flows), refresh(2, flows[0]), refresh(3)]
    for operation in made:
        lineage.record(operation)
    assert lineage.operations() == made[::-1]
    with store.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(flow_sets)) == 2


def test_recording_twice_keeps_one(lineage: Lineage, make_operation: MakeOperation) -> None:
    operation = make_operation("gold.features", 0)
    lineage.record(operation)
    lineage.record(replace(operation, mode="merge"))
    assert lineage.operations() == [operation]


def test_operations_filter_and_come_newest_first(
    lineage: Lineage, make_operation: MakeOperation
) -> None:
    first = make_operation("gold.a", 0, minute=0, run_id="one")
    second = make_operation("gold.a", 1, minute=5)
    third = replace(make_operation("gold.b", 0, minute=9), session_id="other", kind="train")
    for operation in (second, third, first):
        lineage.record(operation)
    assert lineage.operations() == [third, second, first]
    assert lineage.operations(subject="main.gold.a") == [second, first]
    assert lineage.operations(run_id="one") == [first]
    assert lineage.operations(session_id="other") == [third]
    assert lineage.operations(kind="train") == [third]
    assert lineage.operations(limit=2) == [third, second]
    since = NOON + timedelta(minutes=5)
    assert lineage.operations(since=since) == [third, second]
    assert lineage.operations(until=since) == [first]
    assert lineage.operations(subject="main.gold.a", run_id="two") == []


def test_producers_walk_back_to_the_last_overwrite(
    lineage: Lineage, make_operation: MakeOperation
) -> None:
    modes = ["overwrite", "append", "overwrite", "append", "merge", "append"]
    for version, mode in enumerate(modes):
        lineage.record(make_operation("gold.a", version, mode))
    lineage.record(make_operation("gold.b", 4, "overwrite"))
    assert versions(lineage.producers("gold.a", 5)) == [5, 4, 3, 2]
    assert versions(lineage.producers(TableName.parse("gold.a"), 3)) == [3, 2]
    assert versions(lineage.producers("gold.a", 2)) == [2]
    assert versions(lineage.producers("gold.a", 1)) == [1, 0]
    assert lineage.producers("gold.unknown", 1) == []


def test_producers_skip_versions_that_nobody_recorded(
    lineage: Lineage, make_operation: MakeOperation
) -> None:
    for version in (0, 1, 4):
        lineage.record(make_operation("gold.a", version))
    assert versions(lineage.producers("gold.a", 3)) == [1, 0]


def test_producers_of_a_table_made_again_leave_out_its_predecessor(
    lineage: Lineage, make_operation: MakeOperation
) -> None:
    for version in range(4):
        lineage.record(make_operation("gold.a", version, minute=version))
    again = [make_operation("gold.a", version, minute=10 + version) for version in range(2)]
    for operation in again:
        lineage.record(operation)
    assert lineage.producers("gold.a", 3) == again[::-1]


def test_consumers(lineage: Lineage, make_operation: MakeOperation) -> None:
    reader = make_operation("gold.b", 0, reads=(Access("table", "main.gold.a", 3),))
    later = make_operation("gold.b", 1, reads=(Access("table", "main.gold.a", 4),))
    lineage.record(reader)
    lineage.record(later)
    assert lineage.consumers("gold.a") == [later, reader]
    assert lineage.consumers("gold.a", version=3) == [reader]
    assert lineage.consumers("gold.b") == []


def test_a_fingerprint_is_the_checksum_of_the_contents(lineage: Lineage, tmp_path: Path) -> None:
    raw = tmp_path / "ä b%.parquet"
    raw.write_bytes(b"x" * 100_000)
    found = lineage.fingerprint(raw)
    assert found.path == str(raw)
    assert found.size == 100_000
    assert found.sha256 == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_a_fingerprint_is_taken_once(
    lineage: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "a.parquet"
    raw.write_bytes(b"rows")
    os.utime(raw, ns=(0, 1_700_000_000_123_456_789))
    first = lineage.fingerprint(raw)

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", refuse)
        assert lineage.fingerprint(raw) == first
    raw.write_bytes(b"more rows")
    assert lineage.fingerprint(raw).sha256 == hashlib.sha256(b"more rows").hexdigest()


def test_a_file_changed_within_the_clock_tick_is_read_again(
    lineage: Lineage, tmp_path: Path
) -> None:
    raw = tmp_path / "a.parquet"
    raw.write_bytes(b"rows")
    status = raw.stat()
    lineage.fingerprint(raw)
    raw.write_bytes(b"swor")
    os.utime(raw, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert lineage.fingerprint(raw).sha256 == hashlib.sha256(b"swor").hexdigest()


def test_a_recorded_file_does_not_become_a_cached_checksum(
    lineage: Lineage, make_operation: MakeOperation, tmp_path: Path
) -> None:
    raw = tmp_path / "a.parquet"
    raw.write_bytes(b"rows")
    os.utime(raw, (1, 1))
    wrong = replace(lineage.fingerprint(raw), path=str(tmp_path / "b.parquet"), sha256="0" * 64)
    lineage.record(make_operation("gold.a", 0, files=(wrong,)))
    (tmp_path / "b.parquet").write_bytes(b"rows")
    os.utime(tmp_path / "b.parquet", (1, 1))
    assert lineage.fingerprint(tmp_path / "b.parquet").sha256 != "0" * 64


def test_fingerprints_of_many_files_keep_their_order(lineage: Lineage, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(1203)]
    for path in paths:
        path.write_text(path.name)
    found = lineage.fingerprints(paths)
    assert [file.path for file in found] == [str(path) for path in paths]
    assert len({file.sha256 for file in found}) == 1203


def test_a_file_that_is_not_there(lineage: Lineage, tmp_path: Path) -> None:
    with pytest.raises(RawFileError, match="No such file") as caught:
        lineage.fingerprint(tmp_path / "gone.parquet")
    assert caught.value.path == tmp_path / "gone.parquet"


def _record_many(url: str, worker: int, count: int, shared: list[str]) -> None:
    lineage = Lineage(Store.open(url))
    files = tuple(lineage.fingerprint(path) for path in shared)
    for number in range(count):
        lineage.record(
            Operation(
                id=new_id("op"),
                kind="append",
                subject="main.gold.a",
                session_id=f"worker-{worker}",
                run_id=None,
                started_at=NOON,
                finished_at=NOON,
                writes=(Access("table", "main.gold.a", number),),
                files=files,
            )
        )


def test_processes_record_together(url: str, tmp_path: Path) -> None:
    """Four processes that also open a new database and take the same checksums at once."""
    raw = tmp_path / "a.parquet"
    raw.write_bytes(b"rows")
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_record_many, args=(url, worker, 25, [str(raw)]))
        for worker in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    store = Store.open(url)
    found = Lineage(store).operations()
    store.close()
    assert len(found) == 100
    assert {operation.files[0].path for operation in found} == {str(raw)}
