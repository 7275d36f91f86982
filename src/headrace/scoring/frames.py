"""The Spark side: the rows to score, checked, compared with what is there, and predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

from headrace.scoring.errors import DuplicateKeyError, KeyTypeError, NullKeyError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

_COPIES: Final = "headrace_copies"


@dataclass(frozen=True)
class Rows:
    """Rows of the input at one version.

    Attributes:
        table: qualified name of the input.
        version: its Delta version.
        key: columns that identify a row.
        inputs: columns that the model takes.
        carried: columns that go along unchanged.
    """

    table: str
    version: int
    key: tuple[str, ...]
    inputs: tuple[str, ...]
    carried: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Every column that is read, each once."""
        return list(dict.fromkeys([*self.key, *self.inputs, *self.carried]))

    @property
    def kept(self) -> list[str]:
        """The columns that pass by the model into the table."""
        return [*dict.fromkeys([*self.key, *self.carried]), "row_digest"]

    def frame(self, spark: SparkSession) -> DataFrame:
        """The columns, and ``row_digest``."""
        frame = spark.read.option("versionAsOf", self.version).table(self.table)
        digested = list(dict.fromkeys([*self.inputs, *self.carried]))
        return frame.select(
            *(_column(name) for name in self.columns), row_digest(digested).alias("row_digest")
        )


def row_digest(columns: Sequence[str]) -> Column:
    """64-bit hash of a row's values.

    Spark's ``xxhash64`` (XXH64, seed 42) over, for each column in order, whether it is null and
    then its value. Spark alone leaves the hash unchanged by a null, so that a value moving from
    one column to the next would go unseen.
    """
    from pyspark.sql import functions as f

    parts: list[Column] = []
    for name in columns:
        parts += [_column(name).isNull(), _column(name)]
    return f.xxhash64(*parts)


def check_key_types(table: str, schema: pa.Schema, key: Sequence[str]) -> None:
    """Raises KeyTypeError for a key column that cannot identify a row."""
    import pyarrow.types as t

    for name in key:
        kind = schema.field(name).type
        if t.is_floating(kind) or t.is_nested(kind) or t.is_binary(kind):
            raise KeyTypeError(table, name, str(kind))


def check_keys(spark: SparkSession, rows: Rows, output: str) -> None:
    """Each row has a key, and no two the same.

    Raises:
        NullKeyError: says how many rows have none.
        DuplicateKeyError: names one such row.
    """
    from pyspark.sql import functions as f

    keys = spark.read.option("versionAsOf", rows.version).table(rows.table)
    keys = keys.select(*(_column(name) for name in rows.key))
    without = keys.filter(reduce(or_, (_column(name).isNull() for name in rows.key))).count()
    if without:
        raise NullKeyError(output, rows.table, rows.key, without)
    copies = keys.groupBy(*(_column(name) for name in rows.key)).agg(
        f.count(f.lit(1)).alias(_COPIES)
    )
    repeated = copies.filter(f.col(_COPIES) > 1)
    example = repeated.limit(1).collect()
    if example:
        found = example[0].asDict()
        count = found.pop(_COPIES)
        raise DuplicateKeyError(output, rows.table, found, count, repeated.count())


def changed(rows: DataFrame, current: DataFrame | None, key: Sequence[str]) -> DataFrame:
    """Rows whose key and digest ``current`` (columns: key, ``row_digest``) does not hold."""
    if current is None:
        return rows
    return rows.join(current, [*key, "row_digest"], "left_anti")


def removed(rows: DataFrame, current: DataFrame, key: Sequence[str]) -> DataFrame:
    """Keys of ``current`` that ``rows`` no longer hold."""
    columns = [_column(name) for name in key]
    return current.select(*columns).join(rows.select(*columns), list(key), "left_anti")


def predicted(
    rows: DataFrame,
    kept: Sequence[str],
    predictions: Sequence[tuple[str, str]],
    predict: object,
    record: dict[str, tuple[str, object]],
    order: Sequence[str],
    parts: int | None = None,
) -> DataFrame:
    """The rows of the table of predictions.

    Args:
        rows: what to score.
        kept: columns of ``rows`` that pass by the model.
        predictions: name and Arrow type of each prediction column.
        predict: from ``predict.predictor``.
        record: Spark type and value of each column that is the same in all rows.
        order: columns of the table.
        parts: how many to predict at the same time; ``None`` leaves it to the engine.
    """
    import pyarrow as pa
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructField, StructType

    by_name = {field.name: field for field in rows.schema.fields}
    schema = StructType(
        [StructField(name, by_name[name].dataType) for name in kept]
        + [StructField(name, from_arrow_type(pa.type_for_alias(a))) for name, a in predictions]
    )
    if parts is not None:
        rows = rows.repartition(parts)
    scored = rows.mapInArrow(predict, schema)
    constants = {
        name: f.lit(value).cast(kind).alias(name) for name, (kind, value) in record.items()
    }
    return scored.select(*(constants.get(name, _column(name)) for name in order))


def _column(name: str) -> Column:
    from pyspark.sql import functions as f

    return f.col("`" + name.replace("`", "``") + "`")
