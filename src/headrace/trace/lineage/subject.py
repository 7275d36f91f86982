"""What a text stands for: a table, a version of it, a column, a path, a model, an endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import or_, select

from headrace import lakehouse
from headrace.catalog import InvalidNameError, TableName
from headrace.catalog.tables import accesses
from headrace.catalog.tables import files as raw_files
from headrace.errors import HeadraceError
from headrace.trace.errors import (
    NotAModelVersionError,
    UnknownColumnError,
    UnknownObjectError,
    ViewHasNoLineageError,
)

if TYPE_CHECKING:
    from headrace.workspace import Workspace

_VERSIONED: Final = re.compile(r"(?P<table>[^@]+)@(?P<version>\d+)(?:\.(?P<column>.+))?")

SubjectKind = Literal["table", "path", "model", "endpoint"]


@dataclass(frozen=True)
class Subject:
    """What the lineage is asked of.

    Attributes:
        kind: what it is.
        name: qualified table name, absolute path, registered name of a model, or endpoint.
        version: of a table or a model; ``None`` if none was given.
        column: of a table or of files.
        files: raw files lie at the path, or below it, that were recorded one by one.
    """

    kind: SubjectKind
    name: str
    version: int | None = None
    column: str | None = None
    files: bool = False


def find(workspace: Workspace, text: str, column: str | None = None) -> Subject:
    """The subject that a text names.

    ``gold.features``, ``gold.features@3``, ``gold.features.heat``, ``data/raw/a.parquet``,
    ``wear``, ``wear/3``, ``wear@production``, or the name of an endpoint.

    Args:
        workspace: the project.
        text: what was typed.
        column: of the table or of the files.

    Raises:
        UnknownObjectError: nothing of that name is known.
        UnknownColumnError: the table has no such column.
        ViewHasNoLineageError: it is a view.
    """
    for found in _candidates(workspace, text, column):
        return found
    raise UnknownObjectError(text, _names(workspace))


def _candidates(workspace: Workspace, text: str, column: str | None) -> Iterator[Subject]:
    match = _VERSIONED.fullmatch(text)
    if match is not None:
        name = _table(workspace, match["table"])
        if name is not None:
            yield _of_table(workspace, name, int(match["version"]), match["column"] or column)
    name = _table(workspace, text)
    if name is not None:
        yield _of_table(workspace, name, None, column)
    head, _, tail = text.rpartition(".")
    name = _table(workspace, head) if head else None
    if name is not None and "/" not in text:
        yield _of_table(workspace, name, None, tail)
    model = _model(workspace, text)
    if model is not None:
        yield model
    if text in _endpoints(workspace):
        yield Subject("endpoint", text)
    for path in _paths(workspace, text):
        files = _recorded(workspace, path)
        if files or _read(workspace, path):
            yield Subject("path", path, column=column, files=files)


def _of_table(workspace: Workspace, name: str, version: int | None, column: str | None) -> Subject:
    entry = workspace.catalog.find(name)
    if entry is not None and entry.kind == "view":
        raise ViewHasNoLineageError(name, entry.definition or "")
    if entry is None or entry.location is None or not lakehouse.exists(entry.location):
        return Subject("table", name, version, column)
    if version is not None:
        newest = lakehouse.latest_version(entry.location) or 0
        if version > newest:
            lakehouse.check_version(entry.location, version)
    if column is not None:
        try:
            held = lakehouse.schema(entry.location, version).names
        except lakehouse.VersionNotFoundError:  # its files are gone; its lineage is not
            held = lakehouse.schema(entry.location).names
        spelled = {each.lower(): each for each in held}
        if column.lower() not in spelled:
            raise UnknownColumnError(name, column, held)
        column = spelled[column.lower()]
    return Subject("table", name, version, column)


def _table(workspace: Workspace, text: str) -> str | None:
    """The qualified name of a table that is there, or was: the lineage remembers it."""
    try:
        name = str(TableName.parse(text))
    except InvalidNameError:
        return None
    if workspace.catalog.find(name) is not None:
        return name
    with workspace.store.reading() as connection:
        query = select(accesses.c.name).where(accesses.c.name == name, accesses.c.kind == "table")
        return name if connection.scalar(query.limit(1)) is not None else None


def _model(workspace: Workspace, text: str) -> Subject | None:
    from headrace.registry import RegistryError, resolve, versions

    try:
        if "@" in text or re.search(r"/\d+$", text):
            found = resolve(workspace, text)
            return Subject("model", found.name, found.version)
        return Subject("model", text) if versions(workspace, text) else None
    except RegistryError as error:
        if error.code in ("alias_not_found", "model_version_not_found"):
            raise NotAModelVersionError(text, error) from error
        return None


def _endpoints(workspace: Workspace) -> list[str]:
    from headrace.endpoints import endpoint_names

    return list(endpoint_names(workspace))


def _paths(workspace: Workspace, text: str) -> list[str]:
    places = (Path.cwd() / Path(text).expanduser(), workspace.paths.root / Path(text).expanduser())
    return list(dict.fromkeys(str(_normal(place)) for place in places))


def _normal(path: Path) -> Path:
    import os.path

    return Path(os.path.normpath(path))


def _recorded(workspace: Workspace, path: str) -> bool:
    stem = path.rstrip("/")
    below = (raw_files.c.path > stem + "/") & (raw_files.c.path < stem + "0")
    query = select(raw_files.c.id).where(or_(raw_files.c.path == path, below)).limit(1)
    with workspace.store.reading() as connection:
        return connection.scalar(query) is not None


def _read(workspace: Workspace, path: str) -> bool:
    stem = path.rstrip("/")
    below = (accesses.c.name > stem + "/") & (accesses.c.name < stem + "0")
    query = select(accesses.c.name).where(
        or_(accesses.c.name == path, below), accesses.c.kind == "path"
    )
    with workspace.store.reading() as connection:
        return connection.scalar(query.limit(1)) is not None


def _names(workspace: Workspace) -> list[str]:
    """All that could have been meant."""
    names = [str(entry.name) for entry in workspace.catalog.list()]
    short = [name.partition(".")[2] for name in names]
    try:
        from headrace.catalog.reach.models import Models

        with workspace.store.reading() as connection:
            models = Models.load(connection)
        known = {each.rpartition("/")[0] for group in models.names.values() for each in group}
    except HeadraceError:
        known = set()
    return [*names, *short, *sorted(known), *_endpoints(workspace)]
