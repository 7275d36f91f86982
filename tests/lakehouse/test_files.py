from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow
import pytest

from headrace import lakehouse
from headrace.lakehouse import CorruptTableError, PredicateError, VersionNotFoundError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from .conftest import MakeRows


def test_files_are_absolute_decoded_and_there(tmp_path: Path) -> None:
    rows = pyarrow.table({"id": [1, 2, 3], "site": ["a b%", None, "ü/ö"]})
    lakehouse.write(tmp_path / "t", rows, partition_by=["site"])
    found = lakehouse.files(tmp_path / "t")
    assert all(Path(file.path).stat().st_size == file.size for file in found)
    assert {file.partition_values["site"] for file in found} == {"a b%", None, "ü/ö"}
    added = lakehouse.added_files(tmp_path / "t", -1, 0)
    assert added is not None
    assert sorted(added, key=lambda file: file.path) == found


def test_partition_values_are_text(tmp_path: Path) -> None:
    rows = pyarrow.table({"id": [1], "day": pyarrow.array([0], pyarrow.date32()), "ok": [True]})
    lakehouse.write(tmp_path / "t", rows, partition_by=["day", "ok"])
    (file,) = lakehouse.files(tmp_path / "t")
    assert file.partition_values == {"day": "1970-01-01", "ok": "true"}


def test_added_files_are_what_the_appends_brought(location: Path, make_rows: MakeRows) -> None:
    for number in range(4):
        lakehouse.write(location, make_rows(5, first=5 * number))
    assert lakehouse.added_files(location, 3, 3) == []
    found = lakehouse.added_files(location, 1, 3)
    assert found is not None
    assert len(found) == 2
    ids = pyarrow.concat_tables([_parquet(file.path) for file in found])["id"].to_pylist()
    assert ids == list(range(10, 20))
    assert len(lakehouse.added_files(location, -1, 3) or []) == 4


def test_a_compaction_adds_nothing(location: Path, make_rows: MakeRows) -> None:
    for number in range(4):
        lakehouse.write(location, make_rows(5, first=5 * number))
    assert lakehouse.compact(location) == 4
    assert len(lakehouse.files(location)) == 1
    assert lakehouse.added_files(location, 3, 4) == []
    assert len(lakehouse.added_files(location, 1, 4) or []) == 2
    assert lakehouse.row_count(location) == 20


def test_an_overwrite_or_a_delete_is_no_append(location: Path, make_rows: MakeRows) -> None:
    from deltalake import DeltaTable

    lakehouse.write(location, make_rows())
    lakehouse.write(location, make_rows(), mode="overwrite")
    DeltaTable(str(location)).delete("id = 3")
    lakehouse.write(location, make_rows())
    assert lakehouse.added_files(location, 0, 1) is None
    assert lakehouse.added_files(location, 1, 2) is None
    assert lakehouse.added_files(location, 0, 3) is None
    assert len(lakehouse.added_files(location, 2, 3) or []) == 1


def test_files_that_are_gone_cannot_be_read_as_new(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows())
    Path(lakehouse.files(location)[0].path).unlink()
    assert lakehouse.added_files(location, -1, 0) is None


def test_added_files_until_a_version_that_is_not_there(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows())
    with pytest.raises(VersionNotFoundError):
        lakehouse.added_files(location, 0, 1)


def test_read_selects_columns_and_rows(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows(10))
    found = lakehouse.read(location, columns=["load", "id"], filter="id >= 8 AND device = 'd2'")
    assert found.to_pylist() == [{"load": 4.0, "id": 8}]
    assert lakehouse.read(location).schema == make_rows().schema


def test_read_gives_plain_types(location: Path) -> None:
    rows = pyarrow.table(
        {
            "text": pyarrow.array(["a"], pyarrow.large_string()),
            "bytes": [b"a"],
            "list": [["a", "b"]],
            "struct": [{"x": "a"}],
        }
    )
    lakehouse.write(location, rows)
    assert lakehouse.read(location).schema == lakehouse.schema(location)
    assert lakehouse.schema(location).field("text").type == pyarrow.string()


@pytest.mark.parametrize(
    ("columns", "filter"),
    [(["lod"], None), (None, "lod > 3"), (None, "load >"), (None, "load = 'x'")],
)
def test_a_read_that_does_not_fit_the_table(
    location: Path, make_rows: MakeRows, columns: list[str] | None, filter: str | None
) -> None:
    lakehouse.write(location, make_rows())
    with pytest.raises(PredicateError) as caught:
        lakehouse.read(location, columns=columns, filter=filter)
    assert caught.value.location == str(location)


def test_a_data_file_that_is_gone(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows())
    Path(lakehouse.files(location)[0].path).unlink()
    with pytest.raises(CorruptTableError):
        lakehouse.read(location)


def test_a_data_file_cut_short(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows())
    lakehouse.write(location, make_rows())
    (file,) = lakehouse.added_files(location, 0, 1) or []
    Path(file.path).write_bytes(Path(file.path).read_bytes()[:100])
    with pytest.raises(CorruptTableError, match=r"(?i)parquet"):
        lakehouse.read(location)
    assert lakehouse.read(location, version=0).num_rows == 10


def test_rows_are_counted_where_the_log_does_not_say(location: Path, make_rows: MakeRows) -> None:
    lakehouse.write(location, make_rows(10))
    commit = location / "_delta_log" / f"{0:020}.json"
    text = commit.read_text()
    start = text.index(',"stats":"')
    end = text.index(',"tags"', start)
    commit.write_text(text[:start] + text[end:])
    assert lakehouse.row_count(location) == 10


def totals(spark: SparkSession, location: Path, version: int) -> tuple[int, float]:
    frame = spark.read.format("delta").option("versionAsOf", version).load(str(location))
    row = frame.selectExpr("count(*) AS n", "sum(id) AS total").collect()[0]
    return row.n, row.total


def ours(location: Path, version: int) -> tuple[int, float]:
    ids = lakehouse.read(location, version=version, columns=["id"])["id"].to_pylist()
    assert lakehouse.row_count(location, version) == len(ids)
    return len(ids), sum(ids)


@pytest.mark.parametrize("deletion_vectors", ["true", "false"])
def test_sail_and_delta_rs_agree(
    spark: SparkSession, tmp_path: Path, deletion_vectors: str
) -> None:
    """Sail creates, deletes and updates; delta-rs appends; both see the same at each version."""
    location = tmp_path / "t"
    (
        spark.range(50_000)
        .selectExpr("id", "concat('d', cast(id % 7 AS string)) AS device")
        .write.format("delta")
        .option("delta.enableDeletionVectors", deletion_vectors)
        .save(str(location))
    )
    spark.sql(f"DELETE FROM delta.`{location}` WHERE id % 10 = 3").collect()
    more = pyarrow.table({"id": range(50_000, 51_000), "device": ["d9"] * 1000})
    lakehouse.write(location, more)
    spark.sql(f"DELETE FROM delta.`{location}` WHERE device = 'd9' AND id % 2 = 0").collect()
    latest = lakehouse.latest_version(location)
    assert latest == 3
    for version in range(latest + 1):
        assert ours(location, version) == totals(spark, location, version)
    masked = [file.has_deletion_vector for file in lakehouse.files(location)]
    assert any(masked) == (deletion_vectors == "true")
    assert lakehouse.added_files(location, 1, 2) is not None
    assert lakehouse.added_files(location, 0, 1) is None
    assert lakehouse.read(location, filter="device = 'd9'").num_rows == 500


def _parquet(path: str) -> pyarrow.Table:
    from pyarrow import parquet

    return parquet.read_table(path)
