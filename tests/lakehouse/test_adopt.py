from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pytest
from pyarrow import parquet

from headrace import lakehouse
from headrace.lakehouse import (
    DataFileError,
    TableSchemaError,
    Transaction,
    commit_files,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from .conftest import MakeRows


def put(location: Path, name: str, rows: pyarrow.Table, **options: Any) -> str:
    path = location / name
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(rows, path, **options)
    return name


def add_actions(location: Path, version: int) -> list[dict[str, Any]]:
    lines = (location / "_delta_log" / f"{version:020}.json").read_text().splitlines()
    return [action["add"] for line in lines if "add" in (action := json.loads(line))]


def statistics(location: Path, version: int = 0) -> dict[str, Any]:
    (add,) = add_actions(location, version)
    found: dict[str, Any] = json.loads(add["stats"])
    return found


def test_files_become_a_table_in_one_commit(location: Path, make_rows: MakeRows) -> None:
    names = [put(location, f"{n}.parquet", make_rows(5, first=5 * n)) for n in range(2)]
    assert commit_files(location, names, make_rows().schema, marker="op_1") == 0
    assert lakehouse.read(location).sort_by("id") == make_rows(10)
    assert lakehouse.row_count(location) == 10
    assert lakehouse.commit_of(location, "op_1") == 0


def test_files_are_appended_or_replace_all(location: Path, make_rows: MakeRows) -> None:
    schema = make_rows().schema
    lakehouse.write(location, make_rows(3))
    assert commit_files(location, [put(location, "a", make_rows(2, first=3))], schema) == 1
    assert lakehouse.row_count(location) == 5
    absolute = location / put(location, "sub/b c%20.parquet", make_rows(1))
    assert commit_files(location, [absolute], schema, mode="overwrite") == 2
    assert lakehouse.read(location) == make_rows(1)
    assert lakehouse.files(location)[0].path == str(absolute)
    assert lakehouse.read(location, version=1).num_rows == 5


def test_a_transaction_commits_once(location: Path, make_rows: MakeRows) -> None:
    schema = make_rows().schema
    for batch in range(3):
        name = put(location, f"{batch}.parquet", make_rows(2, first=2 * batch))
        for _ in range(2):
            done = commit_files(location, [name], schema, transaction=Transaction("flow", batch))
            assert done == batch
    assert lakehouse.read(location).sort_by("id") == make_rows(6)


def test_no_files_with_a_transaction_mark_the_batch(location: Path, make_rows: MakeRows) -> None:
    schema = make_rows().schema
    assert commit_files(location, [], schema, transaction=Transaction("flow", 0)) == 0
    assert commit_files(location, [], schema, transaction=Transaction("flow", 1)) == 1
    assert lakehouse.transaction_version(location, "flow") == 1
    assert lakehouse.read(location).schema == schema


def test_partitions_come_from_the_directories(location: Path) -> None:
    rows = pyarrow.table({"id": [1]})
    schema = pyarrow.schema(
        [("id", pyarrow.int64()), ("site", pyarrow.string()), ("day", pyarrow.date32())]
    )
    names = [
        put(location, "site=a%20b/day=2026-03-01/1.parquet", rows),
        put(location, "site=__HIVE_DEFAULT_PARTITION__/day=2026-03-02/1.parquet", rows),
    ]
    commit_files(location, names, schema, partition_by=["site", "day"])
    assert lakehouse.read(location).sort_by("day").to_pylist() == [
        {"id": 1, "site": "a b", "day": date(2026, 3, 1)},
        {"id": 1, "site": None, "day": date(2026, 3, 2)},
    ]
    assert lakehouse.read(location, filter="site = 'a b'").num_rows == 1


def test_an_overwrite_may_change_columns_and_partitions(
    location: Path, make_rows: MakeRows
) -> None:
    lakehouse.write(location, make_rows(), transaction=Transaction("a", 1))
    rows = pyarrow.table({"id": ["x"]})
    schema = pyarrow.schema([("id", pyarrow.string()), ("site", pyarrow.string())])
    name = put(location, "site=s/1.parquet", rows)
    commit_files(location, [name], schema, mode="overwrite", partition_by=["site"])
    assert lakehouse.read(location).to_pylist() == [{"id": "x", "site": "s"}]
    assert lakehouse.read(location, version=0).num_rows == 10
    assert lakehouse.transaction_version(location, "a") == 1
    commit_files(location, [put(location, "2", rows)], rows.schema, mode="overwrite")
    assert lakehouse.read(location).to_pylist() == [{"id": "x"}]


def test_an_append_keeps_the_partitions(location: Path) -> None:
    rows = pyarrow.table({"id": [1], "site": ["a"]})
    lakehouse.write(location, rows, partition_by=["site"])
    with pytest.raises(TableSchemaError, match="partitioned by"):
        commit_files(location, [put(location, "1.parquet", rows)], rows.schema)
    assert lakehouse.latest_version(location) == 0


def test_an_append_keeps_the_columns(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows())
    rows = pyarrow.table({"id": ["x"]})
    with pytest.raises(TableSchemaError, match="lacks at, device, load"):
        commit_files(location, [put(location, "1.parquet", rows)], rows.schema)
    other = make_rows().set_column(3, "load", make_rows()["device"])
    with pytest.raises(TableSchemaError, match="load is string in the data and double"):
        commit_files(location, [put(location, "1.parquet", other)], other.schema)
    assert lakehouse.latest_version(location) == 0


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (pyarrow.table({"id": [1], "b": [1], "c": [1]}), "a column c"),
        (pyarrow.table({"id": [1]}), "lacks the column b"),
        (pyarrow.table({"id": [1], "b": ["x"]}), "column b is string"),
    ],
)
def test_a_file_with_other_columns(location: Path, rows: pyarrow.Table, reason: str) -> None:
    schema = pyarrow.schema([("id", pyarrow.int64()), ("b", pyarrow.int64())])
    with pytest.raises(DataFileError, match=reason) as caught:
        commit_files(location, [put(location, "1.parquet", rows)], schema)
    assert caught.value.path == str(location / "1.parquet")
    assert not lakehouse.exists(location)


