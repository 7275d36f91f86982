"""What the plane has observed of its deployments, for the command line: a small file beside it.

The plane writes it about each second; it is no evidence, only a picture of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from headrace.endpoints.address import read_plane

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.settings import Paths

WRITE_SECONDS: Final = 1.0


class ObservedFile:
    """Writes the picture where it has changed."""

    def __init__(self, paths: Paths) -> None:
        self._file = _file(paths)
        self._written = ""

    def write(self, endpoints: Mapping[str, Any]) -> None:
        """Replace the file, atomically."""
        text = json.dumps({"pid": os.getpid(), "endpoints": endpoints})
        if text == self._written:
            return
        fresh = self._file.with_suffix(f".{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(self._file)
        self._written = text


def read_observed(paths: Paths) -> dict[str, Any]:
    """What the running plane has observed, by endpoint; empty where none runs.

    Each endpoint has ``deployments`` (by id: scorer, requests, failed, compared, distance,
    latency_ms, verdict, reason) and ``mirror`` (offered, compared, failed, dropped).
    """
    plane = read_plane(paths)
    try:
        body = json.loads(_file(paths).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    if plane is None or not isinstance(body, dict) or body.get("pid") != plane.pid:
        return {}  # of a plane that has ended
    return dict(body["endpoints"])


def _file(paths: Paths) -> Path:
    return paths.state / "observed.json"
