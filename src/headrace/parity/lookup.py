"""Rows of a feature table for many entities at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from headrace import lakehouse
from headrace.parity.errors import FeatureTableError

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.workspace import Workspace

_PLACE: Final = "headrace_place"
_MOMENT: Final = "headrace_moment"
_RANK: Final = "headrace_rank"
_WANTED: Final = "headrace_wanted_"


@dataclass(frozen=True)
class Wanted:
    """Which row: of a key, and of which moment where the key has no time.

    Attributes:
        at: the moment.
        key: values by column.
    """

    at: datetime
    key: Mapping[str, Any]


@dataclass(frozen=True)
class Lookup:
    """One table and what identifies its rows.

    Attributes:
        table: qualified name.
        location: of its Delta log.
        key: columns that identify a row.
        time: that of them which a request need not hold: the newest row before it is meant then.
        columns: to read.
    """

    workspace: Workspace
    table: str
    location: str
    key: tuple[str, ...]
    time: str | None
    columns: tuple[str, ...]

    @classmethod
    def on(
        cls,
        workspace: Workspace,
        table: str,
        key: Sequence[str],
        time: str | None,
        columns: Sequence[str],
    ) -> Lookup:
        """A lookup by a model's key.

        Args:
            workspace: the project.
            table: its name.
            key: the model's key.
            time: the model's time column.
            columns: the features.

        Raises:
            TableNotFoundError: there is no such table.
            FeatureTableError: it is a view, empty, or lacks a column of the key.
        """
        entry = workspace.catalog.resolve(table)
        name = str(entry.name)
        if entry.location is None or lakehouse.latest_version(entry.location) is None:
            raise FeatureTableError(name, "it has no versions to read")
        known = lakehouse.schema(entry.location).names
        missing = [each for each in key if each not in known]
        if missing:
            raise FeatureTableError(name, f"it has no column {', '.join(missing)}")
        there = tuple(each for each in columns if each in known)
        optional = time if time in key else None
        return cls(workspace, name, entry.location, tuple(key), optional, there)

    @property
    def entity(self) -> tuple[str, ...]:
        """The columns of the key that a request must hold."""
        return tuple(name for name in self.key if name != self.time)

    def rows(self, version: int, wanted: Mapping[int, Wanted]) -> dict[int, list[dict[str, Any]]]:
        """The rows of a version, by the number of who wants them; those without any are left out.

        Args:
            version: of the table.
            wanted: by a number.
        """
        timed = {at: each for at, each in wanted.items() if self._timed(each)}
        others = {at: each for at, each in wanted.items() if at not in timed}
        found: dict[int, list[dict[str, Any]]] = {}
        for part, key, newest in ((timed, self.key, None), (others, self.entity, self.time)):
            if part:
                for row in self._joined(version, part, key, newest):
                    found.setdefault(row.pop(_PLACE), []).append(row)
        return found

    def _timed(self, wanted: Wanted) -> bool:
        return self.time is None or wanted.key.get(self.time) is not None

    def _joined(
        self, version: int, wanted: Mapping[int, Wanted], key: Sequence[str], newest: str | None
    ) -> list[dict[str, Any]]:
        from pyspark.sql import Window
        from pyspark.sql import functions as f

        spark = self.workspace.spark()
        table = spark.read.option("versionAsOf", version).table(self.table)
        read = dict.fromkeys([*self.key, *self.columns])
        table = table.select(*(f.col(_quoted(each)) for each in read))
        asked = spark.createDataFrame(self._keys(version, wanted, key))
        same = [asked[_WANTED + str(at)] == table[_quoted(name)] for at, name in enumerate(key)]
        joined = asked.join(table, same)
        if newest is not None:
            before = joined.filter(f.col(_quoted(newest)) <= f.col(_MOMENT))
            latest = Window.partitionBy(_PLACE).orderBy(f.col(_quoted(newest)).desc())
            joined = before.withColumn(_RANK, f.rank().over(latest)).filter(f.col(_RANK) == 1)
        chosen = joined.select(_PLACE, *(f.col(_quoted(each)) for each in self.columns))
        with self.workspace.engine.recording(persist=False):
            rows: list[dict[str, Any]] = chosen.toArrow().to_pylist()
        return rows

    def _keys(self, version: int, wanted: Mapping[int, Wanted], key: Sequence[str]) -> pa.Table:
        """The wanted values in the types of the table; what has none there is left out."""
        import pyarrow as pa

        schema = lakehouse.schema(self.location, version)
        moment = schema.field(self.time).type if self.time else pa.timestamp("us", "UTC")
        kinds = [moment, *(schema.field(name).type for name in key)]
        places, rows = [], []
        for place, each in wanted.items():
            values = [each.at, *(each.key.get(name) for name in key)]
            typed = [typed_value(one, kind) for one, kind in zip(values, kinds, strict=True)]
            if None not in typed:
                places.append(place)
                rows.append(typed)
        names = [_MOMENT, *(_WANTED + str(at) for at in range(len(key)))]
        arrays = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
        return pa.table([pa.array(places, pa.int64()), *arrays], names=[_PLACE, *names])


def typed_value(value: Any, kind: pa.DataType) -> Any:
    """A JSON value as one of a column; ``None`` where it cannot be. A time without a zone is UTC."""
    import pyarrow as pa

    try:
        scalar = pa.scalar(value)
        if pa.types.is_timestamp(kind) and pa.types.is_string(scalar.type):
            scalar = pa.scalar(datetime.fromisoformat(value))
        if pa.types.is_timestamp(kind) and pa.types.is_timestamp(scalar.type):
            zoned = scalar.cast(pa.timestamp("us", "UTC"))
            scalar = zoned.cast(pa.timestamp("us", kind.tz))
        return scalar.cast(kind).as_py()
    except (pa.ArrowException, ValueError, TypeError):
        return None


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
