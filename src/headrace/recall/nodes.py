"""What data can reach, as the nodes of the graph that a recall walks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class RowsOf:
    """Rows that one version of a table brought, and that later versions keep.

    Attributes:
        table: the place of its Delta log, see ``records.Records.key``.
        life: counts how often a table was made in that place before this one.
        version: the first version that holds them.
    """

    table: str
    life: int
    version: int


@dataclass(frozen=True)
class FilesOf:
    """Plain files that one operation wrote below a path."""

    path: str
    operation: str
    started: datetime
    finished: datetime


@dataclass(frozen=True)
class RawFiles:
    """The raw files that a recall begins at."""

    label: str


@dataclass(frozen=True)
class RunOf:
    """A training run."""

    run_id: str


@dataclass(frozen=True)
class ModelOf:
    """A logged model, by its immutable id."""

    model_id: str


@dataclass(frozen=True)
class SessionOf:
    """A Spark session whose program has collected rows at a moment."""

    session_id: str
    since: datetime


Node = RowsOf | FilesOf | RawFiles | RunOf | ModelOf | SessionOf


@dataclass(frozen=True)
class Hop:
    """How a node was reached: from another one, by an operation or for a reason.

    Attributes:
        source: the node before.
        operation: id of the recorded operation; ``None`` where it is none.
        words: how, where no operation says it.
    """

    source: Node
    operation: str | None = None
    words: str = ""
