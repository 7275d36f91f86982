"""What the control tables say of the endpoints, as immutable values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlparse
from urllib.request import url2pathname

from pydantic import BaseModel
from sqlalchemy import Connection, column, func, inspect, select, table

from headrace.clock import iso
from headrace.endpoints.routing import Split
from headrace.endpoints.spec import EndpointSpec
from headrace.endpoints.store import deployments, endpoints, rollouts, traffic

if TYPE_CHECKING:
    from headrace.catalog import Store

State = Literal["loading", "ready", "failed", "standby", "draining", "retired"]

_logged_models = table("logged_models", column("model_id"), column("artifact_location"))

#: States in which the plane has something to do with a deployment.
ACTIVE: Final = ("loading", "ready", "standby", "draining")


@dataclass(frozen=True)
class Deployment:
    """One model version in one colour of an endpoint.

    Attributes:
        state: ``loading`` until the smoke request is answered; ``standby`` when it was replaced
            and is kept loaded, to go back to; ``draining`` while its last requests finish.
        reason: why it failed or was replaced.
    """

    id: str
    endpoint: str
    colour: str
    model_name: str
    model_version: int
    model_id: str
    state: State
    reason: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def model_uri(self) -> str:
        """The immutable URI of the model."""
        return f"models:/{self.model_id}"

    @property
    def model(self) -> str:
        """Name and version, as ``device_failure/3``."""
        return f"{self.model_name}/{self.model_version}"


@dataclass(frozen=True)
class RolloutState:
    """How far a deployment has taken over."""

    deployment: str
    steps: tuple[int, ...]
    every_seconds: float
    step: int
    next_at: datetime | None
    state: Literal["waiting", "running", "paused", "done", "stopped"]

    @property
    def under_way(self) -> bool:
        """Whether it has begun, or waits for its deployment, and is not over."""
        return self.state in ("waiting", "running", "paused")


@dataclass(frozen=True)
class EndpointRecord:
    """One endpoint with its active deployments.

    Attributes:
        spec: the endpoint as the project file had it when it was last deployed.
        revision: rises with each change.
    """

    spec: EndpointSpec
    revision: int
    split: Split | None
    deployments: tuple[Deployment, ...] = ()
    rollouts: Mapping[str, RolloutState] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self.spec.name

    @property
    def model(self) -> str:
        """What it answers with, as the project file says it: ``name@alias`` or ``name/3``."""
        return self.spec.model

    @property
    def key(self) -> tuple[str, ...]:
        """Columns of a request that keep a caller on one deployment."""
        return tuple(self.spec.key)

    def by_id(self, deployment: str) -> Deployment:
        """The active deployment of that id."""
        return next(d for d in self.deployments if d.id == deployment)

    def serving(self, colour: str) -> Deployment | None:
        """The deployment of a colour that takes or may take traffic."""
        found = [d for d in self.deployments if d.colour == colour and d.state != "draining"]
        return found[-1] if found else None

    @property
    def target(self) -> Deployment | None:
        """The deployment that has, or is on its way to, all the traffic: the newest in use."""
        in_use = [d for d in self.deployments if d.state in ("loading", "ready")]
        return in_use[-1] if in_use else None

    @property
    def live_colour(self) -> str | None:
        """The ready colour with the larger share of the traffic."""
        if self.split is None:
            return None
        ready = [
            colour
            for colour in self.split.shares
            if self.split.shares[colour] > 0
            and (deployment := self.serving(colour)) is not None
            and deployment.state == "ready"
        ]
        return max(ready, key=self.split.shares.__getitem__, default=None)


#: Since when an endpoint is there, and its revision: one that was withdrawn and declared again
#: begins to count anew.
Revision = tuple[datetime, int]


def revisions(store: Store) -> dict[str, Revision]:
    """The revision of each endpoint: another one after each change."""
    with store.reading() as connection:
        rows = connection.execute(
            select(endpoints.c.name, endpoints.c.created_at, endpoints.c.revision)
        )
        return {row.name: (row.created_at, row.revision) for row in rows}


def read_endpoints(store: Store) -> dict[str, EndpointRecord]:
    """Every endpoint, in one consistent state."""
    with store.reading() as connection:
        names = connection.scalars(select(endpoints.c.name).order_by(endpoints.c.name)).all()
        found = {name: read_endpoint(connection, name) for name in names}
    return {name: record for name, record in found.items() if record is not None}


def hold_endpoint(connection: Connection, name: str) -> EndpointRecord | None:
    """One endpoint, or ``None``; nobody else changes it before this transaction ends.

    On SQLite the transaction of ``Store.begin()`` holds the whole database anyway.
    """
    connection.execute(
        select(endpoints.c.name).where(endpoints.c.name == name).with_for_update()
    ).all()
    return read_endpoint(connection, name)


def read_endpoint(connection: Connection, name: str) -> EndpointRecord | None:
    """One endpoint inside a transaction, or ``None``."""
    row = connection.execute(select(endpoints).where(endpoints.c.name == name)).one_or_none()
    if row is None:
        return None
    newest = select(func.max(traffic.c.revision)).where(traffic.c.endpoint == name)
    split = connection.execute(
        select(traffic).where(
            traffic.c.endpoint == name, traffic.c.revision == newest.scalar_subquery()
        )
    ).one_or_none()
    active = connection.execute(
        select(deployments)
        .where(deployments.c.endpoint == name, deployments.c.state.in_(ACTIVE))
        .order_by(deployments.c.created_at, deployments.c.id)
    ).all()
    ids = [deployment.id for deployment in active]
    steps = connection.execute(select(rollouts).where(rollouts.c.deployment.in_(ids))).all()
    return EndpointRecord(
        spec=_spec_of(row.name, row.model, row.key_columns, row.spec),
        revision=row.revision,
        split=None if split is None else Split(split.revision, split.shares, split.seed),
        deployments=tuple(Deployment(**deployment._mapping) for deployment in active),
        rollouts={r.deployment: rollout_of(dict(r._mapping)) for r in steps},
    )


def model_directory(store: Store, model_id: str) -> Path | None:
    """The directory of a logged model, read from MLflow's table.

    MLflow's client would tell it too, after seconds of setting itself up.

    Returns:
        ``None`` where MLflow knows no such model, or keeps it on another machine.
    """
    query = select(_logged_models.c.artifact_location).where(_logged_models.c.model_id == model_id)
    with store.reading() as connection:
        if not inspect(connection).has_table(_logged_models.name):
            return None
        location = connection.scalar(query)
    address = urlparse(location or "")
    if address.scheme not in ("", "file") or not address.path:
        return None
    return Path(url2pathname(address.path))


def rollout_of(row: Mapping[str, Any]) -> RolloutState:
    """A row of the table of rollouts."""
    return RolloutState(
        deployment=row["deployment"],
        steps=tuple(row["steps"]),
        every_seconds=row["every_seconds"],
        step=row["step"],
        next_at=row["next_at"],
        state=row["state"],
    )


def write_cache(path: Path, records: Mapping[str, EndpointRecord], models: dict[str, str]) -> None:
    """Keep the last known state beside the database, atomically.

    Args:
        path: the file.
        records: the endpoints.
        models: model id to the directory that holds the model.
    """
    body = {
        "endpoints": {name: asdict(record) for name, record in records.items()},
        "models": models,
    }
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(body, default=_plain, indent=1))
    fresh.replace(path)


def read_cache(path: Path) -> tuple[dict[str, EndpointRecord], dict[str, str]]:
    """What ``write_cache`` kept; empty where there is no such file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return {}, {}
    try:
        body = json.loads(path.read_text())
        records = {name: _record_of(record) for name, record in body["endpoints"].items()}
        return records, dict(body["models"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no cache of this version: {error!r}") from error


def _record_of(body: dict[str, Any]) -> EndpointRecord:
    split = body["split"]
    return EndpointRecord(
        spec=EndpointSpec.model_validate(body["spec"]),
        revision=body["revision"],
        split=None if split is None else Split(**split),
        deployments=tuple(Deployment(**_with_times(row)) for row in body["deployments"]),
        rollouts={
            name: rollout_of(_with_times(rollout)) for name, rollout in body["rollouts"].items()
        },
    )


def _spec_of(name: str, model: str, key: list[str], stored: Any) -> EndpointSpec:
    """The stored spec; of an endpoint that was stored without one, what its other columns say."""
    if stored is None:
        return EndpointSpec(name=name, model=model, key=key)
    return EndpointSpec.model_validate(stored)


def _with_times(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name.endswith("_at") and value else value
        for name, value in row.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} in the state of an endpoint")
