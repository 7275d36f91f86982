"""SQL files: statements, their lines, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace.pipeline.elements import Location, Output
from headrace.pipeline.errors import DefinitionError, UnsupportedDefinitionError
from headrace.pipeline.sql import SqlFile, read_sql

if TYPE_CHECKING:
    from collections.abc import Callable


def read(text: str, run: Callable[[str], Any] = lambda query: query, **values: str) -> SqlFile:
    return read_sql(text, "tables.sql", values, run)


def test_several_statements_with_comments() -> None:
    found = read("""-- first; not a statement
        CREATE OR REFRESH MATERIALIZED VIEW silver.devices
        COMMENT 'One; row' AS /* all; of them */
        SELECT ';' AS mark FROM bronze.devices; ;

        CREATE TEMP VIEW v AS WITH q AS (SELECT 1 AS c) SELECT * FROM q
    """)
    assert [(output.name, output.kind, output.location.line) for output in found.outputs] == [
        ("silver.devices", "materialized_view", 2),
        ("v", "temporary_view", 6),
    ]
    assert found.outputs[0].comment == "One; row"
    assert found.flows[1].query() == "WITH q AS (SELECT 1 AS c) SELECT * FROM q"


def test_clauses_of_a_table() -> None:
    found = read("""
        CREATE STREAMING TABLE IF NOT EXISTS a.`b-c` (x INT, y DECIMAL(10, 2)) USING delta
        PARTITIONED BY (x, y) COMMENT 'it\\'s' TBLPROPERTIES ('k' = 'v')
    """)
    assert found.outputs == [
        Output(
            "a.`b-c`", "streaming_table", Location("tables.sql", 2), "it's",
            "x INT, y DECIMAL(10, 2)", ("x", "y"), {"k": "v"},
        )
    ]  # fmt: skip
    assert found.flows == []


def test_flow() -> None:
    flow = read("""
        CREATE FLOW f COMMENT 'AS' AS INSERT INTO a.b BY NAME SELECT x AS y FROM STREAM c
    """).flows[0]
    assert (flow.name, flow.target, flow.location.line) == ("f", "a.b", 2)
    assert flow.query() == "SELECT x AS y FROM STREAM c"


def test_configuration() -> None:
    flow = read(
        "SET limit = 3; CREATE MATERIALIZED VIEW a AS SELECT * FROM parquet.`${raw}/x` LIMIT ${limit}",
        raw="/data",
    ).flows[0]
    assert flow.query() == "SELECT * FROM parquet.`/data/x` LIMIT 3"
    assert flow.conf == {"limit": "3"}


def test_unknown_configuration() -> None:
    with pytest.raises(DefinitionError, match="no rav") as caught:
        read("\nCREATE MATERIALIZED VIEW a AS SELECT '${rav}'", raw="x")
    assert 'did you mean "raw"?' in str(caught.value)
    assert caught.value.location.line == 2


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SELECT 1", "SELECT 1"),
        ("CREATE VIEW x AS SELECT 1", "CREATE VIEW"),
        ("CREATE TABLE x (a INT)", "CREATE TABLE"),
        ("DROP TABLE x", "DROP TABLE"),
        ("USE SCHEMA x", "USE SCHEMA"),
        ("CREATE FLOW f AS AUTO CDC INTO t FROM STREAM s KEYS (a) SEQUENCE BY b", "AUTO CDC"),
        ("CREATE MATERIALIZED VIEW m (CONSTRAINT c EXPECT (a > 0)) AS SELECT 1", "CONSTRAINT"),
        ("CREATE MATERIALIZED VIEW m (a COMMENT 'x') AS SELECT 1 AS a", "a COMMENT"),
        ("CREATE MATERIALIZED VIEW m USING parquet AS SELECT 1", "parquet"),
        ("CREATE MATERIALIZED VIEW m CLUSTER BY (a) AS SELECT 1", "CLUSTER BY"),
    ],
)
def test_refused_by_name(text: str, name: str) -> None:
    with pytest.raises(UnsupportedDefinitionError, match=name) as caught:
        read("\n" + text)
    assert caught.value.location == Location("tables.sql", 2)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE MATERIALIZED VIEW m AS SELECT FROM WHERE",
        "CREATE MATERIALIZED VIEW m",
        "CREATE FLOW",
        "CREATE FLOW f AS INSERT INTO t SELECT 1",
        "CREATE FLOW f AS INSERT INTO ONCE t BY NAME SELECT 1",
        "SET x",
        "SELECT 'abc",
    ],
)
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read(text)
    assert caught.value.location.file == "tables.sql"
    assert "\x1b" not in str(caught.value)
