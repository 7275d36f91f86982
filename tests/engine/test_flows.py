"""Where the columns that an action writes come from, told from its plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from pyspark.sql.types import LongType

from headrace.engine.flows import strongest
from headrace.engine.flows.frame import Frame, Leaf, read, written
from headrace.engine.flows.scope import Scope
from headrace.engine.flows.text import query
from headrace.engine.flows.trees import tree
from headrace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    import pandas as pd

    from headrace.catalog import Operation

Query = Callable[[SparkSession], DataFrame]

_SHORT = {"direct": "", "indirect": "~", "unknown": "?"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A project with two tables, a view and files; each test writes one table more."""
    root = tmp_path_factory.mktemp("flows")
    (root / "headrace.yaml").write_text("name: flows\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPARK_REMOTE", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", root.as_uri())
        workspace = open_workspace(root)
        spark = workspace.engine.session()
        spark.sql(
            "SELECT id, id AS a, id + 1 AS b, id % 2 AS c, named_struct('x', id, 'y', id) AS s,"
            " array(id, id) AS l, map('k', id) AS m FROM range(4)"
        ).write.saveAsTable("gold.t")
        spark.sql("SELECT id, id AS p, id % 2 AS q FROM range(4)").write.saveAsTable("gold.u")
        spark.sql("CREATE VIEW gold.v AS SELECT a AS w, c FROM gold.t WHERE b > 0")
        spark.sql("SELECT id AS a, id AS b FROM range(4)").write.json(str(root / "json"))
        spark.sql("SELECT id AS a, id AS b FROM range(4)").write.parquet(str(root / "parquet"))
        yield workspace
        workspace.close()


def flows(operation: Operation) -> dict[str, str]:
    """By written column, ``*`` for the rows: its origins; ``~`` indirect, ``?`` unknown."""
    found: dict[str, list[str]] = {}
    for flow in operation.flows:
        source = operation.reads[flow.source].name.split("/")[-1].split(".")[-1]
        text = f"{source}.{flow.source_column or '*'}{_SHORT[flow.how]}"
        found.setdefault(flow.column or "*", []).append(text)
    return {column: " ".join(sorted(origins)) for column, origins in found.items()}


def upper(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    yield from frames


def first(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.head(1)


plus = f.udf(lambda one, other: one + other, LongType())


T = {"*": "t.*"}

CASES: dict[str, tuple[Query, dict[str, str]]] = {
    "columns": (
        lambda s: s.table("gold.t").select("A", (f.col("b") + f.col("c")).alias("k")),
        T | {"A": "t.a", "k": "t.b t.c"},
    ),
    "star": (lambda s: s.table("gold.u"), {"*": "u.*", "id": "u.id", "p": "u.p", "q": "u.q"}),
    "constants": (lambda s: s.table("gold.t").select(f.lit(1).alias("k")), T),
    "fields": (
        lambda s: s.table("gold.t").select("s.x", f.col("s")["y"].alias("y")),
        T | {"x": "t.s", "y": "t.s"},
    ),
    "fields of a struct": (lambda s: s.table("gold.t").select("s.*"), T | {"x": "t.s", "y": "t.s"}),
    "added": (
        lambda s: s.table("gold.u").withColumn("p", f.col("q") + 1).withColumn("k", f.col("p")),
        {"*": "u.*", "id": "u.id", "p": "u.q", "q": "u.q", "k": "u.q"},
    ),
    "renamed": (
        lambda s: s.table("gold.u").withColumnRenamed("p", "k").drop("q"),
        {"*": "u.*", "id": "u.id", "k": "u.p"},
    ),
    "by position": (
        lambda s: s.table("gold.u").toDF("x", "y", "z").select("z"),
        {"*": "u.*", "z": "u.q"},
    ),
    "expressions": (
        lambda s: s.table("gold.t").selectExpr("a + b AS k", "if(c > 0, a, b) AS i"),
        T | {"k": "t.a t.b", "i": "t.a t.b t.c~"},
    ),
    "when": (
        lambda s: s.table("gold.t").select(
            f.when(f.col("c") > 0, f.col("a")).otherwise(f.col("b")).alias("k")
        ),
        T | {"k": "t.a t.b t.c~"},
    ),
    "filter": (
        lambda s: s.table("gold.t").filter("c > 0").filter(f.col("b") > 1).select("a"),
        {"*": "t.* t.b~ t.c~", "a": "t.a"},
    ),
    "dropped after a filter": (
        lambda s: s.table("gold.t").withColumn("k", f.col("c")).filter("k > 0").select("a"),
        {"*": "t.* t.c~", "a": "t.a"},
    ),
    "join": (
        lambda s: s.table("gold.t").join(s.table("gold.u"), "id").select("id", "a", "p"),
        {"*": "t.* t.id~ u.* u.id~", "id": "t.id u.id", "a": "t.a", "p": "u.p"},
    ),
    "join of one table with itself": (
        lambda s: (
            s.table("gold.t")
            .alias("l")
            .join(s.table("gold.t").alias("r"), f.col("l.a") == f.col("r.b"), "left")
            .select("l.a", f.col("r.c").alias("k"))
        ),
        {"*": "t.* t.a~ t.b~", "a": "t.a", "k": "t.c"},
    ),
    "join by frames": (
        lambda s: (lambda t, u: t.join(u, t["id"] == u["id"]).select(t["id"], u["q"]))(
            s.table("gold.t"), s.table("gold.u")
        ),
        {"*": "t.* t.id~ u.* u.id~", "id": "t.id", "q": "u.q"},
    ),
    "semi join": (
        lambda s: s.table("gold.t").join(s.table("gold.u"), "id", "left_semi").select("a"),
        {"*": "t.* t.id~ u.*~ u.id~", "a": "t.a"},
    ),
    "groups": (
        lambda s: (
            s.table("gold.t").groupBy("c").agg(f.sum("a").alias("k"), f.count("*").alias("n"))
        ),
        {"*": "t.* t.c~", "c": "t.c", "k": "t.a"},
    ),
    "one row": (
        lambda s: s.table("gold.t").filter("b > 0").agg(f.count("*").alias("n")),
        {"n": "t.* t.b~"},
    ),
    "cube": (
        lambda s: s.table("gold.t").cube("c", "b").agg(f.max("a").alias("k")),
        {"*": "t.* t.b~ t.c~", "b": "t.b", "c": "t.c", "k": "t.a"},
    ),
    "pivot": (
        lambda s: s.table("gold.t").groupBy("b").pivot("c", [0, 1]).sum("a").toDF("b", "x", "y"),
        {"*": "t.* t.b~", "b": "t.b", "x": "t.a t.c~", "y": "t.a t.c~"},
    ),
    "windows": (
        lambda s: s.table("gold.t").select(
            "a", f.lag("b").over(Window.partitionBy("c").orderBy("id")).alias("k")
        ),
        T | {"a": "t.a", "k": "t.b t.c~ t.id~"},
    ),
    "union by position": (
        lambda s: s.table("gold.t").select("a", "b").union(s.table("gold.u").select("p", "q")),
        {"*": "t.* u.*", "a": "t.a u.p", "b": "t.b u.q"},
    ),
    "union by name": (
        lambda s: (
            s.table("gold.u")
            .select("q", "id")
            .unionByName(s.table("gold.t").select("id", "a"), allowMissingColumns=True)
        ),
        {"*": "t.* u.*", "q": "u.q", "id": "t.id u.id", "a": "t.a"},
    ),
    "except": (
        lambda s: s.table("gold.t").select("a").subtract(s.table("gold.u").select("p")),
        {"*": "t.* t.a~ u.* u.p~", "a": "t.a"},
    ),
    "distinct": (
        lambda s: s.table("gold.t").select("a", "b").distinct(),
        {"*": "t.* t.a~ t.b~", "a": "t.a", "b": "t.b"},
    ),
    "one of each": (
        lambda s: s.table("gold.t").orderBy("b").dropDuplicates(["c"]).select("a"),
        {"*": "t.* t.b~ t.c~", "a": "t.a"},
    ),
    "order alone": (lambda s: s.table("gold.t").orderBy("b").select("a"), T | {"a": "t.a"}),
    "the first ones": (
        lambda s: s.table("gold.t").orderBy("b").limit(2).select("a"),
        {"*": "t.* t.b~", "a": "t.a"},
    ),
    "generated rows": (
        lambda s: s.table("gold.t").select("a", f.explode("l").alias("k")),
        {"*": "t.* t.l~", "a": "t.a", "k": "t.l"},
    ),
    "generated columns": (
        lambda s: s.table("gold.t").select(f.explode("m"), "a").toDF("x", "y", "z"),
        {"*": "t.* t.m~", "x": "t.m", "y": "t.m", "z": "t.a"},
    ),
    "no nulls": (
        lambda s: s.table("gold.t").dropna(subset=["b"]).select("a"),
        {"*": "t.* t.b~", "a": "t.a"},
    ),
    "unpivot": (
        lambda s: s.table("gold.t").unpivot(["c"], ["a", "b"], "n", "v"),
        {"*": "t.* t.a~ t.b~", "c": "t.c", "v": "t.a t.b"},
    ),
    "lambda": (
        lambda s: s.table("gold.t").select(f.transform("l", lambda x: x + f.col("b")).alias("k")),
        T | {"k": "t.b t.l"},
    ),
    "function of Python": (
        lambda s: s.table("gold.t").select(plus("a", "b").alias("k")),
        T | {"k": "t.a t.b"},
    ),
    "function of Python over rows": (
        lambda s: s.table("gold.t").select("a", "b").mapInPandas(upper, "a LONG, b LONG"),
        {"*": "t.* t.a? t.b?"},
    ),
    "function of Python over groups": (
        lambda s: (
            s.table("gold.t").select("a", "b").groupBy("a").applyInPandas(first, "a LONG, b LONG")
        ),
        {"*": "t.* t.a? t.b?"},
    ),
    "JSON": (lambda s: s.read.json("json").select("b"), {"*": "json.*", "b": "json.b"}),
    "all of JSON": (
        lambda s: s.read.json("json"),
        {"*": "json.*", "a": "json.a", "b": "json.b"},
    ),
    "JSON and a table": (
        lambda s: (
            s.read.json("json").join(s.table("gold.u"), f.col("a") == f.col("p")).select("b", "q")
        ),
        {"*": "json.* json.a~ u.* u.p~", "b": "json.b", "q": "u.q"},
    ),
    "Parquet by position": (
        lambda s: s.read.parquet("parquet").toDF("x", "y").select("y"),
        {"*": "parquet.*", "y": "parquet.b"},
    ),
    "declared": (
        lambda s: (
            s.read.schema("a LONG, b STRUCT<x: LONG>").json("json").toDF("x", "y").select("x")
        ),
        {"*": "json.*", "x": "json.a"},
    ),
    "rows given by value": (
        lambda s: s.createDataFrame([(1, 2)], "id LONG, k LONG").join(s.table("gold.u"), "id"),
        {"*": "u.* u.id~", "id": "u.id", "p": "u.p", "q": "u.q"},
    ),
}

TEXTS: dict[str, tuple[str, dict[str, str]]] = {
    "columns": ("SELECT a, t.b AS k FROM gold.t", T | {"a": "t.a", "k": "t.b"}),
    "star": (
        "SELECT *, q + 1 AS k FROM gold.u",
        {"*": "u.*", "id": "u.id", "p": "u.p", "q": "u.q", "k": "u.q"},
    ),
    "view": ("SELECT w FROM gold.v", {"*": "t.* t.b~", "w": "t.a"}),
    "where": ("SELECT a FROM gold.t WHERE c > 0", {"*": "t.* t.c~", "a": "t.a"}),
    "case": (
        "SELECT CASE WHEN c > 0 THEN a ELSE b END AS k FROM gold.t", T | {"k": "t.a t.b t.c~"},
    ),
    "join": (
        "SELECT t.a, u.q FROM gold.t LEFT JOIN gold.u ON t.b = u.p",
        {"*": "t.* t.b~ u.* u.p~", "a": "t.a", "q": "u.q"},
    ),
    "join by names": (
        "SELECT id, a, q FROM gold.t JOIN gold.u USING (id)",
        {"*": "t.* t.id~ u.* u.id~", "id": "t.id u.id", "a": "t.a", "q": "u.q"},
    ),
    "natural join": (
        "SELECT a, q FROM gold.t NATURAL JOIN gold.u",
        {"*": "t.* t.id~ u.* u.id~", "a": "t.a", "q": "u.q"},
    ),
    "cross join": (
        "SELECT t.a, u.q FROM gold.t, gold.u WHERE t.id = u.id",
        {"*": "t.* t.id~ u.* u.id~", "a": "t.a", "q": "u.q"},
    ),
    "groups": (
        "SELECT c AS k, sum(a) AS s FROM gold.t GROUP BY c HAVING max(b) > 0",
        {"*": "t.* t.b~ t.c~", "k": "t.c", "s": "t.a"},
    ),
    "groups by place": (
        "SELECT c, sum(a) AS s FROM gold.t GROUP BY 1", {"*": "t.* t.c~", "c": "t.c", "s": "t.a"},
    ),
    "groups by alias": (
        "SELECT c + 1 AS k, sum(a) AS s FROM gold.t GROUP BY k",
        {"*": "t.* t.c~", "k": "t.c", "s": "t.a"},
    ),
    "one row": (
        "SELECT count(*) AS n, max(a) AS m FROM gold.t WHERE b > 0",
        {"n": "t.* t.b~", "m": "t.* t.a t.b~"},
    ),
    "windows": (
        "SELECT a, row_number() OVER (PARTITION BY c ORDER BY b) AS k FROM gold.t",
        T | {"a": "t.a", "k": "t.b~ t.c~"},
    ),
    "named windows": (
        "SELECT sum(a) OVER w AS k FROM gold.t WINDOW w AS (PARTITION BY c ORDER BY b)",
        T | {"k": "t.a t.b~ t.c~"},
    ),
    "common table expressions": (
        "WITH x AS (SELECT a AS k, c FROM gold.t), y AS (SELECT k FROM x WHERE c > 0)"
        " SELECT k FROM y",
        {"*": "t.* t.c~", "k": "t.a"},
    ),
    "with names for columns": (
        "WITH x (k, n) AS (SELECT a, b FROM gold.t) SELECT n FROM x", T | {"n": "t.b"},
    ),
    "subquery": ("SELECT k FROM (SELECT a AS k FROM gold.t) AS x", T | {"k": "t.a"}),
    "subquery with names": ("SELECT y FROM (SELECT a, b FROM gold.t) AS v (x, y)", T | {"y": "t.b"}),
    "scalar subquery": (
        "SELECT a, (SELECT max(p) FROM gold.u) AS k FROM gold.t",
        T | {"a": "t.a", "k": "u.* u.p"},
    ),
    "IN": (
        "SELECT a FROM gold.t WHERE id IN (SELECT p FROM gold.u WHERE q > 0)",
        {"*": "t.* t.id~ u.*~ u.p~ u.q~", "a": "t.a"},
    ),
    "EXISTS": (
        "SELECT a FROM gold.t WHERE EXISTS (SELECT 1 FROM gold.u WHERE u.p = t.b)",
        {"*": "t.* t.b~ u.*~ u.p~", "a": "t.a"},
    ),
    "union": (
        "SELECT a FROM gold.t UNION ALL SELECT q FROM gold.u",
        {"*": "t.* u.*", "a": "t.a u.q"},
    ),
    "union without doubles": (
        "SELECT a FROM gold.t UNION SELECT q FROM gold.u",
        {"*": "t.* t.a~ u.* u.q~", "a": "t.a u.q"},
    ),
    "lateral view": (
        "SELECT a, k FROM gold.t LATERAL VIEW explode(l) x AS k",
        {"*": "t.* t.l~", "a": "t.a", "k": "t.l"},
    ),
    "the first ones": (
        "SELECT a FROM gold.t ORDER BY b LIMIT 2", {"*": "t.* t.b~", "a": "t.a"},
    ),
    "values": ("SELECT * FROM VALUES (1, 2) AS v (x, y)", {}),
    "path": ("SELECT b FROM json.`json`", {"*": "json.*", "b": "json.b"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_frames(project: Workspace, case: str) -> None:
    query, expected = CASES[case]
    spark = project.engine.session()
    with project.engine.recording(persist=False) as recording:
        query(spark).write.mode("overwrite").option("overwriteSchema", "true").saveAsTable("gold.o")
    assert flows(recording.operations[-1]) == expected


@pytest.mark.parametrize("case", TEXTS)
def test_text(project: Workspace, case: str) -> None:
    query, expected = TEXTS[case]
    spark = project.engine.session()
    with project.engine.recording(persist=False) as recording:
        spark.sql(f"CREATE OR REPLACE TABLE gold.o AS {query}")
    assert flows(recording.operations[-1]) == expected


CHANGES: dict[str, dict[str, str]] = {
    "UPDATE gold.o SET p = q + 1 WHERE id > 0": {"p": "o.q o.id~"},
    "UPDATE gold.o SET p = 5": {},
    "DELETE FROM gold.o WHERE q = 0": {"*": "o.q~"},
    "MERGE INTO gold.o USING gold.t ON o.id = t.id WHEN MATCHED AND t.b > 0 THEN UPDATE SET p = a"
    " WHEN NOT MATCHED THEN INSERT (id, p, q) VALUES (t.id, t.b, 0)": {
        "*": "o.id~ t.* t.id~",
        "p": "o.id~ t.*~ t.a t.b t.id~",
        "id": "t.id",
    },
    "MERGE INTO gold.o AS k USING (SELECT id + 1 AS id, a AS p, b AS q FROM gold.t) AS s"
    " ON k.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *": {
        "*": "o.id~ t.* t.id~",
        "id": "o.id~ t.*~ t.id",
        "p": "o.id~ t.*~ t.a t.id~",
        "q": "o.id~ t.*~ t.b t.id~",
    },
    "MERGE INTO gold.o USING gold.t ON o.id = t.id WHEN MATCHED THEN DELETE": {
        "*": "o.id~ t.*~ t.id~"
    },
}


@pytest.fixture
def target(project: Workspace) -> None:
    """``gold.o`` with the rows of ``gold.u``."""
    written = project.engine.session().table("gold.u").filter("id > 0").write.mode("overwrite")
    written.option("overwriteSchema", "true").saveAsTable("gold.o")


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("statement", CHANGES)
def test_changes(project: Workspace, statement: str) -> None:
    with project.engine.recording(persist=False) as recording:
        project.engine.session().sql(statement)
    expected = {column: sorted(text.split()) for column, text in CHANGES[statement].items()}
    made = flows(recording.operations[-1])
    assert {column: sorted(text.split()) for column, text in made.items()} == expected


@pytest.mark.usefixtures("target")
def test_merge_of_frames(project: Workspace) -> None:
    source = project.engine.session().table("gold.t").alias("s")
    merge = source.mergeInto("gold.o", f.col("o.id") == f.col("s.id"))
    with project.engine.recording(persist=False) as recording:
        merge.whenMatched(f.col("s.b") > 1).update(
            {"p": f.col("s.a") + f.col("o.q")}
        ).whenNotMatched().insert({"id": f.col("s.id"), "p": f.col("s.c"), "q": f.lit(0)}).merge()
    assert flows(recording.operations[-1]) == {
        "*": "o.id~ t.* t.id~",
        "p": "o.id~ o.q t.*~ t.a t.b~ t.c t.id~",
        "id": "t.id",
    }


#: The engine runs none of these yet.
UNRUN: dict[str, dict[str, str]] = {
    "SELECT * EXCEPT (id, q) FROM u": {"*": "u.*", "p": "u.p"},
    "SELECT a + 1 AS k, k * 2 AS n FROM t": T | {"k": "t.a", "n": "t.a"},
    "SELECT a, k FROM u, LATERAL (SELECT t.a, u.q + 1 AS k FROM t WHERE t.id = u.id)": {
        "*": "t.* t.id~ u.* u.id~",
        "a": "t.a",
        "k": "u.q",
    },
    "SELECT k FROM t UNPIVOT (k FOR n IN (a, b))": {"*": "t.* t.a~ t.b~", "k": "t.a t.b"},
    "SELECT k FROM t PIVOT (sum(a) FOR c IN (1 AS k)) ": {
        "*": "t.* t.b~ t.id~ t.l~ t.m~ t.s~",
        "k": "t.a t.c~",
    },
    "WITH RECURSIVE r (n) AS (SELECT a FROM t UNION ALL SELECT n + q FROM r JOIN u ON n = p)"
    " SELECT n FROM r": {"*": "t.* t.a~ u.* u.p~ u.q~", "n": "t.a u.q"},
    "SELECT a FROM t QUALIFY row_number() OVER (ORDER BY b) = 1": {"*": "t.* t.b~", "a": "t.a"},
}


@pytest.mark.parametrize("text", UNRUN)
def test_text_that_is_only_read(text: str) -> None:
    columns = {"t": ["id", "a", "b", "c", "s", "l", "m"], "u": ["id", "p", "q"]}
    names = {1: "t", 2: "u"}

    def table(number: int) -> Frame:
        return read(Leaf(number, lambda: columns[names[number]]), names[number])

    tables = {"t": table(1), "u": table(2)}
    result = query(tree(text), Scope(Frame(()), tables=tables))
    made: dict[str, list[str]] = {}
    for column, origin in strongest(written(result, None)):
        shown = f"{names[origin.leaf]}.{origin.column or '*'}{_SHORT[origin.how]}"
        made.setdefault(column or "*", []).append(shown)
    assert {column: " ".join(sorted(origins)) for column, origins in made.items()} == UNRUN[text]


@pytest.mark.usefixtures("target")
def test_a_plan_that_cannot_be_read_counts_as_unknown(
    project: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows are written and recorded; that no flow is known says all from all."""

    def fail(*_: object) -> None:
        raise NotImplementedError("a form of plan that nobody has thought of")

    monkeypatch.setattr("headrace.engine.flows.plan.Plan.frame", fail)
    with project.engine.recording(persist=False) as recording:
        project.engine.session().table("gold.u").write.insertInto("gold.o")
    (operation,) = recording.operations
    assert (operation.flows, operation.mode) == ((), "append")
    assert "nobody has thought of" in caplog.text


def test_statistics_come_from_everything(project: Workspace) -> None:
    """A step that is not looked into."""
    with project.engine.recording(persist=False) as recording:
        described = project.engine.session().table("gold.u").describe()
        described.write.mode("overwrite").option("overwriteSchema", "true").saveAsTable("gold.o")
    made = flows(recording.operations[-1])
    assert made["*"] == "u.* u.id~ u.p~ u.q~"
    assert made["p"] == "u.id u.p u.q"
