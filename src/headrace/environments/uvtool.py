"""Calling uv, with the user's own configuration of it or of pip."""

from __future__ import annotations

import configparser
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.environments.lock import name_of, normal
from headrace.settings import setting

_INDEXES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_NO_INDEX")
# What pip calls it, and what uv does.
_FROM_PIP: Final = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
}
_NAMED: Final = (
    re.compile(r"Because ([A-Za-z0-9][\w.-]*)(?:==\S+)? (?:was not found|has no |could not)"),
    re.compile(r"there (?:is|are) no versions? of ([A-Za-z0-9][\w.-]*?)(?:[<>=!~ ]|$)"),
    re.compile(r"Failed to [\w ]+?:? `(?!\S+://)([A-Za-z0-9][\w.-]*)"),
    re.compile(r"Failed to fetch: \S+/([A-Za-z0-9][\w.-]*)/?`?(?:\s|$)"),
    re.compile(r"Because you require ([A-Za-z0-9][\w.-]*)"),
    re.compile(r"Because (?:only )?(?!you )([A-Za-z0-9][\w.-]*)[<>=!~ ]"),
)


# Runs a program that ends with the process that started it, however that ends.
_ENDS_WITH_US: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class UvFailedError(Exception):
    """uv ended with an error, or not in time; its text is what it said."""


@dataclass(frozen=True)
class Failure:
    """What uv's message tells: the requirement that failed, and the reason in one line.

    Attributes:
        unreachable: an index did not answer.
    """

    requirement: str | None
    reason: str
    unreachable: bool = False


def run(words: Sequence[str | Path], directory: Path, seconds: float) -> None:
    """Run ``uv WORDS`` in a directory.

    Raises:
        UvFailedError: it failed, or took longer than so many seconds.
    """
    from uv import find_uv_bin

    try:
        command = [find_uv_bin(), *words]
        if sys.platform == "linux":
            us = str(os.getpid())
            command = [sys.executable, "-I", "-S", "-c", _ENDS_WITH_US, us, *command]
        process = subprocess.Popen(  # noqa: S603  # uv itself, found beside this interpreter
            command,
            cwd=directory,
            env=variables(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise UvFailedError(f"uv is not installed: {error}") from error
    with process:
        try:
            _, said = process.communicate(timeout=seconds)
        except BaseException as error:
            # With what it started, such as the build of a source distribution.
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise UvFailedError(f"it took longer than {seconds:.0f} s") from None
            raise
    if process.returncode:
        raise UvFailedError(said.strip() or f"uv exited with status {process.returncode}")


def sources(*, offline: bool = False, wheels: Path | None = None) -> list[str]:
    """Options that say where distributions come from, beside the user's own configuration.

    Args:
        offline: use no network.
        wheels: directory of wheels; that of ``HEADRACE_WHEELS`` if not given.
    """
    named = wheels or (Path(text).expanduser() if (text := setting("HEADRACE_WHEELS")) else None)
    found = ["--find-links", str(named.absolute())] if named else []
    return [*found, "--offline"] if offline else found


def variables(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of uv.

    Where uv is told no index of its own, it takes pip's: uv does not read pip's configuration.
    """
    ours = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX"}
    found = {name: value for name, value in inherited.items() if name not in ours}
    found |= {"UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    if any(inherited.get(name) for name in _INDEXES) or _configured(inherited):
        return found
    pip = _pip(inherited)
    for name, target in _FROM_PIP.items():
        if name in pip and not inherited.get(target):
            separator = "," if name == "find-links" else " "
            found[target] = separator.join(pip[name].split())
    return found


def _configured(inherited: Mapping[str, str]) -> bool:
    """Whether a file of uv's names an index."""
    home = Path(inherited.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = inherited.get("UV_CONFIG_FILE")
    for file in [Path(named)] if named else [home / "uv/uv.toml", Path("/etc/uv/uv.toml")]:
        if file.is_file():
            try:
                told = tomllib.loads(file.read_text())
            except ValueError:
                return True  # uv says what is wrong with it
            if {"index", "index-url", "no-index"} & {*told, *told.get("pip", {})}:
                return True
    return False


def _pip(inherited: Mapping[str, str]) -> dict[str, str]:
    """pip's settings: its files from the widest to the closest, then its variables."""
    home = Path(inherited.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [
        Path("/etc/pip.conf"),
        Path.home() / ".pip/pip.conf",
        home / "pip/pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    if named := inherited.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read([str(file) for file in files])
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UvFailedError(f"the configuration of pip cannot be read: {reason}") from error
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found |= dict(parser[section])
    for name in _FROM_PIP:
        if value := inherited.get("PIP_" + name.replace("-", "_").upper()):
            found[name] = value
    return found


def failure(said: str, requirements: Iterable[str]) -> Failure:
    """What of the requirements uv complains about.

    Args:
        said: uv's message.
        requirements: those that it was given.
    """
    lines = {name_of(line): line for line in requirements}
    names = [normal(match[1]) for form in _NAMED if (match := form.search(said))]
    known = next((lines[name] for name in names if name in lines), None)
    return Failure(
        known or (names[0] if names else None), _reason(said), "error sending request" in said
    )


def _reason(said: str) -> str:
    """The causes that uv names, and the last line of what a build wrote."""
    plain, _, build = said.partition("[stderr]")
    # An address can hold a password.
    plain = re.sub(r"\(?[a-z+]+://[^\s)]+\)?", "(address)", plain)
    parts = [
        match[1].strip()
        for line in plain.splitlines()
        if (match := re.match(r"\s*(?:error|cause):\s*(.+)", line))
    ]
    if len(parts) > 1 and parts[0].startswith("No solution"):
        del parts[0]
    written = [line.strip() for line in build.partition("\nhint:")[0].splitlines() if line.strip()]
    parts += written[-1:]
    return "; ".join(parts or [plain.strip()])[:400]
