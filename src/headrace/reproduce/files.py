"""Whether two files of a model say the same, though not every byte of theirs does."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: Written about a model, or derived from it; none is the model itself.
_ABOUT: Final = {
    "MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "environment.lock",
    "headrace.json", "input_example.json", "serving_input_example.json",
}  # fmt: skip
_DERIVED: Final = ("kernel/", "parity/", "code/", "metadata/")


@dataclass(frozen=True)
class FileComparison:
    """The files that hold a model.

    Attributes:
        same: say the same, to the byte or up to what a format draws anew at each writing.
        different: do not.
        missing: are on one side only.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]
    missing: tuple[str, ...]


def compare_files(registered: Path, again: Path) -> FileComparison:
    """The files of two model directories that hold the model itself."""
    here, there = _holding(registered), _holding(again)
    both = sorted(here & there)
    same = [name for name in both if digest(registered / name) == digest(again / name)]
    return FileComparison(
        tuple(same), tuple(x for x in both if x not in same), tuple(sorted(here ^ there))
    )


def digest(path: Path) -> str:
    """sha256 of what a file says.

    Of a zip it is that of its members, without their times. The format skops names objects, and
    the files of arrays, by the addresses they had in the memory of the process that wrote them:
    there an array counts by its own digest.
    """
    if not zipfile.is_zipfile(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    told: Any = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    if "schema.json" in members:
        told = _without_addresses(json.loads(members["schema.json"]), told)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _without_addresses(node: Any, digests: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_without_addresses(each, digests) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: digests[value]
        if key == "file" and isinstance(value, str) and value in digests
        else _without_addresses(value, digests)
        for key, value in node.items()
        if key != "__id__"
    }


def _holding(directory: Path) -> set[str]:
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    return {name for name in found if name not in _ABOUT and not name.startswith(_DERIVED)}
