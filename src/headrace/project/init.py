"""Write a new project from a template."""

from __future__ import annotations

import logging
import secrets
import shutil
from importlib.resources import as_file, files
from pathlib import Path

from headrace.errors import HeadraceError, did_you_mean
from headrace.evidence import Keys
from headrace.project.config import write_schema
from headrace.settings import PROJECT_FILE, Paths, check_path, read_token

log = logging.getLogger(__name__)


class UnknownTemplateError(HeadraceError):
    """A template that does not ship with Headrace."""

    code = "unknown_template"

    def __init__(self, name: str, known: list[str]) -> None:
        self.name, self.known = name, known
        super().__init__(
            f'There is no template "{name}".',
            why=did_you_mean(name, known) or f"there are: {', '.join(known)}",
            next=f"headrace init my-project --template {known[0]}",
        )


class DirectoryNotEmptyError(HeadraceError):
    """The project directory already holds files, or is one."""

    code = "directory_not_empty"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        is_project = (directory / PROJECT_FILE).exists()
        super().__init__(
            "The directory is not empty."
            if directory.is_dir()
            else "There is a file of that name.",
            where=str(directory),
            why="it already holds a project" if is_project else "files would be mixed with yours",
            next=f"cd {directory} && headrace plan" if is_project else "headrace init another-name",
        )


def templates() -> list[str]:
    """Names of the templates that ship with Headrace."""
    root = files("headrace.project") / "templates"
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir())


def init(directory: Path, template: str) -> list[Path]:
    """Write a project, its bearer token, the lock of its libraries and the schema for editors.

    The lock is of what is installed here; there is none where that is not what the template
    asks for.

    All of it is written beside the target and moved into place at once, so that an interrupted
    ``init`` leaves no half project.

    Returns:
        The files written, relative to the directory, sorted.

    Raises:
        UnknownTemplateError: no such template.
        DirectoryNotEmptyError: the directory holds files.
        PathNotSupportedError: no tables could be kept there.
    """
    if template not in templates():
        raise UnknownTemplateError(template, templates())
    directory = check_path(directory.resolve())
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DirectoryNotEmptyError(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    try:
        written = _write(staging, template)
        staging.rename(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return written


def _write(staging: Path, template: str) -> list[Path]:
    with as_file(files("headrace.project") / "templates" / template) as source:
        shutil.copytree(source, staging, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    _lock(staging)
    written = sorted(path.relative_to(staging) for path in staging.rglob("*") if path.is_file())
    paths = Paths(staging)
    paths.make()
    read_token(paths)
    Keys(paths).ensure()
    write_schema(paths)
    return written


def _lock(staging: Path) -> None:
    """Lock what is installed, without an index: that takes a moment, and works offline."""
    from headrace.environments import NotInstalledError, from_environment, write_lock

    try:
        write_lock(staging, from_environment(staging))
    except NotInstalledError as error:
        log.warning("no lock was made: %s", "; ".join(error.differences))
