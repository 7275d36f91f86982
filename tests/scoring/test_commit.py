"""Merging staged files into a table: once, and by key."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace import lakehouse
from headrace.scoring import commit

SCHEMA = pa.schema([("id", pa.int64()), ("odd name", pa.string()), ("score", pa.float64())])
KEY = ["id", "odd name"]


def rows(ids: list[int], score: float) -> pa.Table:
    return pa.table([ids, [f"n{i}" for i in ids], [score] * len(ids)], schema=SCHEMA)


@pytest.fixture
def table(tmp_path: Path) -> str:
    location = str(tmp_path / "table")
    lakehouse.write(location, rows([1, 2, 3, 4], 0.0))
    return location


@pytest.fixture
def staged(tmp_path: Path) -> tuple[Path, Path]:
    changed, removed = tmp_path / "changed", tmp_path / "removed"
    changed.mkdir()
    removed.mkdir()
    pq.write_table(rows([2, 5], 1.0), changed / "a.parquet")
    pq.write_table(rows([4], 0.0).select(KEY), removed / "a.parquet")
    return changed, removed


def merge(table: str, staged: tuple[Path, Path], number: int = 1) -> int:
    transaction = lakehouse.Transaction("test", number)
    return commit.merge(table, *staged, SCHEMA, KEY, transaction, f"marker-{number}")


def scores(table: str) -> dict[int, float]:
    found = lakehouse.read(table).to_pydict()
    return dict(sorted(zip(found["id"], found["score"], strict=True)))


def test_rows_are_replaced_inserted_and_removed_in_one_commit(
    table: str, staged: tuple[Path, Path]
) -> None:
    assert merge(table, staged) == 1
    assert scores(table) == {1: 0.0, 2: 1.0, 3: 0.0, 5: 1.0}
    assert lakehouse.commit_of(table, "marker-1") == 1


def test_a_merge_with_the_same_transaction_happens_once(
    table: str, staged: tuple[Path, Path]
) -> None:
    merge(table, staged)
    lakehouse.write(table, rows([6], 6.0))
    assert merge(table, staged) == 1
    assert lakehouse.latest_version(table) == 2
    assert merge(table, staged, number=2) == 3


def test_a_merge_after_another_commit_keeps_its_rows(table: str, staged: tuple[Path, Path]) -> None:
    lakehouse.write(table, rows([7], 7.0))
    merge(table, staged)
    assert scores(table) == {1: 0.0, 2: 1.0, 3: 0.0, 5: 1.0, 7: 7.0}


def test_staged_rows_are_counted_from_the_footers(staged: tuple[Path, Path]) -> None:
    assert commit.row_count(staged[0]) == 2
    assert commit.row_count(staged[0].parent / "nothing") == 0
