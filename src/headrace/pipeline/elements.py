"""What definition files declare, before names are resolved and plans are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

Kind = Literal["materialized_view", "streaming_table", "temporary_view"]


@dataclass(frozen=True, order=True)
class Location:
    """A place in a definitions file.

    Attributes:
        file: relative to the directory of the pipeline spec where it lies inside.
        line: counted from 1.
    """

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Output:
    """A declared dataset.

    Attributes:
        name: as written; one to three parts.
        schema: declared columns, as a Spark type or DDL text.
        partition_by: partition columns.
        properties: table properties.
    """

    name: str
    kind: Kind
    location: Location
    comment: str | None = None
    schema: StructType | str | None = None
    partition_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Flow:
    """A declared query into a dataset.

    Attributes:
        name: as written.
        target: name of the dataset, as written.
        query: makes the query's DataFrame.
        conf: Spark configuration that holds while the query runs.
        sql: the text of the query, where it comes from an SQL file.
        defined: first line of the query function, decorators included; ``None`` for SQL.
    """

    name: str
    target: str
    location: Location
    query: Callable[[], DataFrame]
    conf: Mapping[str, str] = field(default_factory=dict)
    sql: str | None = None
    defined: int | None = None
