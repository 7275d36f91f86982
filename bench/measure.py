"""Run a command, and say how long it took and how much memory its whole process tree held."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    """Wall seconds, peak resident bytes of the process tree, and what the command printed."""

    seconds: float
    peak_bytes: int
    printed: dict[str, Any]


def measure(command: list[str], *, env: dict[str, str] | None = None, cwd: Path) -> Measured:
    """Run a command whose last line of output is one JSON object.

    Raises:
        RuntimeError: it exits with another status than 0; the message holds its error output.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = _Watch(process.pid)
    out, err = process.communicate(timeout=900)
    seconds = time.perf_counter() - began
    peak = watch.stop()
    if process.returncode != 0:
        raise RuntimeError(f"{command[:3]} failed:\n{err[-2000:]}")
    text = out.strip()
    printed = json.loads(text if text.startswith("{") else text.splitlines()[-1]) if text else {}
    return Measured(seconds, peak, printed)


class _Watch:
    def __init__(self, root: int) -> None:
        self._root, self._peak, self._over = root, 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self._peak = max(self._peak, sum(map(_resident, tree(self._root))))

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._peak


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        current = queue.pop()
        found.append(current)
        queue.extend(children.get(current, []))
    return found


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def proportional(pid: int) -> int:
    """Bytes that a process holds, each shared page counted as its share of it."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024


def started_at(pid: int) -> str | None:
    """The moment a process began, in clock ticks since boot; ``None`` where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
