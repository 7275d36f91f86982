"""What a recall found: everything that the data reached, as immutable values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from headrace import clock

if TYPE_CHECKING:
    from headrace.recall.origin import Origin

How = Literal["certain", "possible"]
TableKind = Literal["table", "predictions", "request log", "files"]

#: Version of the JSON shape of ``Recall.as_json``; grows when a field changes its meaning.
JSON_VERSION: Final = 1


@dataclass(frozen=True)
class Step:
    """One step on the way to a thing: what was executed, and what it made.

    Attributes:
        operation: id of the recorded operation; ``None`` where the step is none.
        what: in words, such as ``refresh`` or ``append``.
        to: what it reached.
        at: when it ended.
        source: ``file:line`` of the user's code.
    """

    operation: str | None
    what: str
    to: str
    at: datetime | None
    source: str | None


@dataclass(frozen=True)
class Versions:
    """A range of versions of a table that hold the data.

    Attributes:
        first, last: both inclusive; no last one where the newest version holds it still.
        certainty: whether it is recorded to have come there, or can have.
        columns: those reached; ``None`` for whole rows.
    """

    first: int
    last: int | None
    certainty: How
    columns: tuple[str, ...] | None

    def __str__(self) -> str:
        if self.last == self.first:
            return str(self.first)
        return f"{self.first}-{self.last}" if self.last is not None else f"{self.first}-"


@dataclass(frozen=True)
class ReachedTable:
    """A table of which some versions hold the data.

    Attributes:
        name: qualified name, or the place where the catalog has none.
        kind: ``table``, ``predictions``, ``request log``, or ``files`` for plain ones.
        versions: in their order.
        holds_now: whether the newest version holds it; ``None``: it does not, or is gone.
        current: the newest version.
        state: ``holds`` it now, ``replaced`` since, or ``dropped``.
        since: when it first came there.
        how: the shortest way.
    """

    name: str
    kind: TableKind
    location: str
    certainty: How
    versions: tuple[Versions, ...]
    holds_now: How | None
    current: int | None
    state: Literal["holds", "replaced", "dropped"]
    since: datetime | None
    how: tuple[Step, ...]


@dataclass(frozen=True)
class ReachedModel:
    """A model that learned from the data, or was judged on it.

    Attributes:
        name, version: of the registry; ``None`` for a logged model that was never registered.
        aliases: those it holds now.
        relation: ``trained on`` it, or ``judged with`` a hold-out that holds it.
        pinned: tables at versions that hold the data and that are kept for this version.
        recalled: id of the recall that marked it.
    """

    name: str | None
    version: int | None
    model_id: str | None
    run_id: str | None
    aliases: tuple[str, ...]
    relation: Literal["trained on", "judged with"]
    certainty: How
    pinned: tuple[str, ...]
    recalled: str | None
    how: tuple[Step, ...]

    @property
    def label(self) -> str:
        """``name/3``, or the id of one that was not registered."""
        return f"{self.name}/{self.version}" if self.name else str(self.model_id)


@dataclass(frozen=True)
class ReachedDeployment:
    """A model version that such data reached, in an endpoint.

    Attributes:
        share: percent of the traffic now.
        since, until: when it took traffic; no ``since``: it never did.
        requests, rows: answered, exactly, with those that wait in the spool.
        logged: rows of them in the request log.
        waiting: rows of them in the spool, on their way there.
        first, last: times of the first and the last answer that was kept.
    """

    endpoint: str
    deployment: str
    colour: str
    model: str
    certainty: How
    state: str
    share: int
    since: datetime | None
    until: datetime | None
    requests: int
    rows: int
    logged: int
    waiting: int
    first: datetime | None
    last: datetime | None
    log: str


@dataclass(frozen=True)
class ReachedPredictions:
    """A table of predictions, and the scorings that such data went into.

    Attributes:
        scorings: how many.
        rows: predicted by them, in all.
        because: ``input``, ``model``, or both.
        first, last: when.
        holds_now: whether rows of theirs can be in the table; ``None`` once a scoring has read
            nothing of the data: what it left in place is what it would predict.
    """

    table: str
    scorings: int
    rows: int
    models: tuple[str, ...]
    because: tuple[str, ...]
    certainty: How
    first: datetime
    last: datetime
    holds_now: How | None


@dataclass(frozen=True)
class ReachedHoldout:
    """Frozen rows that models are judged on."""

    digest: str
    model: str
    table: str
    version: int
    rows: int
    certainty: How


@dataclass(frozen=True)
class Collected:
    """Rows that a program got to do with as it pleased: a notebook, a script, an ad-hoc query.

    Attributes:
        source: ``file:line`` of the code, where it is known.
        reads: how many times.
    """

    source: str | None
    reads: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Recall:
    """Everything that data from an origin reached.

    Attributes:
        origin: what it began at.
        tables, models, deployments, predictions, holdouts: what was reached, the worst first.
        collected: rows that left for programs.
        consumers: who read them through shares. No share exists yet, so nobody.
        operations: how many recorded operations the data passed.
        seconds: how long it took to find out.
    """

    origin: Origin
    tables: tuple[ReachedTable, ...]
    models: tuple[ReachedModel, ...]
    deployments: tuple[ReachedDeployment, ...]
    predictions: tuple[ReachedPredictions, ...]
    holdouts: tuple[ReachedHoldout, ...]
    collected: tuple[Collected, ...]
    consumers: tuple[str, ...]
    operations: int
    seconds: float

    @property
    def serving(self) -> tuple[ReachedDeployment, ...]:
        """Deployments that answer requests now."""
        return tuple(each for each in self.deployments if each.share > 0)

    @property
    def answers(self) -> int:
        """Rows that endpoints have answered with such a model."""
        return sum(each.rows for each in self.deployments)

    @property
    def is_empty(self) -> bool:
        """Nothing was reached."""
        return not (self.tables or self.models or self.predictions or self.collected)

    def table(self, name: str) -> ReachedTable | None:
        """A table that was reached, by its qualified name."""
        return next((each for each in self.tables if each.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """The documented shape."""
        body = {
            name: _plain([asdict(each) for each in getattr(self, name)])
            for name in (
                "tables",
                "models",
                "deployments",
                "predictions",
                "holdouts",
                "collected",
            )
        }
        return {
            "version": JSON_VERSION,
            "origin": self.origin.as_json(),
            "summary": {
                "tables": len(self.tables),
                "tables_holding_now": sum(each.holds_now is not None for each in self.tables),
                "models": len(self.models),
                "serving_now": len(self.serving),
                "answered_rows": self.answers,
                "predicted_rows": sum(each.rows for each in self.predictions),
                "possible": sum(each.certainty == "possible" for each in self._every()),
                "operations": self.operations,
            },
            **body,
            "consumers": list(self.consumers),
        }

    def _every(self) -> tuple[Any, ...]:
        return (*self.tables, *self.models, *self.deployments, *self.predictions, *self.holdouts)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return clock.iso(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
