"""Random pipelines that are run for real, as often as needed, on raw files of one's choice."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from headrace import lakehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from headrace.workspace import Workspace

COLUMNS = ("id", "a", "b")
FILES = 3

_QUERIES = (
    "SELECT id, a, b FROM {one}",
    "SELECT id, a + 1 AS a, 7L AS b FROM {one} WHERE b > {k}",
    "SELECT id, a, CASE WHEN a > {k} THEN b ELSE 0L END AS b FROM {one}",
    "SELECT id, max(a) AS a, count(*) AS b FROM {one} GROUP BY id",
    "SELECT a AS id, sum(b) AS a, 1L AS b FROM {one} GROUP BY a",
    "SELECT l.id, l.a, r.b FROM {one} l JOIN {two} r ON l.id = r.id",
    "SELECT l.id, coalesce(r.n, 0L) AS a, l.b FROM {one} l"
    " LEFT JOIN (SELECT id, sum(a) AS n FROM {two} GROUP BY id) r ON l.id = r.id",
    "SELECT id, a, b FROM {one} UNION ALL SELECT id, b AS a, a AS b FROM {two}",
    "SELECT id, a, (SELECT max(b) FROM {two}) AS b FROM {one}",
    "SELECT id, a, b FROM {one} WHERE id IN (SELECT id FROM {two} WHERE a > {k})",
    "SELECT id, a, CAST(row_number() OVER (PARTITION BY a ORDER BY id, b) AS BIGINT) AS b"
    " FROM {one}",
    "SELECT DISTINCT id, a, 3L AS b FROM {one}",
    "WITH x AS (SELECT id, a FROM {one} WHERE a > {k}), y AS (SELECT id, b FROM {two})"
    " SELECT x.id, x.a, y.b FROM x JOIN y ON x.id = y.id",
)
_SCHEMA = "id bigint, a bigint, b bigint"
#: Queries for whose rows nobody can vouch: Python sees them.
_OPAQUE = ("swap", "scalar")


@dataclass(frozen=True)
class Statement:
    """One statement; names stand in braces until it is run."""

    kind: str
    target: str
    query: str = ""
    python: str = ""
    numbers: tuple[int, ...] = ()


@dataclass
class Done:
    """One run of a pipeline: after each statement, the table's version and its columns.

    Attributes:
        after: version and content of the target, by number of the statement; the content of a
            column is its values in no order.
    """

    after: dict[int, tuple[str, int, dict[str, list[Any]]]] = field(default_factory=dict)


def write_files(directory: Path, number: int, change: str | None = None) -> list[Path]:
    """The raw files of a pipeline; the first of them changed in its ``rows``, or in a column."""
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for file in range(FILES):
        rng = random.Random(f"{number}-{file}")
        columns = {name: [rng.randrange(6) for _ in range(6)] for name in COLUMNS}
        if file == 0 and change == "rows":
            columns = {
                name: [value + 3 for value in values[:4]] for name, values in columns.items()
            }
        elif file == 0 and change is not None:
            columns[change] = [(value + 2) % 7 for value in columns[change]]
        path = directory / f"f{file}.parquet"
        arrays = {name: pa.array(values, pa.int64()) for name, values in columns.items()}
        parquet.write_table(pa.table(arrays), path)
        made.append(path)
    return made


def make_pipeline(number: int, length: int) -> list[Statement]:
    """The statements of that pipeline; the same ones each time."""
    rng = random.Random(number)
    made: list[Statement] = []
    tables: list[str] = []
    versions: list[str] = []

    def source() -> str:
        names = [f"parquet.`{{raw}}/f{rng.choice([0, 0, 1, 2])}.parquet`", "parquet.`{raw}`"]
        names += [f"{{schema}}.{table}" for table in tables] * 2
        names += versions[-3:]
        return rng.choice(names)

    for position in range(length):
        query = rng.choice(_QUERIES).replace("{one}", source()).replace("{two}", source())
        query = query.replace("{k}", str(rng.randrange(3)))
        python = rng.choice(_OPAQUE) if rng.random() < 0.12 else ""
        target = f"t{rng.randrange(4)}"
        if target not in tables:
            kind = rng.choice(["append", "overwrite", "ctas"])
            tables.append(target)
        else:
            kind = rng.choice(
                ["append", "insert", "overwrite", "part", "merge", "update", "delete", "view",
                 "files", "again", "driver", "frame"]
            )  # fmt: skip
        made.append(Statement(kind, target, query, python, (rng.randrange(4), rng.randrange(4))))
        if kind == "again":  # the versions of before are gone with the table
            versions = [each for each in versions if f".{target} " not in each]
        versions.append(f"{{schema}}.{target} VERSION AS OF {{after{position}}}")
    return made


class Runner:
    """Runs pipelines in one workspace, each run in a schema of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._spark = workspace, workspace.spark()

    def run(self, pipeline: list[Statement], schema: str, raw: Path) -> Done:
        """Run every statement, and look at what it wrote."""
        done = Done()
        for position, statement in enumerate(pipeline):
            names = {f"after{number}": str(each[1]) for number, each in done.after.items()}
            values = {"schema": schema, "raw": str(raw), **names}
            query = statement.query
            for name, value in values.items():
                query = query.replace("{" + name + "}", value)
            table = f"{schema}.{statement.target}"
            self._kinds[statement.kind](self, table, query, statement)
            location = self._workspace.catalog.resolve(table).location
            assert location is not None
            rows = lakehouse.read(location)
            done.after[position] = (
                f"main.{table}",
                lakehouse.latest_version(location) or 0,
                {name: sorted(rows.column(name).to_pylist()) for name in COLUMNS},
            )
        return done

    def _frame(self, query: str, statement: Statement) -> DataFrame:
        from pyspark.sql import functions as f

        frame = self._spark.sql(query)
        if statement.python == "swap":

            def swap(batches: Any) -> Any:
                for batch in batches:
                    yield batch.assign(a=batch["b"], b=batch["a"])

            return frame.mapInPandas(swap, _SCHEMA)
        if statement.python == "scalar":
            # Annotations would be looked up where they cannot be found.
            plus = f.udf(lambda value: None if value is None else value + 1, "bigint")
            return frame.withColumn("b", plus(f.col("a")))
        return frame

    def _append(self, table: str, query: str, statement: Statement) -> None:
        self._frame(query, statement).write.mode("append").saveAsTable(table)

    def _overwrite(self, table: str, query: str, statement: Statement) -> None:
        self._frame(query, statement).write.mode("overwrite").saveAsTable(table)

    def _ctas(self, table: str, query: str, _: Statement) -> None:
        self._spark.sql(f"CREATE TABLE {table} AS {query}")

    def _insert(self, table: str, query: str, _: Statement) -> None:
        self._spark.sql(f"INSERT INTO {table} {query}")

    def _part(self, table: str, query: str, statement: Statement) -> None:
        condition = f"id = {statement.numbers[0]}"
        frame = self._frame(query, statement).filter(condition)
        frame.write.mode("overwrite").option("replaceWhere", condition).saveAsTable(table)

    def _merge(self, table: str, query: str, _: Statement) -> None:
        once = f"SELECT id, max(a) AS a, max(b) AS b FROM ({query}) GROUP BY id"
        self._spark.sql(
            f"MERGE INTO {table} t USING ({once}) s ON t.id = s.id "
            "WHEN MATCHED THEN UPDATE SET t.b = s.a "
            "WHEN NOT MATCHED THEN INSERT (id, a, b) VALUES (s.id, s.a, s.b)"
        )

    def _update(self, table: str, _: str, statement: Statement) -> None:
        self._spark.sql(f"UPDATE {table} SET a = b + 1 WHERE id > {statement.numbers[0]}")

    def _delete(self, table: str, _: str, statement: Statement) -> None:
        self._spark.sql(f"DELETE FROM {table} WHERE a > {statement.numbers[0] + 2}")

    def _view(self, table: str, query: str, _: Statement) -> None:
        self._spark.sql(f"CREATE OR REPLACE VIEW {table}_view AS {query}")
        self._spark.sql(f"INSERT INTO {table} SELECT id, b, a FROM {table}_view")

    def _files(self, table: str, query: str, statement: Statement) -> None:
        out = str(self._workspace.paths.root / "out" / table)
        self._frame(query, statement).write.mode("overwrite").parquet(out)
        if list(Path(out).glob("*.parquet")):  # the engine writes no file without rows
            frame = self._spark.read.schema(_SCHEMA).parquet(out)
            frame.write.mode("append").saveAsTable(table)

    def _again(self, table: str, query: str, statement: Statement) -> None:
        kept = self._frame(query, statement).toArrow()
        self._spark.sql(f"DROP TABLE {table}")
        # A query that reads the dropped table was run before; the others are run again.
        if table in query:
            self._spark.createDataFrame(kept, _SCHEMA).write.saveAsTable(table)
        else:
            self._frame(query, statement).write.saveAsTable(table)

    def _driver(self, table: str, query: str, statement: Statement) -> None:
        rows = self._frame(query, statement).toArrow()
        self._spark.createDataFrame(rows, _SCHEMA).write.mode("append").saveAsTable(table)

    def _chain(self, table: str, query: str, statement: Statement) -> None:
        from pyspark.sql import functions as f

        frame = self._frame(query, statement)
        other = self._spark.table(table).select("id", f.col("a").alias("x")).distinct()
        joined = frame.join(other, "id", "left").withColumn("a", f.coalesce("x", "a")).drop("x")
        joined.write.mode("overwrite").saveAsTable(table)

    _kinds: dict[str, Callable[[Runner, str, str, Statement], None]] = {  # noqa: RUF012
        "append": _append,
        "overwrite": _overwrite,
        "ctas": _ctas,
        "insert": _insert,
        "part": _part,
        "merge": _merge,
        "update": _update,
        "delete": _delete,
        "view": _view,
        "files": _files,
        "again": _again,
        "driver": _driver,
        "frame": _chain,
    }
