"""A recall against replays: whatever changes when a file is another one must have been found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.recall.pipelines import COLUMNS, Done, Runner, make_pipeline, write_files

from headrace.recall import Recall, find, parse
from headrace.workspace import Workspace, open_workspace

PIPELINES = int(os.environ.get("HEADRACE_TEST_PIPELINES", "6"))
LENGTH = 9


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One project for all pipelines: each has schemas of its own."""
    root = tmp_path_factory.mktemp("replays")
    (root / "headrace.yaml").write_text("name: replays\n")
    workspace = open_workspace(root)
    yield workspace
    workspace.close()


def _changed(before: Done, after: Done) -> Iterator[tuple[str, int, str]]:
    """Table, version and column of all that differs between two runs.

    Up to a statement that changed rows in the one and none in the other: from there on they
    differ in what was *not* done, which no record of what was done can tell.
    """
    for position, (table, version, columns) in before.after.items():
        _, other, now = after.after[position]
        if version != other:
            return
        for name in COLUMNS:
            if columns[name] != now[name]:
                yield table, version, name


def _reached(recall: Recall, table: str, version: int, column: str) -> bool:
    # A table that was dropped and made again is there once for each of its lives.
    return any(
        part.columns is None or column in part.columns
        for each in recall.tables
        if each.name == table
        for part in each.versions
        if part.first <= version and (part.last is None or version <= part.last)
    )


@pytest.mark.parametrize("number", range(PIPELINES))
def test_what_a_file_changes_was_found(workspace: Workspace, number: int) -> None:
    pipeline = make_pipeline(number, LENGTH)
    runner = Runner(workspace)
    raw = workspace.paths.root / "raw" / f"p{number}"
    first = write_files(raw, number)[0]
    done = runner.run(pipeline, f"p{number}", raw)
    for change in ("rows", "a", "b"):
        replayed = raw.with_name(f"p{number}_{change}")
        write_files(replayed, number, change)
        again = runner.run(pipeline, f"p{number}_{change}", replayed)
        columns = () if change == "rows" else (change,)
        recall = find(workspace, parse(workspace, str(first), columns=columns))
        for table, version, name in _changed(done, again):
            assert _reached(recall, table, version, name), (
                f"pipeline {number}: {change} of the file changed {table}@{version}.{name}"
            )


def test_a_column_surely_reaches_less_than_its_file(workspace: Workspace) -> None:
    rows: set[tuple[str, int, str]] = set()
    column: set[tuple[str, int, str]] = set()
    for number in range(PIPELINES):
        first = workspace.paths.root / "raw" / f"p{number}" / "f0.parquet"
        rows |= _surely(find(workspace, parse(workspace, str(first))))
        column |= _surely(find(workspace, parse(workspace, str(first), columns=["a"])))
    assert column < rows


def _surely(recall: Recall) -> set[tuple[str, int, str]]:
    """Table, version and column of all that was surely reached."""
    return {
        (each.name, version, name)
        for each in recall.tables
        for part in each.versions
        for version in range(part.first, (part.last if part.last is not None else LENGTH) + 1)
        for name in part.columns or COLUMNS
        if part.certainty == "certain"
    }


def test_replays_are_told_apart(workspace: Workspace) -> None:
    """The raw files of a replay are other files, though most of them hold the same bytes."""
    path = workspace.paths.root / "raw" / "p0" / "f1.parquet"
    recall = find(workspace, parse(workspace, str(path)))
    assert {each.name.split(".")[1] for each in recall.tables if each.kind == "table"} <= {"p0"}
    assert {Path(copy.path).parent.name for copy in recall.origin.copies} >= {"p0_rows", "p0_a"}
