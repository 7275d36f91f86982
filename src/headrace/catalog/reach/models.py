"""Which run logged which model, and under which addresses a model is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, inspect, select, table

if TYPE_CHECKING:
    from sqlalchemy import Connection

_runs = table("runs", column("run_uuid"), column("start_time"))
_tags = table("tags", column("run_uuid"), column("key"), column("value"))
_logged = table("logged_models", column("model_id"), column("source_run_id"))
_versions = table(
    "model_versions", *map(column, ("name", "version", "source", "storage_location", "run_id"))
)


@dataclass
class Models:
    """Models in MLflow's tables, which lie in the same database; none where there are none.

    Attributes:
        names: ``name/3`` of the registered versions of each model, by its id.
    """

    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _runs_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _models_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _began: dict[str, datetime] = field(default_factory=dict)
    _sessions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, connection: Connection) -> Models:
        """Everything: a project has models by the hundred, and edges by the million."""
        found = cls()
        inspector = inspect(connection)
        if inspector.has_table("logged_models"):
            for model_id, run in connection.execute(
                select(_logged.c.model_id, _logged.c.source_run_id)
            ):
                found._add(model_id, run)
        if inspector.has_table("model_versions"):
            for row in connection.execute(select(_versions)):
                model_id = _id_in(row.source) or _id_in(row.storage_location)
                if model_id is not None:
                    found.names[model_id].append(f"{row.name}/{row.version}")
                    found._add(model_id, row.run_id)
        if inspector.has_table("runs"):
            query = select(_runs.c.run_uuid, _runs.c.start_time, _tags.c.value).join(
                _tags, _tags.c.run_uuid == _runs.c.run_uuid
            )
            for run, began, session in connection.execute(
                query.where(_tags.c.key == "headrace.session_id")
            ):
                found._began[run] = datetime.fromtimestamp((began or 0) / 1000, UTC)
                found._sessions[run] = session
        return found

    def _add(self, model_id: str, run: str | None) -> None:
        if run:
            self._runs_of[model_id].add(run)
            self._models_of[run].add(model_id)

    def of_runs(self, runs: Iterable[str]) -> set[str]:
        """The models that these runs logged."""
        return set().union(*(self._models_of.get(run, ()) for run in runs))

    def of_session(self, session: str, since: datetime) -> set[str]:
        """The models of runs that a session began after it had collected rows."""
        return self.of_runs(
            run
            for run, each in self._sessions.items()
            if each == session and self._began[run] >= since
        )

    def runs_of(self, model_id: str) -> Collection[str]:
        """The runs that logged a model."""
        return self._runs_of.get(model_id, set())

    def session_of(self, run: str) -> tuple[str, datetime] | None:
        """The session that a run was made in, and when the run began."""
        session = self._sessions.get(run)
        return None if session is None else (session, self._began[run])

    def addresses(self, model_id: str) -> list[str]:
        """Under what operations read it."""
        return [f"models:/{each}" for each in (model_id, *self.names.get(model_id, ()))]

    def ids_of(self, name: str, version: int | None = None) -> list[str]:
        """The models that a registered name stands for: of one version, or of all."""
        wanted = None if version is None else f"{name}/{version}"
        return [
            model_id
            for model_id, names in self.names.items()
            if any(
                each == wanted or (wanted is None and each.rpartition("/")[0] == name)
                for each in names
            )
        ]

    def id_of(self, address: str) -> str:
        """The id of the model that an address stands for; what it says where that is not known."""
        text = address.removeprefix("models:/")
        if _id_in(text) == text:
            return text
        return next((each for each, names in self.names.items() if text in names), text)


def _id_in(place: Any) -> str | None:
    for part in str(place or "").replace("models:/", "/").split("/"):
        if part.startswith("m-") and len(part) == 34:
            return part
    return None
