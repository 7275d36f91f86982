"""Raw files as they come: corrupt, with other columns, with other types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from headrace.pipeline.errors import CorruptFileError, FileSchemaError, RefreshError

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Project

UNDECLARED = """
@dp.table(name="bronze.events")
def events():
    return spark.readStream.format("parquet"){options}.load("raw/events")
"""


def damage(path: Path, start: int, length: int) -> None:
    """Overwrite bytes of a file."""
    data = bytearray(path.read_bytes())
    data[start : start + length] = b"\xff" * length
    path.write_bytes(bytes(data))


def test_truncated_file_among_good_ones(events: Project) -> None:
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0])
    bad = events.parquet("raw/events/3.parquet", id=[5], value=[5.0])
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(CorruptFileError, match="a raw file is corrupt") as caught:
        events.run()
    assert caught.value.path == str(bad)
    assert "headrace run main.bronze.events" in str(caught.value)
    assert events.column("bronze.events", "id") == [1, 2, 3]
    bad.unlink()
    events.run()
    assert events.column("bronze.events", "id") == [1, 2, 3, 4]


def test_corrupt_files_are_left_out_on_request(project: Project) -> None:
    project.python(UNDECLARED.format(options='.option("ignoreCorruptFiles", "true")'))
    project.parquet("raw/events/1.parquet", id=[1])
    (project.root / "raw/events/2.parquet").write_bytes(b"PAR1 no PAR1")
    assert project.run()["bronze.events"].rows == 1
    assert project.run() == {}
    (project.root / "raw/events/3.parquet").write_bytes(b"PAR1 nor this PAR1")
    assert project.run()["bronze.events"].rows == 0
    assert project.run() == {}
    newest = project.workspace.lineage.operations(subject="main.bronze.events")[0]
    assert newest.files == ()


def test_damage_inside_a_file_is_traced_to_the_file(project: Project) -> None:
    project.python(UNDECLARED.format(options=""))
    project.parquet("raw/events/1.parquet", id=list(range(1000)))
    bad = project.parquet("raw/events/2.parquet", id=list(range(1000)))
    damage(bad, 30, 200)
    with pytest.raises(CorruptFileError) as caught:
        project.run()
    assert caught.value.path == str(bad)
    assert not project.location("bronze.events").exists() or not list(
        project.location("bronze.events").iterdir()
    )


def test_corrupt_file_of_a_batch_read(project: Project) -> None:
    project.python("""
        @dp.materialized_view(name="gold.all")
        def everything():
            return spark.read.parquet("raw")
    """)
    project.parquet("raw/1.parquet", id=[1])
    project.run()
    bad = project.parquet("raw/2.parquet", id=list(range(1000)))
    bad.write_bytes(bad.read_bytes()[:-8])
    with pytest.raises(CorruptFileError) as caught:
        project.run()
    assert caught.value.path == str(bad)
    assert "ignoreCorruptFiles" not in str(caught.value)
    assert project.rows("gold.all") == [(1,)]


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        ({"id": [2], "value": [2.0], "extra": [1]}, "extra", "is new"),
        ({"id": [2]}, "value", "is missing"),
        ({"id": [2], "values": [2.0]}, "value", 'is missing; did you mean "values"?'),
        ({"id": ["2"], "value": [2.0]}, "id", "is string, in the files before it int64"),
    ],
)
def test_columns_that_drift(
    project: Project, columns: dict[str, list[object]], column: str, message: str
) -> None:
    project.python(UNDECLARED.format(options=""))
    project.parquet("raw/events/1.parquet", id=[1], value=[1.0])
    project.run()
    bad = project.parquet("raw/events/2.parquet", **columns)
    with pytest.raises(FileSchemaError) as caught:
        project.run()
    assert (caught.value.column, caught.value.path) == (column, str(bad))
    assert message in str(caught.value)
    assert project.rows("bronze.events") == [(1, 1.0)]


def test_drift_within_the_first_batch(project: Project) -> None:
    project.python(UNDECLARED.format(options=""))
    project.parquet("raw/events/1.parquet", id=[1])
    project.parquet("raw/events/2.parquet", id=["x"])
    with pytest.raises(FileSchemaError, match='column "id"'):
        project.run()


def test_merge_schema_lets_columns_go(project: Project) -> None:
    project.python(UNDECLARED.format(options='.option("mergeSchema", "true")'))
    project.parquet("raw/events/1.parquet", id=[1], value=[1.0])
    project.run()
    project.parquet("raw/events/2.parquet", id=[2])
    project.run()
    assert project.rows("bronze.events") == [(1, 1.0), (2, None)]


def test_declared_columns_are_all_that_counts(events: Project) -> None:
    events.run()
    events.parquet("raw/events/2.parquet", id=[4], value=[4.0], extra=["x"])
    events.run()
    assert events.rows("bronze.events")[-1] == (4, 4.0)
    bad = events.parquet("raw/events/3.parquet", id=[5], extra=["x"])
    with pytest.raises(FileSchemaError, match='column "value"') as caught:
        events.run()
    assert caught.value.path == str(bad)


def test_column_of_nulls_has_no_type_yet(project: Project) -> None:
    project.python(UNDECLARED.format(options='.schema("id bigint, note string")'))
    project.table("raw/events/1.parquet", pa.table({"id": [1], "note": pa.nulls(1)}))
    project.parquet("raw/events/2.parquet", id=[2], note=["x"])
    try:
        project.run()
    except RefreshError:
        pytest.skip("the engine does not read untyped columns")
    assert project.rows("bronze.events") == [(1, None), (2, "x")]


def times(unit: str) -> pa.Table:
    values = pa.array([1_000_000_000], pa.timestamp("us", "UTC"))
    return pa.table({"time": values.cast(pa.timestamp(unit, "UTC"))})


@pytest.mark.parametrize("units", [("ms", "us"), ("ns", "ns")])
def test_units_of_timestamps(project: Project, units: tuple[str, str]) -> None:
    project.python(UNDECLARED.format(options='.schema("time timestamp")'))
    for number, unit in enumerate(units):
        project.table(f"raw/events/{number}.parquet", times(unit))
    project.run()
    assert [value.minute for value in project.column("bronze.events", "time")] == [16, 16]


def test_nanoseconds_beside_other_units(project: Project) -> None:
    project.python(UNDECLARED.format(options='.schema("time timestamp")'))
    project.table("raw/events/1.parquet", times("us"))
    bad = project.table("raw/events/2.parquet", times("ns"))
    with pytest.raises(FileSchemaError, match="in the files before it timestamp") as caught:
        project.run()
    assert caught.value.path == str(bad)


def test_nanoseconds_need_a_declared_schema(project: Project) -> None:
    project.python(UNDECLARED.format(options=""))
    project.table("raw/events/1.parquet", times("ns"))
    with pytest.raises(FileSchemaError, match="in nanoseconds"):
        project.run()


def test_text_files(project: Project) -> None:
    project.python("""
        @dp.table(name="bronze.events")
        def events():
            return spark.readStream.format("csv").schema("id int, name string").option("header", True).load("raw")
    """)
    (project.root / "raw").mkdir()
    (project.root / "raw/1.csv").write_text("id,name\n1,a\n")
    project.run()
    (project.root / "raw/2.csv").write_text("id,name\n2,b\n")
    (project.root / "raw/_hidden.csv").write_text("id,name\n3,c\n")
    project.run()
    assert project.rows("bronze.events") == [(1, "a"), (2, "b")]