def test_files_that_cannot_be_read(location: Path, make_rows: MakeRows) -> None:
    schema = make_rows().schema
    good = put(location, "good.parquet", make_rows())
    whole = (location / good).read_bytes()
    (location / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (location / "text.parquet").write_text("no parquet")
    for bad in ("cut.parquet", "text.parquet", "gone.parquet"):
        with pytest.raises(DataFileError) as caught:
            commit_files(location, [good, bad], schema)
        assert caught.value.path == str(location / bad)
    assert not lakehouse.exists(location)


def test_a_file_elsewhere(location: Path, tmp_path: Path, make_rows: MakeRows) -> None:
    put(tmp_path, "elsewhere.parquet", make_rows())
    with pytest.raises(DataFileError, match="outside"):
        commit_files(location, [tmp_path / "elsewhere.parquet"], make_rows().schema)
    with pytest.raises(DataFileError, match="outside"):
        commit_files(location, ["../../elsewhere.parquet"], make_rows().schema)


def test_a_partition_that_is_not_in_the_path(location: Path, make_rows: MakeRows) -> None:
    name = put(location, "a=1/1.parquet", make_rows().drop_columns(["device"]))
    with pytest.raises(DataFileError, match=r"partitions \['a'\], the table has \['device'\]"):
        commit_files(location, [name], make_rows().schema, partition_by=["device"])


def test_statistics_bound_the_values(location: Path) -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 1234, tzinfo=UTC)
    rows = pyarrow.table(
        {
            "int": pyarrow.array([3, None, 1], pyarrow.int32()),
            "float": [2.5, -1.0, None],
            "text": ["b", "a", None],
            "day": [date(2026, 3, 1), None, date(2026, 2, 1)],
            "at": [moment, moment, None],
            "flag": [True, False, None],
            "none": pyarrow.array([None, None, None], pyarrow.int64()),
            "money": pyarrow.array([Decimal("1.50"), None, None], pyarrow.decimal128(9, 2)),
            "list": [[1], [2], None],
            "struct": [{"x": 1}, None, {"x": 2}],
        }
    )
    commit_files(location, [put(location, "1", rows, row_group_size=2)], rows.schema)
    found = statistics(location)
    assert found["numRecords"] == 3
    assert found["minValues"] == {
        "int": 1,
        "float": -1.0,
        "text": "a",
        "day": "2026-02-01",
        "at": "2026-03-01T12:00:00.001Z",
    }
    assert found["maxValues"] == {
        "int": 3,
        "float": 2.5,
        "text": "b",
        "day": "2026-03-01",
        "at": "2026-03-01T12:00:00.002Z",
    }
    assert found["nullCount"]["none"] == 3
    assert found["nullCount"]["int"] == 1
    assert lakehouse.read(location).to_pylist() == rows.to_pylist()


