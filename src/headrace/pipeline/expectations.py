"""Expectations: which rows of a refresh meet their conditions, and which rows stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.pipeline.errors import ExpectationError, ExpectationFailedError
from headrace.pipeline.store import ExpectationCount

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from headrace.pipeline.spec import Action, Expectations

_ACTIONS: tuple[Action, ...] = ("expect", "drop", "fail")


@dataclass(frozen=True)
class Verdict:
    """What the expectations say of the rows of one refresh.

    Attributes:
        rows: rows that the query gave.
        dropped: rows that fail a condition under ``drop``.
        counts: one for each expectation.
    """

    rows: int
    dropped: int
    counts: tuple[ExpectationCount, ...]


def check(dataset: str, frame: DataFrame, expectations: Expectations) -> None:
    """Make sure that every condition can be evaluated on the rows; reads no data.

    Raises:
        ExpectationError: names the condition that cannot, and why.
    """
    from pyspark.errors import PySparkException

    for name, condition in expectations.conditions():
        try:
            kind = frame.select(_expression(condition)).schema.fields[0].dataType.simpleString()
        except HeadraceError as error:
            raise ExpectationError(dataset, name, condition, error.why or error.what) from error
        except PySparkException as error:
            reason = str(error).strip().splitlines()[0]
            raise ExpectationError(dataset, name, condition, reason) from error
        if kind not in ("boolean", "void"):
            raise ExpectationError(
                dataset, name, condition, f"it is of type {kind}, a condition is true or false"
            )


def judge(dataset: str, frame: DataFrame, expectations: Expectations) -> Verdict:
    """Count, in one pass over the rows, how many meet each condition.

    A row meets a condition only if it is true there: NULL fails.

    Raises:
        ExpectationFailedError: a row fails a condition under ``fail``.
    """
    from pyspark.sql import functions as F

    named = [
        (action, name, condition)
        for action in _ACTIONS
        for name, condition in expectations.conditions(action)
    ]
    columns = [F.count(F.lit(1)).alias("rows"), _failing(_kept(expectations)).alias("dropped")]
    columns += [
        _failing(_holds(condition)).alias(f"failed_{index}")
        for index, (_, _, condition) in enumerate(named)
    ]
    found: dict[str, Any] = frame.agg(*columns).collect()[0].asDict()
    rows = found["rows"]
    counts = []
    for index, (action, name, condition) in enumerate(named):
        failed = found[f"failed_{index}"] or 0
        if action == "fail" and failed:
            raise ExpectationFailedError(dataset, name, condition, failed, rows)
        counts.append(ExpectationCount(name, action, condition, rows - failed, failed))
    return Verdict(rows, found["dropped"] or 0, tuple(counts))


def keep(frame: DataFrame, expectations: Expectations) -> DataFrame:
    """The rows that meet every condition under ``drop``."""
    return frame.where(_kept(expectations))


def _kept(expectations: Expectations) -> Column:
    from pyspark.sql import functions as F

    kept = F.lit(True)
    for _, condition in expectations.conditions("drop"):
        kept = kept & _holds(condition)
    return kept


def _holds(condition: str) -> Column:
    from pyspark.sql import functions as F

    return F.coalesce(_expression(condition), F.lit(False))


def _expression(condition: str) -> Column:
    from pyspark.sql import functions as F

    return F.expr(f"({condition})")


def _failing(holds: Column) -> Column:
    from pyspark.sql import functions as F

    return F.sum(F.when(holds, 0).otherwise(1))
