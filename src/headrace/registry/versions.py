"""Reading MLflow's registry from the database it shares with the project.

Through SQL and not through MLflow's client, whose import alone takes seconds: a run that finds
nothing to do asks only this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, RowMapping, Select, column, inspect, select, table

from headrace.registry.errors import (
    AliasNotFoundError,
    InvalidReferenceError,
    ModelIdUnknownError,
    ModelNotFoundError,
    ModelVersionNotFoundError,
)

if TYPE_CHECKING:
    from headrace.workspace import Workspace

PRODUCTION: Final = "production"
SCOPE: Final = "default"
"""MLflow's workspace of everything, unless its workspaces are turned on."""

_REFERENCE: Final = re.compile(
    r"(?:models:/)?(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))?"
)
_MODEL_ID: Final = re.compile(r"\bm-[0-9a-f]{32}\b")
_DELETED: Final = "Deleted_Internal"

_models = table("registered_models", column("workspace"), column("name"))
_versions = table(
    "model_versions",
    column("workspace"),
    column("name"),
    column("version"),
    column("source"),
    column("storage_location"),
    column("run_id"),
    column("current_stage"),
    column("creation_time"),
)
version_tags = table(
    "model_version_tags",
    column("workspace"),
    column("name"),
    column("version"),
    column("key"),
    column("value"),
)
aliases = table(
    "registered_model_aliases",
    column("workspace"),
    column("name"),
    column("alias"),
    column("version"),
)


@dataclass(frozen=True)
class ModelVersion:
    """One registered version, resolved to the model that it will always be.

    Attributes:
        name: registered model name.
        version: its number.
        model_id: MLflow's immutable id of the logged model, ``m-...``.
        run_id: the MLflow run that logged it, if any.
        tags: ``headrace.*`` name its data, code, environment, hold-out and verdict.
    """

    name: str
    version: int
    model_id: str
    run_id: str | None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_uri(self) -> str:
        """``models:/m-...``, which no alias and no new version can redirect."""
        return f"models:/{self.model_id}"

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def resolve(workspace: Workspace, reference: str) -> ModelVersion:
    """The version that ``name@alias``, ``name/3`` or ``name`` (the newest) means now.

    Raises:
        InvalidReferenceError: the text is none of these.
        ModelNotFoundError, ModelVersionNotFoundError, AliasNotFoundError: it leads nowhere.
        ModelIdUnknownError: the version is of files that may change.
    """
    match = _REFERENCE.fullmatch(reference.strip())
    if match is None:
        raise InvalidReferenceError(reference)
    name, alias = match["name"], match["alias"]
    with workspace.store.reading() as connection:
        known = _names(connection)
        if name not in known:
            raise ModelNotFoundError(name, known)
        number = int(match["version"]) if match["version"] else None
        if alias is not None:
            number = alias_version(connection, name, alias)
            if number is None:
                raise AliasNotFoundError(name, alias, _alias_names(connection, name))
        query = _select(name)
        query = query if number is None else query.where(_versions.c.version == number)
        row = connection.execute(query.limit(1)).mappings().one_or_none()
        if row is None:
            numbers = connection.scalars(_select(name).with_only_columns(_versions.c.version))
            raise ModelVersionNotFoundError(name, number, sorted(numbers))
        return _model_version(connection, row)


def champion(workspace: Workspace, name: str, alias: str = PRODUCTION) -> ModelVersion | None:
    """The version that an alias points to, or ``None`` before there is one."""
    try:
        return resolve(workspace, f"{name}@{alias}")
    except (ModelNotFoundError, AliasNotFoundError):
        return None


def versions(workspace: Workspace, name: str) -> list[ModelVersion]:
    """Every version of a model, newest first; none if there is no such model."""
    with workspace.store.reading() as connection:
        if not _ready(connection):
            return []
        rows = connection.execute(_select(name)).mappings().all()
        return [_model_version(connection, row) for row in rows]


def version_of_run(workspace: Workspace, name: str, run_id: str) -> ModelVersion | None:
    """The version that was made from a run, if there is one."""
    with workspace.store.reading() as connection:
        if not _ready(connection):
            return None
        query = _select(name).where(_versions.c.run_id == run_id).limit(1)
        row = connection.execute(query).mappings().one_or_none()
        return _model_version(connection, row) if row else None


def alias_version(
    connection: Connection, name: str, alias: str, for_update: bool = False
) -> int | None:
    """The number that an alias points to; locked until the transaction ends if asked."""
    query = select(aliases.c.version).where(
        aliases.c.workspace == SCOPE, aliases.c.name == name, aliases.c.alias == alias
    )
    if for_update and connection.dialect.name != "sqlite":  # SQLite locks the whole file
        query = query.with_for_update()
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else int(found)


def _ready(connection: Connection) -> bool:
    """Whether MLflow has made its tables yet."""
    return inspect(connection).has_table(_versions.name)


def _names(connection: Connection) -> list[str]:
    if not _ready(connection):
        return []
    query = select(_models.c.name).where(_models.c.workspace == SCOPE)
    return sorted(connection.scalars(query))


def _alias_names(connection: Connection, name: str) -> list[str]:
    query = select(aliases.c.alias).where(aliases.c.workspace == SCOPE, aliases.c.name == name)
    return sorted(connection.scalars(query))


def _select(name: str) -> Select[Any]:
    return (
        select(_versions)
        .where(
            _versions.c.workspace == SCOPE,
            _versions.c.name == name,
            _versions.c.current_stage != _DELETED,
        )
        .order_by(_versions.c.version.desc())
    )


def _model_version(connection: Connection, row: RowMapping) -> ModelVersion:
    name, number = str(row["name"]), int(row["version"])
    query = select(version_tags.c.key, version_tags.c.value).where(
        version_tags.c.workspace == SCOPE,
        version_tags.c.name == name,
        version_tags.c.version == number,
    )
    tags = {str(key): str(value) for key, value in connection.execute(query)}
    places = [str(row[place] or "") for place in ("source", "storage_location")]
    found = next((match[0] for place in places if (match := _MODEL_ID.search(place))), None)
    if found is None:
        raise ModelIdUnknownError(name, number, places[0])
    return ModelVersion(name, number, found, row["run_id"], tags)
