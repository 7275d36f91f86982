"""What MLflow's tables say of versions and runs, read through SQL: its import takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, column, inspect, select, table

if TYPE_CHECKING:
    from headrace.catalog import Store

_SCOPE: Final = "default"
_DELETED: Final = "Deleted_Internal"

_versions = table(
    "model_versions",
    *(column(name) for name in ("workspace", "name", "version", "run_id", "current_stage")),
)
_version_tags = table(
    "model_version_tags",
    *(column(name) for name in ("workspace", "name", "version", "key", "value")),
)
_aliases = table(
    "registered_model_aliases",
    *(column(name) for name in ("workspace", "name", "alias", "version")),
)
_runs = table(
    "runs", *(column(name) for name in ("run_uuid", "experiment_id", "start_time", "end_time"))
)
_run_tags = table("tags", column("run_uuid"), column("key"), column("value"))


@dataclass(frozen=True)
class Registered:
    """A model version that MLflow holds.

    Attributes:
        tags: ``headrace.*``.
        aliases: that name it now.
    """

    model: str
    version: int
    run_id: str | None
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """When a run was, and in which Spark session.

    Attributes:
        previous_ended: when the session's run before it ended.
    """

    session: str
    started: datetime
    previous_ended: datetime | None


def registered(store: Store) -> list[Registered] | None:
    """Every version that is not deleted; ``None`` before MLflow has made its tables."""
    with store.reading() as connection:
        if not inspect(connection).has_table(_versions.name):
            return None
        rows = connection.execute(
            select(_versions)
            .where(_versions.c.workspace == _SCOPE, _versions.c.current_stage != _DELETED)
            .order_by(_versions.c.name, _versions.c.version)
        ).all()
        tags = _grouped(connection, _version_tags, "key", "value")
        aliases = _grouped(connection, _aliases, "alias", "alias")
    return [
        Registered(
            row.name,
            int(row.version),
            row.run_id or None,
            tags.get((row.name, int(row.version)), {}),
            tuple(sorted(aliases.get((row.name, int(row.version)), {}))),
        )
        for row in rows
    ]


def run(store: Store, run_id: str) -> Run | None:
    """A run of a Spark session; ``None`` where it is gone, or no session of ours."""
    with store.reading() as connection:
        if not inspect(connection).has_table(_runs.name):
            return None
        session = connection.scalar(
            select(_run_tags.c.value).where(
                _run_tags.c.run_uuid == run_id, _run_tags.c.key == "headrace.session_id"
            )
        )
        found = connection.execute(select(_runs).where(_runs.c.run_uuid == run_id)).one_or_none()
        if session is None or found is None:
            return None
        ended = connection.scalar(
            select(_runs.c.end_time)
            .select_from(_runs.join(_run_tags, _runs.c.run_uuid == _run_tags.c.run_uuid))
            .where(
                _runs.c.experiment_id == found.experiment_id,
                _runs.c.start_time < found.start_time,
                _run_tags.c.key == "headrace.session_id",
                _run_tags.c.value == session,
            )
            .order_by(_runs.c.start_time.desc())
            .limit(1)
        )
    return Run(session, _moment(found.start_time), None if ended is None else _moment(ended))


def _grouped(
    connection: Connection, source: Any, key: str, value: str
) -> dict[tuple[str, int], dict[str, str]]:
    found: dict[tuple[str, int], dict[str, str]] = {}
    for row in connection.execute(select(source).where(source.c.workspace == _SCOPE)).mappings():
        of = found.setdefault((row["name"], int(row["version"])), {})
        of[str(row[key])] = str(row[value])
    return found


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
