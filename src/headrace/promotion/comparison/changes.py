"""What differs between the making of two versions: data, code, parameters, environment."""

from __future__ import annotations

import difflib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace

Kind = Literal["data", "training", "code", "environment"]
_TAGS: Final = {
    "headrace.table": "table",
    "headrace.table_version": "version of the table",
    "headrace.holdout_rule": "hold-out",
    "headrace.holdout_rows": "rows of the hold-out",
    "headrace.kernel": "kernel",
}
_SKIPPED: Final = {"name", "table"}
_MOST_LINES: Final = 400


@dataclass(frozen=True)
class Change:
    """One thing that is not the same.

    Attributes:
        kind: of what.
        what: a field, a file or a library.
        candidate, champion: its value in each; ``None`` where there is none.
    """

    kind: Kind
    what: str
    candidate: str | None
    champion: str | None


@dataclass(frozen=True)
class Changes:
    """All that differs.

    Attributes:
        changes: one by one.
        diff: of the training code, from the champion to the candidate, as ``diff -u`` writes it.
        unknown: what could not be compared, and why.
    """

    changes: tuple[Change, ...]
    diff: str
    unknown: tuple[str, ...]


def changes(workspace: Workspace, candidate: ModelVersion, champion: ModelVersion) -> Changes:
    """Compare what the runs of two versions recorded."""
    found: list[Change] = []
    unknown: list[str] = []
    for tag, what in _TAGS.items():
        one, other = candidate.tags.get(tag), champion.tags.get(tag)
        if one != other:
            found.append(Change("data", what, one, other))
    homes = [run_files(workspace, each) for each in (candidate, champion)]
    for each, home in zip((candidate, champion), homes, strict=True):
        if home is None:
            unknown.append(f"{each} has no run on this machine: training, code, environment")
    ours, theirs = homes
    diff = ""
    if ours is not None and theirs is not None:
        found += _named("training", *(_spec(home) for home in (ours, theirs)))
        sources = _sources(ours), _sources(theirs)
        diff = _diff(*sources)
        found += _files(*sources)
        found += _named("environment", *(_libraries(home) for home in (ours, theirs)))
    return Changes(tuple(found), diff, tuple(unknown))


def run_files(workspace: Workspace, version: ModelVersion) -> Path | None:
    """The directory of the artifacts of a version's run, if it is on this machine."""
    if version.run_id is None:
        return None
    location = urlsplit(workspace.mlflow().get_run(version.run_id).info.artifact_uri)
    path = Path(url2pathname(location.path))
    return path if location.scheme in ("", "file") and path.is_dir() else None


def _named(kind: Kind, ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            yield Change(kind, name, ours.get(name), theirs.get(name))


def _spec(home: Path) -> dict[str, str]:
    """Fields of the training spec as text, the parameters one by one."""
    path = home / "training.json"
    if not path.is_file():
        return {}
    body: dict[str, Any] = json.loads(path.read_text())
    fields = {**{k: v for k, v in body.items() if k != "params"}, **body.get("params", {})}
    if fields.get("features") is None:
        fields["features"] = "every column without another part"
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
        if name not in _SKIPPED and value is not None
    }


def _libraries(home: Path) -> dict[str, str]:
    path = home / "environment.txt"
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text().splitlines():
        name, separator, version = line.partition("==")
        if separator:
            found[name.strip()] = version.strip()
        elif line.strip():
            found["Python" if line.startswith("#") else line.strip()] = line.strip("# ")
    return found


def _sources(home: Path) -> dict[str, list[str]]:
    path = home / "code" / "training.zip"
    if not path.is_file():
        return {}
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as bundle:
        return {
            name: bundle.read(name).decode(errors="replace").splitlines()
            for name in sorted(bundle.namelist())
            if not name.endswith("/")
        }


def _files(ours: dict[str, list[str]], theirs: dict[str, list[str]]) -> Iterator[Change]:
    for name in sorted({*ours, *theirs}):
        one, other = ours.get(name), theirs.get(name)
        if one != other:
            counts = [None if lines is None else f"{len(lines)} lines" for lines in (one, other)]
            yield Change("code", name, *counts)


def _diff(ours: dict[str, list[str]], theirs: dict[str, list[str]]) -> str:
    lines: list[str] = []
    for name in sorted({*ours, *theirs}):
        lines += difflib.unified_diff(
            theirs.get(name, []),
            ours.get(name, []),
            f"champion/{name}",
            f"candidate/{name}",
            lineterm="",
        )
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"... {len(lines) - _MOST_LINES:,} lines more"]
    return "\n".join(lines)
