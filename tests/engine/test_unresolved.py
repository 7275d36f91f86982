"""No plan that leaves for the server names a table of the catalog."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pyspark.sql.connect import proto
from pyspark.sql.connect.client import SparkConnectClient

from headrace.engine import execute, messages, sql
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from pyspark.sql import SparkSession

    from headrace.workspace import Workspace

TABLES = ("gold.t", "main.gold.t", "`gold`.`t`", "GOLD.T", "gold.seen", "passing", "gold.t@v0")
EXPRESSIONS = ("x.id", "x.v + 1", "max(x.v) OVER ()", "CASE WHEN x.id > 1 THEN 'gold.t' END")


class Query:
    """Random queries over the tables, of every shape that can hold a name."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def table(self, depth: int) -> str:
        if depth == 0 or self.random.random() < 0.5:
            return self.random.choice(TABLES)
        return f"({self.query(depth - 1)})"

    def query(self, depth: int) -> str:
        pick = self.random.choice
        source = f"{self.table(depth)} AS x"
        for number in range(self.random.randrange(3)):
            join = pick(("JOIN", "LEFT JOIN", "CROSS JOIN"))
            condition = "" if join == "CROSS JOIN" else f" ON x.id = j{number}.id"
            source += f" {join} {self.table(depth)} AS j{number}{condition}"
        where = pick(
            (
                "",
                " WHERE x.id > 0",
                f" WHERE x.id IN (SELECT id FROM {self.table(depth)} AS s)",
                f" WHERE EXISTS (SELECT 1 FROM {self.table(depth)} AS s WHERE s.id = x.id)",
            )
        )
        extra = pick((f"{pick(EXPRESSIONS)} AS k", f"(SELECT max(id) FROM {self.table(0)}) AS k"))
        body = f"SELECT x.id AS id, x.v AS v, {extra} FROM {source}{where}"
        shape = self.random.randrange(4)
        if shape == 0:
            return f"SELECT id, v, k FROM (WITH w AS ({body}) SELECT * FROM w) AS y"
        if shape == 1 and depth:
            return f"SELECT id, v FROM ({body}) AS a UNION ALL SELECT id, v FROM {self.table(0)}"
        return body


def named_tables(message: Message) -> Iterator[str]:
    """Names in a message that the server would have to resolve."""
    for each in messages.descendants(message):
        if isinstance(each, proto.WithRelations) and each.root.HasField("sql"):
            given = {ref.subquery_alias.alias for ref in each.references}
            yield from (
                use.name for use in sql.read(each.root.sql.query).tables if use.name not in given
            )
        elif isinstance(each, proto.Read) and each.HasField("named_table"):
            yield each.named_table.unparsed_identifier


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What goes to the server, past the interceptor or beside it."""
    found: list[Message] = []
    original = execute.Executor.execute
    asked = execute.Executor.analyze
    commanded = SparkConnectClient.execute_command

    def run(self: object, request: object, send: object) -> object:
        def noted(changed: Message) -> object:
            found.append(changed)
            return send(changed)  # type: ignore[operator]

        return original(self, request, noted)  # type: ignore[arg-type]

    def ask(self: object, request: object, send: object) -> object:
        def noted(changed: Message) -> object:
            found.append(changed)
            return send(changed)  # type: ignore[operator]

        return asked(self, request, noted)  # type: ignore[arg-type]

    def command(self: object, made: Message, *rest: object) -> object:
        if getattr(self, "raw", False):
            found.append(made)
        return commanded(self, made, *rest)

    monkeypatch.setattr(execute.Executor, "execute", run)
    monkeypatch.setattr(execute.Executor, "analyze", ask)
    monkeypatch.setattr(SparkConnectClient, "execute_command", command)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_random_queries(
    workspace: Workspace, spark: SparkSession, sent: list[Message], seed: int
) -> None:
    spark.range(3).selectExpr("id", "id * 2 AS v").write.saveAsTable("gold.t")
    spark.sql("CREATE VIEW gold.seen AS SELECT id, v FROM gold.t")
    spark.table("gold.t").createOrReplaceTempView("passing")
    workspace.engine._client.raw = True  # type: ignore[union-attr]
    text = Query(seed).query(2)
    sent.clear()
    with workspace.engine.recording(persist=False) as recording:
        spark.sql(text).collect()
        spark.sql(f"CREATE OR REPLACE TABLE gold.made AS {text}")
    assert sent
    assert [name for message in sent for name in named_tables(message)] == []
    assert {each.name for each in recording.reads} == {"main.gold.t"}


@pytest.mark.parametrize("seed", range(60))
def test_broken_text_is_refused_or_runs(
    workspace: Workspace, spark: SparkSession, sent: list[Message], seed: int
) -> None:
    """Words are lost, doubled or swapped: an error of ours or the server's, and no name leaves."""
    from pyspark.errors import PySparkException

    spark.range(3).selectExpr("id", "id * 2 AS v").write.saveAsTable("gold.t")
    spark.sql("CREATE VIEW gold.seen AS SELECT id, v FROM gold.t")
    spark.table("gold.t").createOrReplaceTempView("passing")
    chance = random.Random(seed)
    words = Query(seed).query(1).split()
    for _ in range(3):
        index = chance.randrange(len(words))
        action = chance.randrange(3)
        if action == 0:
            del words[index]
        elif action == 1:
            words.insert(index, words[index])
        else:
            other = chance.randrange(len(words))
            words[index], words[other] = words[other], words[index]
    sent.clear()
    with contextlib.suppress(HeadraceError, PySparkException):
        spark.sql(" ".join(words)).collect()
    assert [name for message in sent for name in named_tables(message)] == []
