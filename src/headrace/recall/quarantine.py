"""Files out of the way, and back: ``.headrace/quarantine/RECALL``, with a manifest beside them.

The manifest is written before the first file moves, so that a person can put everything back
from the directory alone. What a killed process left is told from the files themselves: a file is
at its path, or in its place, and its checksum says whether it is the one.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace import clock
from headrace.crash import crash_point
from headrace.recall import store
from headrace.recall.errors import (
    NotAppliedError,
    PlaceTakenError,
    QuarantineDamagedError,
    QuarantineFailedError,
)
from headrace.recall.origin import digest

if TYPE_CHECKING:
    from headrace.recall.origin import OriginFile
    from headrace.recall.store import FileRecord, FileState, RecallRecord
    from headrace.settings import Paths
    from headrace.workspace import Workspace

MANIFEST: Final = "manifest.json"


def directory(paths: Paths) -> Path:
    """Where recalled files are kept."""
    return paths.state / "quarantine"


def planned(recall: str, files: Sequence[OriginFile]) -> list[FileRecord]:
    """The record of each file, and the place that it gets."""
    states: dict[str, FileState] = {"unchanged": "waiting", "changed": "changed", "gone": "gone"}
    return [
        store.FileRecord(
            path=each.path,
            size=each.size,
            sha256=each.sha256,
            state=states[each.state],
            place=f"{recall}/{number:04}-{Path(each.path).name}",
        )
        for number, each in enumerate(files)
    ]


def check(label: str, files: Sequence[OriginFile]) -> None:
    """Make sure that no file belongs to a Delta table, whose log would go on naming it.

    Raises:
        NotAppliedError: one does.
    """
    for each in files:
        for parent in Path(each.path).parents:
            if (parent / "_delta_log").is_dir():
                raise NotAppliedError(
                    label,
                    f"{each.path} is a data file of the Delta table in {parent}",
                    "headrace recall TABLE@VERSION --apply, of the version that brought the rows",
                )


def move_away(workspace: Workspace, record: RecallRecord) -> None:
    """Move every file that waits to its place; what is gone or changed is left and noted.

    Raises:
        QuarantineFailedError: one cannot be moved; those before it are.
    """
    waiting = [each for each in record.files if each.state == "waiting"]
    if not waiting:
        return
    root = directory(workspace.paths)
    (root / record.id).mkdir(parents=True, exist_ok=True)
    _write_manifest(root, record)
    crash_point("recall.manifest")
    for each in waiting:
        state = _away(Path(each.path), root / each.place, each.sha256)
        crash_point("recall.moved")
        store.set_file(workspace.store, record.id, each.path, state)
        crash_point("recall.noted")


def move_back(workspace: Workspace, record: RecallRecord) -> list[str]:
    """Put the quarantined files back where they were; the paths.

    Raises:
        PlaceTakenError: another file lies there.
        QuarantineDamagedError: the quarantined one is gone, or is another one.
    """
    root = directory(workspace.paths)
    returned = []
    for each in [file for file in record.files if file.state == "quarantined"]:
        place, path = root / each.place, Path(each.path)
        if digest(path) == each.sha256:
            place.unlink(missing_ok=True)  # killed after the move: it is there already
        elif path.exists():
            raise PlaceTakenError(record.id, each.path)
        else:
            found = digest(place)
            if found != each.sha256:
                why = "it is gone from quarantine" if found is None else "its checksum is another"
                raise QuarantineDamagedError(record.id, each.path, f"{why}: {place}")
            path.parent.mkdir(parents=True, exist_ok=True)
            _move(place, path)
        crash_point("recall.returned")
        store.set_file(workspace.store, record.id, each.path, "returned")
        returned.append(each.path)
    shutil.rmtree(root / record.id, ignore_errors=True)
    return returned


def _away(path: Path, place: Path, sha256: str) -> FileState:
    if digest(place) == sha256:
        # It was moved before a kill. The same bytes put there again were never read.
        return "quarantined"
    try:
        now = digest(path)
        if now is None:
            return "gone"
        if now != sha256:
            return "changed"
        _move(path, place)
    except OSError as error:
        raise QuarantineFailedError(str(path), error.strerror or str(error)) from error
    if digest(place) != sha256:
        # Written between the look and the move: it is not the file that was recalled.
        if not path.exists():
            _move(place, path)
        return "changed"
    return "quarantined"


def _move(source: Path, target: Path) -> None:
    """Rename; across file systems a copy that is whole before it has the name. Times are kept."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f".{target.name}.partial")
        shutil.copy2(source, partial)
        with partial.open("rb") as copied:
            os.fsync(copied.fileno())
        partial.replace(target)
        source.unlink()


def _write_manifest(root: Path, record: RecallRecord) -> None:
    body = {
        "recall": record.id,
        "origin": record.label,
        "reason": record.reason,
        "by": record.by,
        "at": clock.iso(record.started_at),
        "files": [
            {"path": f.path, "size": f.size, "sha256": f.sha256, "place": f.place}
            for f in record.files
        ],
        "undo": f"headrace recall --undo {record.id}",
    }
    partial = root / record.id / f".{MANIFEST}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(body, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(root / record.id / MANIFEST)
