"""Carrying a recall out: what moves, what is made again, what is left, and what a kill leaves."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.recall.conftest import recall_in_a_process

from headrace import lakehouse
from headrace.catalog.audit import Audit
from headrace.errors import HeadraceError
from headrace.recall import RecallRecord, apply, find, undo
from headrace.recall import store as recalls
from headrace.recall.errors import (
    NotAppliedError,
    NothingToUndoError,
    PlaceTakenError,
    QuarantineDamagedError,
    UnknownRecallError,
)
from headrace.recall.quarantine import MANIFEST, directory

if TYPE_CHECKING:
    from tests.pipeline.conftest import Project

BAD = "raw/events/2.parquet"
#: Rows without the second day.
SUMS = [(1, 8.0), (2, 80.0), (3, 800.0)]
ALL = [(1, 12.0), (2, 120.0), (3, 1200.0)]


def _apply(project: Project, what: str = BAD, reason: str = "") -> RecallRecord:
    return apply(project.workspace, str(project.root / what), reason=reason, by="someone")


def _state(project: Project) -> dict[str, list[tuple[object, ...]]]:
    names = ("bronze.events", "silver.events", "gold.sums", "gold.sites", "gold.report")
    return {name: project.rows(name) for name in names}


def test_rows_of_the_file_are_gone_and_no_other_ones(events: Project) -> None:
    assert events.rows("gold.sums") == ALL
    before = lakehouse.latest_version(events.location("gold.sites"))
    record = _apply(events, reason="upside down")
    assert record.state == "done"
    assert [each.state for each in record.files] == ["quarantined"]
    assert [(step.kind, step.name) for step in record.steps] == [
        ("refresh", "main.bronze.events"),
        ("refresh", "main.silver.events"),
        ("refresh", "main.gold.sums"),
        ("refresh", "main.gold.report"),
    ]
    assert [step.facts["rebuilt"] for step in record.steps] == [True, True, False, False]
    assert events.rows("gold.sums") == SUMS
    assert [row[0] for row in events.rows("bronze.events")] == [1, 1, 2, 2, 3, 3]
    assert len(events.rows("silver.events")) == 6
    assert lakehouse.latest_version(events.location("gold.sites")) == before
    assert not (events.root / BAD).exists()
    found = find(events.workspace, str(events.root / BAD))
    assert found.origin.quarantined == record.id
    assert {each.name: each.holds_now for each in found.tables} == {
        f"main.{name}": None
        for name in ("bronze.events", "silver.events", "gold.sums", "gold.report")
    }


def test_the_manifest_says_how_to_put_the_files_back(events: Project) -> None:
    record = _apply(events, reason="upside down")
    home = directory(events.workspace.paths) / record.id
    manifest = json.loads((home / MANIFEST).read_text())
    assert (manifest["reason"], manifest["by"]) == ("upside down", "someone")
    (file,) = manifest["files"]
    assert file["path"] == str(events.root / BAD)
    assert (home.parent / file["place"]).is_file()
    entry = Audit(events.workspace.store).entries(limit=1)[0]
    assert (entry.action, entry.by) == ("recall", "someone")


def test_an_undone_recall_changed_nothing(events: Project) -> None:
    before = _state(events)
    times = (events.root / BAD).stat().st_mtime_ns
    record = _apply(events)
    assert undo(events.workspace, record.id).state == "undone"
    assert (events.root / BAD).stat().st_mtime_ns == times
    assert not list(directory(events.workspace.paths).iterdir())
    events.run()
    assert _state(events) == before
    with pytest.raises(NothingToUndoError):
        undo(events.workspace, record.id)
    with pytest.raises(UnknownRecallError, match="no_such"):
        undo(events.workspace, "no_such")


def test_a_recall_that_failed_goes_on_when_it_can(events: Project) -> None:
    with pytest.raises(HeadraceError):
        _apply(events, "raw/sites")  # nothing is left there to read
    record = recalls.every(events.workspace.store)[0]
    assert (record.state, record.steps[0].state) == ("failed", "failed")
    events.parquet("raw/sites/mended.parquet", id=[1, 2], site=["east", "west"])
    again = _apply(events, "raw/sites/all.parquet")
    assert (again.id, again.state) == (record.id, "done")
    assert [step.name for step in again.steps] == ["main.gold.sites", "main.gold.report"]
    assert events.column("gold.report", "site") == [None, "east", "west"]


@pytest.mark.parametrize(
    "point", ["recall.manifest", "recall.moved", "pipeline.committed", "recall.step"]
)
def test_a_killed_recall_goes_on(events: Project, point: str) -> None:
    events.workspace.close()
    assert recall_in_a_process(events.root, BAD, HEADRACE_CRASH_AT=point) == 137
    record = _apply(events)
    assert record.state == "done"
    assert [each.state for each in record.files] == ["quarantined"]
    assert all(step.state == "done" for step in record.steps)
    assert len(recalls.every(events.workspace.store)) == 1
    assert events.rows("gold.sums") == SUMS
    assert len(events.rows("silver.events")) == 6
    undo(events.workspace, record.id)
    events.run()
    assert events.rows("gold.sums") == ALL


def test_a_file_that_is_gone_already(events: Project) -> None:
    (events.root / BAD).unlink()
    record = _apply(events)
    assert [each.state for each in record.files] == ["gone"]
    assert events.rows("gold.sums") == SUMS


def test_a_file_that_was_mended_meanwhile_stays_and_is_read_anew(events: Project) -> None:
    text = str(events.root / BAD)
    events.parquet(BAD, id=[1], value=[0.5])
    record = _apply(events)
    assert [each.state for each in record.files] == ["changed"]
    assert Path(text).is_file()
    assert events.rows("gold.sums") == [(1, 9.0), (2, 80.0), (3, 800.0)]
    # Its bytes were read in the meantime: the path alone means those from now on.
    assert find(events.workspace, text).tables
    with pytest.raises(NothingToUndoError):
        undo(events.workspace, record.id)


def test_a_rebuild_that_would_lose_rows_is_left_to_people(events: Project) -> None:
    (events.root / "raw/events/1.parquet").rename(events.root / "archived.parquet")
    record = _apply(events)
    first = record.steps[0]
    assert (first.name, first.state) == ("main.bronze.events", "left")
    assert "1.parquet" in str(first.message)
    assert events.rows("gold.sums") == ALL
    (events.root / "archived.parquet").rename(events.root / "raw/events/1.parquet")


def test_other_places_are_never_overwritten(events: Project) -> None:
    record = _apply(events)
    path = events.root / BAD
    path.write_bytes(b"new")
    with pytest.raises(PlaceTakenError):
        undo(events.workspace, record.id)
    path.unlink()
    place = directory(events.workspace.paths) / record.files[0].place
    place.write_bytes(b"damaged")
    with pytest.raises(QuarantineDamagedError, match="cannot be put back"):
        undo(events.workspace, record.id)
    assert not path.exists()


def test_a_move_between_file_systems(events: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (events.root / BAD).read_bytes()
    rename = Path.rename

    def across(self: Path, target: Path) -> Path:
        if self.name == "2.parquet":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", across)
    record = _apply(events)
    assert not (events.root / BAD).exists()
    place = directory(events.workspace.paths) / record.files[0].place
    assert place.read_bytes() == content


def test_a_version_that_the_table_still_holds(events: Project) -> None:
    with pytest.raises(NotAppliedError, match="silver"):
        apply(events.workspace, "silver.events@0")


def test_downstream_of_a_version_that_was_replaced(events: Project) -> None:
    table = pa.table({"id": [1], "value": [5.0], "double": [10.0]})
    latest = lakehouse.latest_version(events.location("silver.events"))
    spark = events.workspace.spark()
    frame = spark.createDataFrame(table.to_pandas())
    frame.write.mode("overwrite").saveAsTable("silver.events")
    record = apply(events.workspace, f"silver.events@{latest}")
    assert not record.files
    assert [(step.kind, step.name, step.state) for step in record.steps] == [
        ("refresh", "main.gold.sums", "done"),
        ("refresh", "main.gold.report", "done"),
    ]
    assert events.rows("gold.sums") == [(1, 10.0)]


def test_data_files_of_a_table_are_not_moved(events: Project) -> None:
    part = next(events.location("bronze.events").rglob("*.parquet"))
    with pytest.raises(NotAppliedError, match="cannot be recalled"):
        apply(events.workspace, str(part))


def test_what_no_command_makes_again_is_left_to_people(
    make_events_project: Callable[..., Project],
) -> None:
    project = make_events_project()
    spark = project.workspace.spark()
    spark.table("silver.events").write.saveAsTable("adhoc.copy")
    spark.table("silver.events").toPandas()
    record = _apply(project)
    left = {step.name: step.message for step in record.steps if step.state == "left"}
    assert "run that again" in str(left["main.adhoc.copy"])
    assert any("test_apply.py" in name for name in left)
