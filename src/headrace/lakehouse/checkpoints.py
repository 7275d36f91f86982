"""The files that a checkpoint of the Delta log names, its deletion vectors among them.

delta-rs tells of a table's data files, but neither where their deletion vectors lie nor which
files are only waiting to be removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from headrace.lakehouse.errors import CorruptTableError

_NAME: Final = re.compile(
    r"(?P<version>\d{20})\.checkpoint"
    r"(?:\.(?P<part>\d{10})\.(?P<parts>\d{10})|\.(?P<id>[0-9a-fA-F-]{36}))?\.(?P<form>parquet|json)"
)
_ACTIONS: Final = ("add", "remove", "sidecar")
_METADATA: Final = ("metaData",)
_FIELDS: Final = {
    "metaData": ("id",),
    "add": ("path", "size", "deletionVector"),
    "remove": ("path", "deletionTimestamp", "deletionVector"),
    "sidecar": ("path",),
}
_VECTOR: Final = ("storageType", "pathOrInlineDv")


def checkpoints(names: list[str]) -> dict[int, list[str]]:
    """The file names of each complete checkpoint among the names in a log, by version.

    A classic checkpoint is one file, or the parts of a set; a V2 checkpoint has an id in its name.
    Where a version has several, one is enough.
    """
    whole: dict[int, list[str]] = {}
    parts: dict[tuple[int, int], list[str]] = {}
    for name in sorted(names):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        version = int(match["version"])
        if match["parts"] is None:
            whole.setdefault(version, [name])
        else:
            parts.setdefault((version, int(match["parts"])), []).append(name)
    for (version, count), found in parts.items():
        if len(found) == count:
            whole.setdefault(version, found)
    return whole


def checkpoint_version(name: str) -> int | None:
    """The version of a checkpoint's file, complete or not; ``None`` for another file."""
    match = _NAME.fullmatch(name)
    return int(match["version"]) if match else None


def read_checkpoint(location: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """``add`` and ``remove`` actions of a checkpoint, as its log entries would have them.

    Raises:
        CorruptTableError: a file of it is missing or damaged.
    """
    log = location / "_delta_log"
    for name in names:
        for action in _actions(location, log / name):
            sidecar = action.get("sidecar")
            if sidecar is None:
                yield action
            else:
                yield from _actions(location, log / "_sidecars" / str(sidecar["path"]))


def checkpoint_ids(location: Path, names: list[str]) -> set[str]:
    """The id of the table, as the main files of a checkpoint have it.

    Raises:
        CorruptTableError: a file of it is missing or damaged.
    """
    log = location / "_delta_log"
    return {
        str(action["metaData"]["id"])
        for name in names
        for action in _actions(location, log / name, _METADATA)
        if action
    }


def _actions(
    location: Path, file: Path, kinds: tuple[str, ...] = _ACTIONS
) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    try:
        if file.suffix == ".json":
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    action = json.loads(line)
                    yield {key: action[key] for key in kinds if action.get(key) is not None}
            return
        yield from _rows(file, kinds)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CorruptTableError(str(location), f"{file.name}: {error}") from error


def _rows(file: Path, kinds: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        schema = parquet.schema_arrow
        for kind in kinds:
            if kind not in schema.names:
                continue
            columns = [
                f"{kind}.{inner}"
                for inner in _FIELDS[kind]
                if schema.field(kind).type.get_field_index(inner) >= 0
            ]
            for batch in parquet.iter_batches(columns=columns):
                for row in batch.column(kind).drop_null().to_pylist():
                    if row[_FIELDS[kind][0]] is not None:
                        yield {kind: row}
