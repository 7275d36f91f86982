"""Every kind of SQL statement: what it reads and writes, or that it is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from headrace.catalog import Access, InvalidNameError, NameTakenError, TableNotFoundError
from headrace.engine.errors import (
    ColumnNotFoundError,
    InvalidTimestampError,
    NotATableError,
    PathNotFoundError,
    SchemaMismatchError,
    SchemaNotEmptyError,
    SchemaNotFoundError,
    SqlSyntaxError,
    StreamOutsidePipelineError,
    TableExistsError,
    UnsupportedStatementError,
)
from headrace.errors import HeadraceError
from headrace.lakehouse import VersionNotFoundError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.workspace import Workspace

T, U, P = "gold.t", "gold.u", "gold.p"


class Done(NamedTuple):
    """What a statement reads and writes (``name@version``), and a query that checks its effect."""

    sql: str
    reads: str = ""
    writes: str = ""
    check: str = ""
    expect: list[tuple[object, ...]] | None = None


QUERIES = [
    Done("SELECT id FROM gold.t", "t@1"),
    Done("SELECT gold.t.id FROM gold.t", "t@1"),
    Done("SELECT main.gold.t.id FROM main.gold.t", "t@1"),
    Done("SELECT t.* FROM gold.t", "t@1"),
    Done("SELECT `x`.`id` FROM `gold`.`t` AS `x`", "t@1"),
    Done("select ID from GOLD.T", "t@1"),
    Done("SELECT id -- from gold.nope\nFROM gold.t /* gold.nope */", "t@1"),
    Done("SELECT 'gold.nope' AS s, id FROM gold.t;", "t@1"),
    Done("SELECT * FROM gold.t VERSION AS OF 0", "t@0"),
    Done("SELECT a.id FROM gold.t VERSION AS OF 0 AS a JOIN gold.t AS b ON a.id = b.id", "t@0 t@1"),
    Done("SELECT * FROM gold.t VERSION AS OF '0'", "t@0"),
    Done("SELECT * FROM gold.t FOR VERSION AS OF 0", "t@0"),
    Done("SELECT * FROM gold.t@v0", "t@0"),
    Done("SELECT a.id FROM gold.t@v0 a", "t@0"),
    Done("SELECT t.id, w FROM gold.t JOIN gold.u ON t.id = u.id", "t@1 u@0"),
    Done("SELECT id FROM gold.t a LEFT JOIN gold.u b USING (id)", "t@1 u@0"),
    Done("SELECT a.id FROM gold.t a, gold.u b WHERE a.id = b.id", "t@1 u@0"),
    Done("SELECT id FROM gold.t WHERE id IN (SELECT id FROM gold.u)", "t@1 u@0"),
    Done("SELECT id FROM gold.t WHERE EXISTS (SELECT 1 FROM gold.u WHERE u.id = t.id)", "t@1 u@0"),
    Done("SELECT id, (SELECT max(w) FROM gold.u) AS m FROM gold.t", "t@1 u@0"),
    Done("SELECT * FROM (SELECT id FROM gold.t) AS s", "t@1"),
    Done("SELECT t.id, s.k FROM gold.t, LATERAL (SELECT t.id + 1 AS k) AS s", "t@1"),
    Done("WITH u AS (SELECT id FROM gold.t) SELECT * FROM u", "t@1"),
    Done("WITH t AS (SELECT * FROM gold.t) SELECT * FROM t", "t@1"),
    Done("WITH a AS (SELECT * FROM gold.t), b AS (SELECT * FROM a) SELECT * FROM b", "t@1"),
    Done("SELECT * FROM (WITH a AS (SELECT * FROM gold.t) SELECT * FROM a) AS s", "t@1"),
    Done("WITH loose AS (SELECT * FROM loose) SELECT * FROM loose", "default.loose@0"),
    Done("SELECT id FROM gold.t UNION ALL SELECT id FROM gold.u", "t@1 u@0"),
    Done("SELECT id FROM gold.t EXCEPT SELECT id FROM gold.u", "t@1 u@0"),
    Done("(SELECT id FROM gold.t) INTERSECT (SELECT id FROM gold.u)", "t@1 u@0"),
    Done(
        "SELECT id FROM gold.t GROUP BY id HAVING max(v) > (SELECT min(w) FROM gold.u)", "t@1 u@0"
    ),
    Done("SELECT id, row_number() OVER (PARTITION BY id ORDER BY v) AS n FROM gold.t", "t@1"),
    Done("SELECT id, e FROM gold.t LATERAL VIEW explode(array(1, 2)) x AS e", "t@1"),
    Done("SELECT /*+ BROADCAST(t) */ t.id FROM gold.t", "t@1"),
    Done("TABLE gold.t", "t@1"),
    Done("SELECT * FROM loose", "default.loose@0"),
    Done("SELECT * FROM gold.seen", "t@1"),
    Done("SELECT seen.id FROM gold.seen JOIN gold.t ON seen.id = t.id", "t@1"),
    Done("SELECT * FROM passing", "u@0"),
    Done("SELECT passing.id FROM passing JOIN gold.u AS x ON passing.id = x.id", "u@0"),
    Done("SELECT * FROM VALUES (1), (2) AS x(a)"),
    Done("VALUES (1), (2)"),
    Done("SELECT * FROM range(3)"),
    Done("SELECT 1"),
    Done("EXPLAIN SELECT * FROM gold.t"),
    Done("DESCRIBE gold.t"),
    Done("DESCRIBE TABLE EXTENDED gold.seen"),
    Done("DESC passing"),
    Done("DESCRIBE HISTORY gold.t"),
    Done("DESCRIBE DETAIL gold.t"),
    Done("DESCRIBE QUERY SELECT * FROM gold.t"),
    Done("SHOW TABLES IN gold LIKE 't*'"),
    Done("\n-- of one schema\nSHOW TABLES IN gold"),
    Done("SHOW VIEWS IN gold"),
    Done("SHOW SCHEMAS"),
    Done("SHOW COLUMNS IN gold.t"),
    Done("SHOW CREATE TABLE gold.p"),
    Done("REFRESH TABLE gold.t"),
]

CHANGES = [
    Done("INSERT INTO gold.t VALUES (9, 90)", "", "t@2", "SELECT v FROM gold.t WHERE id = 9", [(90,)]),
    Done("INSERT INTO TABLE gold.t SELECT id, w FROM gold.u", "u@0", "t@2"),
    Done("INSERT INTO gold.t (v, id) VALUES (90, 9)", "", "t@2", "SELECT v FROM gold.t WHERE id = 9", [(90,)]),
    Done("INSERT INTO gold.t (id) VALUES (9)", "", "t@2", "SELECT v FROM gold.t WHERE id = 9", [(None,)]),
    Done("INSERT INTO gold.t BY NAME SELECT 90 AS v, 9 AS id", "", "t@2", "SELECT v FROM gold.t WHERE id = 9", [(90,)]),
    Done("INSERT INTO gold.t TABLE gold.u", "u@0", "t@2"),
    Done("INSERT INTO gold.t WITH a AS (SELECT * FROM gold.u) SELECT * FROM a", "u@0", "t@2"),
    Done("WITH a AS (SELECT * FROM gold.u) INSERT INTO gold.t SELECT * FROM a", "u@0", "t@2"),
    Done("INSERT INTO gold.t SELECT * FROM gold.t VERSION AS OF 0", "t@0", "t@2"),
    Done("INSERT INTO gold.t (SELECT * FROM gold.u)", "u@0", "t@2"),
    Done("INSERT OVERWRITE gold.t SELECT id, w FROM gold.u", "u@0", "t@2", "SELECT count(*) FROM gold.t", [(2,)]),
    Done("INSERT OVERWRITE TABLE gold.t SELECT * FROM gold.t VERSION AS OF 0", "t@0", "t@2", "SELECT count(*) FROM gold.t", [(3,)]),
    Done("INSERT INTO gold.p REPLACE WHERE p = 0 SELECT 77L, 0L", "", "p@1", "SELECT id FROM gold.p WHERE p = 0", [(77,)]),
    Done("CREATE TABLE gold.n (id BIGINT NOT NULL COMMENT 'key', d DECIMAL(10, 2)) USING delta COMMENT 'new'", "", "n@0", "SELECT count(*) FROM gold.n", [(0,)]),
    Done("CREATE TABLE gold.n (id BIGINT, day DATE) PARTITIONED BY (day)", "", "n@0"),
    Done("CREATE TABLE IF NOT EXISTS gold.t (x INT)"),
    Done("CREATE TABLE gold.n AS SELECT id FROM gold.t", "t@1", "n@0"),
    Done("CREATE TABLE gold.n USING delta PARTITIONED BY (id) AS SELECT * FROM gold.t", "t@1", "n@0"),
    Done("CREATE TABLE gold.n AS WITH a AS (SELECT * FROM gold.t) SELECT * FROM a", "t@1", "n@0"),
    Done("CREATE OR REPLACE TABLE gold.t AS SELECT 1 AS other", "", "t@2", "SELECT other FROM gold.t", [(1,)]),
    Done("CREATE OR REPLACE TABLE gold.t AS SELECT id FROM gold.t", "t@1", "t@2", "SELECT count(*) FROM gold.t", [(5,)]),
    Done("REPLACE TABLE gold.t AS SELECT 1 AS other", "", "t@2"),
    Done("CREATE TABLE bare AS SELECT 1 AS x", "", "default.bare@0"),
    Done("CREATE VIEW gold.w AS SELECT id FROM gold.t", "", "", "SELECT count(*) FROM gold.w", [(5,)]),
    Done("CREATE OR REPLACE VIEW gold.seen (k) AS SELECT id FROM gold.u", "", "", "SELECT max(k) FROM gold.seen", [(1,)]),
    Done("CREATE VIEW IF NOT EXISTS gold.seen AS SELECT 1", "", "", "SELECT count(*) FROM gold.seen", [(5,)]),
    Done("CREATE TEMPORARY VIEW w AS SELECT id FROM gold.t", "", "", "SELECT count(*) FROM w", [(5,)]),
    Done("CREATE OR REPLACE TEMP VIEW passing AS SELECT 1 AS k", "", "", "SELECT k FROM passing", [(1,)]),
    Done("CREATE GLOBAL TEMP VIEW w AS SELECT id FROM gold.t", "", "", "SELECT count(*) FROM global_temp.w", [(5,)]),
    Done("CREATE SCHEMA IF NOT EXISTS bronze"),
    Done("DROP TABLE gold.t"),
    Done("DROP TABLE IF EXISTS gold.nope"),
    Done("DROP VIEW gold.seen"),
    Done("DROP VIEW passing"),
    Done("DROP SCHEMA gold CASCADE"),
    Done("DROP SCHEMA IF EXISTS nope"),
    Done("USE gold", "", "", "SELECT count(*) FROM t", [(5,)]),
    Done("DELETE FROM gold.t WHERE id = 1", "t@1", "t@2", "SELECT count(*) FROM gold.t", [(3,)]),
    Done("DELETE FROM gold.t AS x WHERE x.id = 1", "t@1", "t@2"),
    Done("DELETE FROM gold.t WHERE gold.t.id = 1", "t@1", "t@2"),
    Done("DELETE FROM gold.t WHERE id = 100", "t@1", "", "SELECT count(*) FROM gold.t", [(5,)]),
    Done("UPDATE gold.t SET v = 0 WHERE id = 1", "t@1", "t@2", "SELECT DISTINCT v FROM gold.t WHERE id = 1", [(0,)]),
    Done("UPDATE gold.t SET v = 0 WHERE id IN (SELECT id FROM gold.u)", "t@1 u@0", "t@2", "SELECT count(*) FROM gold.t WHERE v = 0", [(4,)]),
    Done("TRUNCATE TABLE gold.t", "t@1", "t@2", "SELECT count(*) FROM gold.t", [(0,)]),
    Done(
        "MERGE INTO gold.u USING gold.t VERSION AS OF 0 ON gold.u.id = t.id "
        "WHEN MATCHED THEN UPDATE SET w = t.v WHEN NOT MATCHED THEN INSERT (id, w) VALUES (t.id, -1)",
        "u@0 t@0", "u@1", "SELECT id, w FROM gold.u ORDER BY id", [(0, 0), (1, 2), (2, -1)],
    ),
    Done(
        "MERGE INTO gold.u AS a USING (SELECT DISTINCT id, v AS w FROM gold.t) AS b ON a.id = b.id "
        "WHEN MATCHED AND b.id = 1 THEN DELETE WHEN NOT MATCHED THEN INSERT *",
        "u@0 t@1", "u@1", "SELECT id FROM gold.u ORDER BY id", [(0,), (2,)],
    ),
    Done(
        "MERGE INTO gold.u USING passing ON u.id = passing.id WHEN MATCHED THEN UPDATE SET w = 5",
        "u@0", "u@1", "SELECT DISTINCT w FROM gold.u", [(5,)],
    ),
    Done("OPTIMIZE gold.t", "", "", "SELECT count(*) FROM gold.t", [(5,)]),
    Done("VACUUM gold.t DRY RUN"),
    Done("-- why\n/* and * how */ OPTIMIZE gold.t", "", "", "SELECT count(*) FROM gold.t", [(5,)]),
]  # fmt: skip

REFUSED: list[tuple[str, type[HeadraceError], str | None]] = [
    ("SELECT * FROM gold.nope", TableNotFoundError, r"gold\.nope"),
    ("SELECT id FROM gold.t WHERE id IN (SELECT id FROM gold.nope)", TableNotFoundError, "nope"),
    ("WITH a AS (SELECT * FROM gold.nope) SELECT 1", TableNotFoundError, "nope"),
    ("SELECT * FROM gold.t VERSION AS OF 9", VersionNotFoundError, None),
    ("SELECT * FROM gold.seen VERSION AS OF 0", UnsupportedStatementError, "VERSION AS OF"),
    ("SELECT * FROM gold.t TIMESTAMP AS OF 'soon'", InvalidTimestampError, "soon"),
    ("-- a comment\n/* RESTORE */ SHOW TBLPROPERTIES gold.t", UnsupportedStatementError, "SHOW TBL"),
    ("SELECT * FROM gold.t VERSION AS OF 1 + 1", HeadraceError, None),
    ("SELECT * FROM gold.t TIMESTAMP AS OF now()", UnsupportedStatementError, "TIMESTAMP AS OF"),
    ("SELECT * FROM STREAM(gold.t)", StreamOutsidePipelineError, None),
    ("SELECT * FROM STREAM gold.t", StreamOutsidePipelineError, None),
    ("SELECT * FROM IDENTIFIER('gold.t')", UnsupportedStatementError, "IDENTIFIER"),
    ("SELECT * FROM read_files('/x')", UnsupportedStatementError, "READ_FILES"),
    ("SELECT * FROM table_changes('gold.t', 0)", UnsupportedStatementError, "TABLE_CHANGES"),
    ("SELECT * FROM parquet.`missing/*.parquet`", PathNotFoundError, "missing"),
    ("SELECT * FROM a.b.c.d", InvalidNameError, "parts"),
    ("SELECT 1; SELECT 2", SqlSyntaxError, "2 statements"),
    ("SELECT current_schema()", UnsupportedStatementError, r"current_schema\(\)"),
    ("SELECT id FROM gold.t WHERE current_database() = 'x'", UnsupportedStatementError, "current_d"),
    ("SELECT current_catalog()", UnsupportedStatementError, r"current_catalog\(\)"),
    ("SELEC 1", UnsupportedStatementError, "SELEC"),
    ("SELECT FROM WHERE", SqlSyntaxError, None),
    ("", SqlSyntaxError, "empty"),
    ("SELECT 'open", SqlSyntaxError, None),
    ("FROM gold.t INSERT INTO gold.u SELECT *", HeadraceError, None),
    ("INSERT INTO gold.nope VALUES (1)", TableNotFoundError, r"gold\.nope"),
    ("INSERT INTO gold.seen VALUES (1, 2)", NotATableError, "view"),
    ("INSERT INTO gold.t VALUES (1)", SchemaMismatchError, None),
    ("INSERT INTO gold.t VALUES (1, 2, 3)", SchemaMismatchError, None),
    ("INSERT INTO gold.t VALUES ('x', 2)", SchemaMismatchError, "string to bigint"),
    ("INSERT INTO gold.t (id, z) VALUES (1, 2)", ColumnNotFoundError, '"z"'),
    ("INSERT INTO gold.p PARTITION (p = 1) SELECT 1", UnsupportedStatementError, "PARTITION"),
    ("INSERT OVERWRITE DIRECTORY 'x' SELECT 1", UnsupportedStatementError, "DIRECTORY"),
    ("CREATE TABLE gold.t (id INT)", TableExistsError, r"gold\.t"),
    ("CREATE TABLE gold.n", UnsupportedStatementError, "columns"),
    ("CREATE TABLE gold.n (id INT DEFAULT 1)", UnsupportedStatementError, "Default"),
    ("CREATE TABLE gold.n (id INT, CHECK (id > 0))", UnsupportedStatementError, "Check"),
    ("CREATE TABLE gold.n USING parquet AS SELECT 1 AS x", UnsupportedStatementError, "parquet"),
    ("CREATE TABLE gold.n LIKE gold.t", UnsupportedStatementError, "LIKE"),
    ("CREATE TABLE gold.n SHALLOW CLONE gold.t", UnsupportedStatementError, "SHALLOW"),
    ("CREATE TABLE gold.n DEEP CLONE gold.t", UnsupportedStatementError, "DEEP"),
    ("CREATE TABLE gold.n (id INT) TBLPROPERTIES ('a' = 'b')", UnsupportedStatementError, "TBLPROP"),
    ("CREATE TABLE gold.n (id INT) CLUSTER BY (id)", UnsupportedStatementError, "CLUSTER"),
    ("REPLACE TABLE gold.nope AS SELECT 1 AS x", TableNotFoundError, "nope"),
    ("CREATE VIEW gold.t AS SELECT 1", NameTakenError, None),
    ("CREATE VIEW gold.seen AS SELECT 1", NameTakenError, None),
    ("CREATE VIEW gold.w AS SELECT * FROM passing", UnsupportedStatementError, "temporary view"),
    ("CREATE VIEW gold.w AS SELECT * FROM gold.nope", TableNotFoundError, "nope"),
    ("CREATE TEMP VIEW passing AS SELECT 1", TableExistsError, "passing"),
    ("CREATE MATERIALIZED VIEW gold.m AS SELECT 1", UnsupportedStatementError, "MATERIALIZED"),
    ("CREATE STREAMING TABLE gold.m AS SELECT 1", UnsupportedStatementError, "STREAMING"),
    ("CREATE FUNCTION f(x INT) RETURNS INT RETURN x", UnsupportedStatementError, "FUNCTION"),
    ("DROP TABLE gold.nope", TableNotFoundError, "nope"),
    ("DROP TABLE gold.seen", NotATableError, "view"),
    ("DROP VIEW gold.t", NotATableError, "table"),
    ("DROP SCHEMA gold", SchemaNotEmptyError, "gold"),
    ("DROP SCHEMA nope", SchemaNotFoundError, "nope"),
    ("DELETE FROM gold.nope", TableNotFoundError, "nope"),
    ("DELETE FROM gold.seen WHERE id = 1", NotATableError, "view"),
    ("DELETE FROM gold.t WHERE id IN (SELECT id FROM gold.u)", UnsupportedStatementError, "subquery"),
    ("UPDATE gold.nope SET v = 1", TableNotFoundError, "nope"),
    ("MERGE INTO gold.nope USING gold.t ON true WHEN MATCHED THEN DELETE", TableNotFoundError, None),
    ("MERGE INTO gold.t USING gold.nope ON true WHEN MATCHED THEN DELETE", TableNotFoundError, None),
    ("MERGE WITH SCHEMA EVOLUTION INTO gold.t USING gold.u ON true", UnsupportedStatementError, None),
    ("RESTORE TABLE gold.t TO VERSION AS OF 0", UnsupportedStatementError, "RESTORE"),
    ("ALTER TABLE gold.t ADD COLUMN x INT", UnsupportedStatementError, "ALTER TABLE"),
    ("ALTER VIEW gold.seen AS SELECT 1", UnsupportedStatementError, "ALTER VIEW"),
    ("CACHE TABLE gold.t", UnsupportedStatementError, "CACHE"),
    ("ANALYZE TABLE gold.t COMPUTE STATISTICS", UnsupportedStatementError, "ANALYZE"),
    ("MSCK REPAIR TABLE gold.t", UnsupportedStatementError, "MSCK"),
    ("COMMENT ON TABLE gold.t IS 'x'", UnsupportedStatementError, "COMMENT"),
    ("COPY INTO gold.t FROM 'x' FILEFORMAT = PARQUET", UnsupportedStatementError, "COPY"),
    ("LOAD DATA INPATH 'x' INTO TABLE gold.t", UnsupportedStatementError, "LOAD"),
    ("OPTIMIZE gold.t ZORDER BY (id)", UnsupportedStatementError, "ZORDER"),
    ("SHOW TBLPROPERTIES gold.t", UnsupportedStatementError, "SHOW TBLPROPERTIES"),
    ("SET x = 1", UnsupportedStatementError, "SET"),
    ("CALL f()", UnsupportedStatementError, "CALL"),
    ("EXECUTE IMMEDIATE 'SELECT 1'", UnsupportedStatementError, "EXECUTE"),
    ("GRANT SELECT ON TABLE gold.t TO x", UnsupportedStatementError, "GRANT"),
    ("BEGIN SELECT 1; END", UnsupportedStatementError, "BEGIN"),
]  # fmt: skip


@pytest.fixture
def tables(workspace: Workspace, spark: SparkSession) -> Workspace:
    """t: 3 rows, then 5; u: 2 rows; p: partitioned; a view, a temporary view, a bare name."""
    spark.range(3).selectExpr("id", "id * 2 AS v").write.saveAsTable(T)
    spark.range(2).selectExpr("id", "id * 2 AS v").write.mode("append").saveAsTable(T)
    spark.range(2).selectExpr("id", "id * 10 AS w").write.saveAsTable(U)
    spark.range(4).selectExpr("id", "id % 2 AS p").write.partitionBy("p").saveAsTable(P)
    spark.range(1).write.saveAsTable("loose")
    spark.sql("CREATE VIEW gold.seen AS SELECT id, v FROM gold.t")
    spark.table(U).createOrReplaceTempView("passing")
    return workspace


def named(accesses: str) -> list[tuple[str, int]]:
    found = []
    for text in accesses.split():
        name, _, version = text.partition("@")
        found.append((f"main.{name}" if "." in name else f"main.gold.{name}", int(version)))
    return sorted(found)


def versions(accesses: list[Access]) -> list[tuple[str, int | None]]:
    return sorted((each.name, each.version) for each in accesses)


@pytest.mark.parametrize("done", QUERIES, ids=lambda done: done.sql[:60])
def test_queries(tables: Workspace, spark: SparkSession, done: Done) -> None:
    with tables.engine.recording(persist=False) as recording:
        spark.sql(done.sql).collect()
    assert versions(recording.reads) == named(done.reads)
    assert recording.writes == []


@pytest.mark.parametrize("done", CHANGES, ids=lambda done: done.sql[:60])
def test_changes(tables: Workspace, spark: SparkSession, done: Done) -> None:
    with tables.engine.recording(persist=False) as recording:
        # A change runs once, when the text is given, and not again when its result is read.
        spark.sql(done.sql).collect()
    assert versions(recording.reads) == named(done.reads)
    assert versions(recording.writes) == named(done.writes)
    if done.check:
        assert [tuple(row) for row in spark.sql(done.check).collect()] == done.expect


@pytest.mark.parametrize(("sql", "error", "match"), REFUSED, ids=[each[0][:60] for each in REFUSED])
def test_refusals(
    tables: Workspace, spark: SparkSession, sql: str, error: type[HeadraceError], match: str | None
) -> None:
    before = tables.lineage.operations()
    entries = tables.catalog.list()
    with pytest.raises(error, match=match) as caught:
        spark.sql(sql).collect()
    assert caught.value.next, "an error says what to do next"
    assert tables.lineage.operations() == before
    assert tables.catalog.list() == entries
