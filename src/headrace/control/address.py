"""Where the control plane of a project is."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.settings import Paths


@dataclass(frozen=True)
class ControlInfo:
    """A running control plane, as ``.headrace/control.json`` tells it."""

    url: str
    pid: int
    started_at: str


def read_control(paths: Paths) -> ControlInfo | None:
    """The control plane that answers now, or ``None``."""
    try:
        info = ControlInfo(**json.loads(_file(paths).read_text()))
        os.kill(info.pid, 0)
    except (FileNotFoundError, ValueError, TypeError, ProcessLookupError):
        return None  # there is none, it is starting or has ended, or is another version's
    except PermissionError:
        return info  # another user's
    return info


def login_link(paths: Paths, info: ControlInfo) -> str | None:
    """A link that lets a browser in once; ``None`` for whoever may not read the code."""
    try:
        code = (paths.state / "login").read_text().strip()
    except OSError:
        return None
    return f"{info.url}/?token={code}"


def write_control(paths: Paths, info: ControlInfo) -> None:
    """Tell other processes, atomically."""
    file = _file(paths)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(info), indent=1))
    fresh.replace(file)


def forget_control(paths: Paths) -> None:
    """It answers no more."""
    _file(paths).unlink(missing_ok=True)


def _file(paths: Paths) -> Path:
    return paths.state / "control.json"
