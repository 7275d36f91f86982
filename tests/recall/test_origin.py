"""What a text on the command line stands for, and what it cannot stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from headrace.recall import find, parse
from headrace.recall.errors import (
    SeveralContentsError,
    UnknownColumnError,
    UnknownContentError,
    UnknownOriginError,
    UnknownVersionError,
)
from headrace.recall.origin import covers
from headrace.workspace import Workspace, open_workspace


def _write(path: Path, *values: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"id": pa.array(values, pa.int64()), "Heat": values}), path)
    return path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """``silver.t`` of a file, a copy of it, and one that was read with two contents."""
    root = tmp_path_factory.mktemp("origin")
    (root / "headrace.yaml").write_text("name: origin\n")
    workspace = open_workspace(root)
    spark = workspace.spark()
    raw = root / "raw"
    _write(raw / "one.parquet", 1)
    _write(raw / "copy.parquet", 1)
    _write(raw / "changing.parquet", 2)
    for name in ("one", "copy", "changing"):
        spark.read.parquet(str(raw / f"{name}.parquet")).write.mode("append").saveAsTable(
            "silver.t"
        )
    _write(raw / "changing.parquet", 3)
    spark.read.parquet(str(raw / "changing.parquet")).write.mode("append").saveAsTable("silver.t")
    _write(raw / "unread.parquet", 9)
    spark.read.parquet(str(raw)).toPandas()
    yield workspace
    workspace.close()


def test_paths(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    root = workspace.paths.root
    one = parse(workspace, str(root / "raw" / "one.parquet"))
    assert (one.label, one.files[0].state) == ("raw/one.parquet", "unchanged")
    assert [(copy.path, copy.operations) for copy in one.copies] == [("raw/copy.parquet", 1)]
    monkeypatch.chdir(root / "raw")
    assert parse(workspace, "one.parquet").files == one.files
    monkeypatch.chdir("/")
    assert parse(workspace, "raw/one.parquet").files == one.files
    directory = parse(workspace, "raw")
    assert {Path(file.path).name for file in directory.files} == {
        "one.parquet", "copy.parquet", "changing.parquet",
    }  # fmt: skip


def test_tables(workspace: Workspace) -> None:
    found = parse(workspace, "silver.t@1")
    assert (found.table, found.version, found.label) == ("main.silver.t", 1, "main.silver.t@1")
    assert parse(workspace, "silver.t").version == 3
    assert parse(workspace, "silver.t@0.heat").columns == ("heat",)
    assert parse(workspace, "silver.t@0", columns=["Heat"]).columns == ("heat",)


def test_what_is_not_there_is_named(workspace: Workspace) -> None:
    with pytest.raises(UnknownOriginError, match="raw/ome") as caught:
        parse(workspace, "raw/ome.parquet")
    assert "raw/one.parquet" in str(caught.value.why)
    with pytest.raises(UnknownOriginError) as wrong:
        parse(workspace, "silver.tt")
    assert "silver.t" in str(wrong.value.why)
    with pytest.raises(UnknownVersionError, match="no version 9"):
        parse(workspace, "silver.t@9")
    with pytest.raises(UnknownColumnError) as column:
        parse(workspace, "silver.t@0.heet")
    assert "Heat" in str(column.value.why)
    with pytest.raises(UnknownColumnError):
        parse(workspace, "raw/one.parquet", columns=["cold"])


def test_a_path_with_several_contents(workspace: Workspace) -> None:
    path = workspace.paths.root / "raw" / "changing.parquet"
    now = path.read_bytes()
    second = parse(workspace, "raw/changing.parquet")
    assert len(second.others) == 1
    assert [part.first for part in find(workspace, second).tables[0].versions] == [3]
    first = parse(workspace, "raw/changing.parquet", sha256=second.others[0][:8])
    assert [part.first for part in find(workspace, first).tables[0].versions] == [2]
    with pytest.raises(UnknownContentError):
        parse(workspace, "raw/changing.parquet", sha256="00000000")
    _write(path, 4)
    with pytest.raises(SeveralContentsError, match="2 different contents") as caught:
        parse(workspace, "raw/changing.parquet")
    assert caught.value.next is not None
    _write(path, 3)
    assert path.read_bytes() == now
    path.unlink()
    with pytest.raises(SeveralContentsError, match="2 different contents"):
        parse(workspace, "raw/changing.parquet")
    path.write_bytes(now)


def test_copies_are_followed_if_asked(workspace: Workspace) -> None:
    alone = find(workspace, parse(workspace, "raw/one.parquet"))
    assert [part.first for part in alone.tables[0].versions] == [0]
    both = parse(workspace, "raw/one.parquet", copies=True)
    assert len(both.files) == 2
    assert not both.copies


def test_a_file_whose_reading_was_recorded_by_its_directory_alone(workspace: Workspace) -> None:
    """A program that collects rows is recorded with the path that it read."""
    found = find(workspace, "raw/unread.parquet")
    assert not found.tables
    assert [each.reads for each in found.collected] == [1]
    assert os.path.basename(__file__) in str(found.collected[0].source)  # noqa: PTH119


@pytest.mark.parametrize(
    ("read", "path", "expected"),
    [
        ("/raw/a.parquet", "/raw/a.parquet", True),
        ("/raw", "/raw/x/a.parquet", True),
        ("/raw/", "/raw/a.parquet", True),
        ("/raw/x", "/raw/xy.parquet", False),
        ("/raw/*.parquet", "/raw/a.parquet", True),
        ("/raw/day=*", "/raw/day=1/a.parquet", True),
        ("/raw/[ab].parquet", "/raw/c.parquet", False),
        ("/raw/{a,b}.parquet", "/raw/a.parquet", True),
    ],
)
def test_which_reads_cover_a_file(read: str, path: str, expected: bool) -> None:
    assert covers(read, path) is expected
