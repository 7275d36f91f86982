"""Random plans, run again with one source column changed: what changes must be told before.

The values are run by the engine and know nothing of how flows are found. A column of the result
that differs when one column of a table has other values (or when a row is missing) must have a
flow from it. Columns are compared as sets with counts, so that the order of rows does not matter.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from headrace.engine.references import plan_of
from headrace.engine.resolve import PinningResolver
from headrace.engine.rewrite import Rewriter
from headrace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"t": ["id", "a", "b", "c"], "u": ["id", "p", "q"]}
ROWS = 7
PLANS = 70
_MISSING = "row"

#: From names of columns, ``None`` for rows, to those that they can come from.
Sources = dict[str | None, set[tuple[str, str | None]]]
Names = dict[str, str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Each table, and a copy of it for each way to change it."""
    root = tmp_path_factory.mktemp("oracle")
    (root / "headrace.yaml").write_text("name: oracle\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPARK_REMOTE", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", root.as_uri())
        workspace = open_workspace(root)
        spark = workspace.engine.session()
        chance = random.Random(7)
        for name, columns in TABLES.items():
            rows = [
                {column: chance.randrange(4) for column in columns} | {"id": number}
                for number in range(ROWS)
            ]
            write(spark, f"gold.{name}", rows)
            for column in columns:
                write(spark, f"gold.{name}_{column}", [changed(row, column) for row in rows])
            write(spark, f"gold.{name}_{_MISSING}", rows[:-1])
        yield workspace
        workspace.close()


def write(spark: SparkSession, name: str, rows: list[dict[str, int]]) -> None:
    schema = ", ".join(f"{column} LONG" for column in rows[0])
    frame = spark.createDataFrame([tuple(row.values()) for row in rows], schema)
    frame.write.saveAsTable(name)


def changed(row: dict[str, int], column: str) -> dict[str, int]:
    """The row with another value, of the same range so that filters and joins still meet some."""
    return row | {column: (row[column] * 3 + row["id"] + 1) % 5}


@dataclass
class Plans:
    """Makes one random plan: the same one each time, over tables of any names."""

    spark: SparkSession
    names: Names
    chance: random.Random
    count: int = 0
    steps: list[str] = field(default_factory=list)

    def name(self) -> str:
        self.count += 1
        return f"k{self.count}"

    def table(self) -> DataFrame:
        return self.spark.table(self.names[self.chance.choice(sorted(TABLES))])

    def make(self, depth: int) -> DataFrame:
        """A plan of so many steps at most."""
        if depth == 0:
            return self.table()
        frame = self.make(depth - 1)
        step = self.chance.choice(
            [
                self.select, self.add, self.filter, self.join, self.group, self.window, self.first,
                self.union, self.distinct, self.explode, self.text, self.rename, self.conditional,
                self.semi, self.subquery, self.pandas, self.total, self.text, self.text, self.first,
            ]
        )  # fmt: skip
        self.steps.append(step.__name__)
        return step(frame, depth)

    def any(self, frame: DataFrame) -> str:
        return str(self.chance.choice(frame.columns))

    def select(self, frame: DataFrame, _depth: int) -> DataFrame:
        kept = self.chance.sample(frame.columns, k=self.chance.randint(1, len(frame.columns)))
        one, other = self.any(frame), self.any(frame)
        return frame.select(*kept, (f.col(one) + f.col(other)).alias(self.name()))

    def add(self, frame: DataFrame, _depth: int) -> DataFrame:
        return frame.withColumn(
            self.chance.choice([self.any(frame), self.name()]), f.expr(f"{self.any(frame)} * 2 + 1")
        )

    def rename(self, frame: DataFrame, _depth: int) -> DataFrame:
        if self.chance.random() < 0.5:
            return frame.toDF(*(self.name() for _ in frame.columns))
        return frame.withColumnRenamed(self.any(frame), self.name())

    def conditional(self, frame: DataFrame, _depth: int) -> DataFrame:
        made = f.when(f.col(self.any(frame)) > 1, f.col(self.any(frame))).otherwise(0)
        return frame.withColumn(self.name(), made)

    def filter(self, frame: DataFrame, _depth: int) -> DataFrame:
        return frame.filter(f"{self.any(frame)} > 0 AND {self.any(frame)} < 4")

    def join(self, frame: DataFrame, depth: int) -> DataFrame:
        other = self.make(depth - 2) if depth > 1 else self.table()
        other = other.toDF(*(self.name() for _ in other.columns))
        kind = self.chance.choice(["inner", "left", "full"])
        left, right = self.any(frame), self.any(other)
        return frame.join(other, frame[left] == other[right], kind)

    def semi(self, frame: DataFrame, _depth: int) -> DataFrame:
        other = self.table().withColumnRenamed("id", "key")
        kind = self.chance.choice(["left_semi", "left_anti"])
        return frame.join(other, frame[self.any(frame)] == other["key"], kind)

    def group(self, frame: DataFrame, _depth: int) -> DataFrame:
        return frame.groupBy(self.any(frame)).agg(
            f.sum(self.any(frame)).alias(self.name()), f.count("*").alias(self.name())
        )

    def total(self, frame: DataFrame, _depth: int) -> DataFrame:
        return frame.agg(f.max(self.any(frame)).alias(self.name()), f.count("*").alias(self.name()))

    def window(self, frame: DataFrame, _depth: int) -> DataFrame:
        over = Window.partitionBy(self.any(frame)).orderBy(*frame.columns)
        made = self.chance.choice([f.row_number(), f.lag(self.any(frame))])
        return frame.withColumn(self.name(), made.over(over))

    def first(self, frame: DataFrame, _depth: int) -> DataFrame:
        first = self.any(frame)
        others = [name for name in frame.columns if name != first]
        kept = frame.orderBy(first, *others).limit(self.chance.randint(1, 3))
        return kept.select(self.any(frame), f.lit(1).alias(self.name()))

    def union(self, frame: DataFrame, _depth: int) -> DataFrame:
        other = self.table()
        count = min(len(frame.columns), len(other.columns))
        both = frame.select(frame.columns[:count]), other.select(other.columns[:count])
        made = both[0].union(both[1])
        return made.distinct() if self.chance.random() < 0.4 else made

    def distinct(self, frame: DataFrame, _depth: int) -> DataFrame:
        return frame.select(*frame.columns[:2]).distinct()

    def explode(self, frame: DataFrame, _depth: int) -> DataFrame:
        made = f.explode(f.array_repeat(f.col(self.any(frame)), 2))
        if self.chance.random() < 0.5:
            made = f.explode(f.sequence(f.lit(0), f.coalesce(f.col(self.any(frame)), f.lit(0))))
        return frame.select(self.any(frame), made.alias(self.name()))

    def pandas(self, frame: DataFrame, _depth: int) -> DataFrame:
        kept = frame.select(f.col(self.any(frame)).alias("x"), f.col(self.any(frame)).alias("y"))
        named = kept.mapInPandas(twice, "x LONG, y LONG")
        return named.toDF(self.name(), self.name())

    def text(self, frame: DataFrame, _depth: int) -> DataFrame:
        one, other, key = self.any(frame), self.any(frame), self.any(frame)
        made, more = self.name(), self.name()
        query = self.chance.choice(
            [
                f"SELECT {one} AS {made}, CASE WHEN {other} > 1 THEN {key} END AS {more} FROM {{x}}",
                f"WITH w AS (SELECT {one} AS k, {other} AS n FROM {{x}} WHERE {key} > 0)"
                f" SELECT k AS {made}, sum(n) AS {more} FROM w GROUP BY k",
                f"SELECT s.{one} AS {made}, r.q AS {more} FROM {{x}} AS s"
                f" LEFT JOIN {self.names['u']} AS r ON s.{key} = r.p",
                f"SELECT {made}, {more} FROM (SELECT {one}, {other} FROM {{x}} UNION ALL"
                f" SELECT p, q FROM {self.names['u']}) AS v ({made}, {more})",
                f"SELECT {one} AS {made}, e AS {more} FROM {{x}}"
                f" LATERAL VIEW explode(array({other}, {key})) g AS e",
            ]
        )
        return self.spark.sql(query, x=frame)

    def subquery(self, frame: DataFrame, _depth: int) -> DataFrame:
        one, key, made = self.any(frame), self.any(frame), self.name()
        query = self.chance.choice(
            [
                f"SELECT {one} AS {made} FROM {{x}} WHERE {key} IN"
                f" (SELECT p FROM {self.names['u']} WHERE q > 0)",
                f"SELECT {one} AS {made} FROM {{x}} AS s WHERE EXISTS"
                f" (SELECT 1 FROM {self.names['u']} AS r WHERE r.p = s.{key})",
                f"SELECT {one} + (SELECT max(q) FROM {self.names['u']} WHERE p > 0) AS {made}"
                " FROM {x}",
            ]
        )
        return self.spark.sql(query, x=frame)


def twice(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Each row with its values exchanged, twice."""
    for frame in frames:
        yield frame.rename(columns={"x": "y", "y": "x"})[["x", "y"]]
        yield frame


def values(frame: DataFrame) -> dict[str, Counter[object]]:
    table = frame.toArrow()
    return {name: Counter(table[name].to_pylist()) for name in table.column_names}


def told(workspace: Workspace, frame: DataFrame) -> Sources:
    """The flows of a plan, which is not run for it."""
    state = workspace.engine._state
    resolver, relation = PinningResolver(state), plan_of(frame)
    Rewriter(resolver).apply(relation)
    found: Sources = {}
    for column, access, source, how in resolver.flows_into(relation, frame.columns):
        name = access.name.rpartition(".")[2]
        where = found.setdefault(column, set())
        where.add((name, source))
        if source is None and how == "unknown":
            where |= {(name, each) for each in TABLES[name]}
    return found


def unexpected(
    before: dict[str, Counter[object]],
    after: dict[str, Counter[object]],
    sources: Sources,
    cause: tuple[str, str | None],
) -> list[str]:
    """Columns that changed, and of which the flows do not say that they could."""
    rows = sources.get(None, set())
    return [
        column
        for column in before
        if before[column] != after[column] and cause not in sources.get(column, set()) | rows
    ]


@pytest.mark.parametrize("seed", range(PLANS))
def test_what_changes_was_told(project: Workspace, seed: int) -> None:
    spark = project.engine.session()

    def plan(**names: str) -> tuple[DataFrame, list[str]]:
        plans = Plans(spark, {n: f"gold.{names.get(n, n)}" for n in TABLES}, random.Random(seed))
        return plans.make(1 + seed % 4), plans.steps

    frame, steps = plan()
    before, sources = values(frame), told(project, frame)
    for name, columns in TABLES.items():
        for column in (*columns, _MISSING):
            after = values(plan(**{name: f"{name}_{column}"})[0])
            cause = (name, None if column == _MISSING else column)
            assert unexpected(before, after, sources, cause) == [], f"{steps}: {cause}"


def test_the_oracle_sees_a_missing_flow(project: Workspace) -> None:
    """The test above can fail: of a plan whose flows are forgotten it says which."""
    make: Callable[[str], DataFrame] = project.engine.session().table
    before, after = values(make("gold.t")), values(make("gold.t_a"))
    sources = told(project, make("gold.t"))
    assert unexpected(before, after, sources, ("t", "a")) == []
    assert unexpected(before, after, {None: {("t", None)}}, ("t", "a")) == ["a"]