def test_long_text_is_bounded_from_below_alone(location: Path) -> None:
    rows = pyarrow.table({"long": ["x" * 100], "short": ["x"]})
    commit_files(location, [put(location, "1", rows)], rows.schema)
    found = statistics(location)
    assert found["maxValues"] == {"short": "x"}
    assert "long" not in found["minValues"] or found["minValues"]["long"] == "x" * 32


def test_a_file_without_statistics(location: Path, make_rows: MakeRows) -> None:
    name = put(location, "1.parquet", make_rows(), write_statistics=False)
    commit_files(location, [name], make_rows().schema)
    assert statistics(location) == {
        "numRecords": 10,
        "minValues": {},
        "maxValues": {},
        "nullCount": {},
    }
    assert lakehouse.read(location, filter="id = 3").num_rows == 1


def test_files_that_sail_wrote(spark: SparkSession, tmp_path: Path) -> None:
    """The way of a streaming table: Sail writes the files, one commit takes them in."""
    location = tmp_path / "t"
    frame = spark.range(5000).selectExpr(
        "id", "cast(id % 3 AS string) AS device", "timestamp_micros(id * 1000003) AS at"
    )
    for batch in range(2):
        directory = location / f"batch-{batch}"
        frame.repartition(3).write.mode("overwrite").parquet(str(directory))
        parts = sorted(directory.glob("*.parquet"))
        assert parts
        schema = parquet.read_schema(parts[0])
        commit_files(location, parts, schema, transaction=Transaction("flow", batch))
    assert lakehouse.row_count(location) == 10_000
    table = spark.read.format("delta").load(str(location))
    assert table.count() == 10_000
    for condition in ("id = 4999", "at >= timestamp_micros(4999 * 1000003)", "device = '2'"):
        expected = frame.where(condition).count() * 2
        assert table.where(condition).count() == expected
    assert lakehouse.read(location, filter="id = 4999").num_rows == 2


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "+00:00", "Europe/Vienna"])
def test_times_with_a_zone_are_times_in_utc(location: Path, zone: str) -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    kind = pyarrow.timestamp("us", zone)
    nested = pyarrow.struct([("at", kind), ("all", pyarrow.list_(kind))])
    rows = pyarrow.table(
        {
            "at": pyarrow.array([moment], kind),
            "nested": pyarrow.array([{"at": moment, "all": [moment]}], nested),
        }
    )
    assert commit_files(location, [put(location, "1", rows)], rows.schema) == 0
    assert commit_files(location, [put(location, "2", rows)], rows.schema) == 1
    found = lakehouse.read(location).to_pylist()
    assert found == [{"at": moment, "nested": {"at": moment, "all": [moment]}}] * 2
