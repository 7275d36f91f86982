"""Building and walking the messages of Spark Connect."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow
    from google.protobuf.message import Message
    from pyspark.sql.connect.proto import (
        ExecutePlanRequest,
        ExecutePlanResponse,
        Plan,
        Relation,
        SqlCommand,
    )

# PySpark counts its plan ids up from 0, one a DataFrame.
_plan_ids = itertools.count(1 << 40)


def children(message: Message) -> Iterator[Message]:
    """The messages directly inside a message, through repeated and map fields."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                yield from value.values()
        elif field.is_repeated:
            yield from value
        else:
            yield value


def descendants(message: Message) -> Iterator[Message]:
    """The message and everything inside it, depth first."""
    pending = [message]
    while pending:
        found = pending.pop()
        yield found
        pending.extend(children(found))


def new_relation() -> Relation:
    """An empty relation with a plan id that no other has."""
    from pyspark.sql.connect import proto

    relation = proto.Relation()
    relation.common.plan_id = next(_plan_ids)
    return relation


def replace(relation: Relation, by: Relation) -> None:
    """Put another relation in place, under the same plan id: columns are bound to it."""
    common = type(relation.common)()
    common.CopyFrom(relation.common)
    relation.CopyFrom(by)
    relation.common.CopyFrom(common)


def aliased(relation: Relation, alias: str) -> Relation:
    """``relation AS alias``."""
    made = new_relation()
    made.subquery_alias.input.CopyFrom(relation)
    made.subquery_alias.alias = alias
    return made


def query(sql: str) -> Relation:
    """SQL text as a relation."""
    made = new_relation()
    made.sql.query = sql
    return made


def local(table: pyarrow.Table) -> Relation:
    """Rows given by value."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        # A table without rows has no batch, and the server reads the schema from the first one.
        for batch in table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]:
            writer.write_batch(batch)
    made = new_relation()
    made.local_relation.data = sink.getvalue().to_pybytes()
    return made


def empty(ddl: str) -> Relation:
    """No rows, of the given schema (DDL or JSON)."""
    made = new_relation()
    made.local_relation.schema = ddl
    return made


def responses(
    request: ExecutePlanRequest, result: Relation | None = None
) -> list[ExecutePlanResponse]:
    """The answer to a command that needs no server: its result, if any, and the end."""
    from pyspark.sql.connect import proto

    def response(**fields: Any) -> ExecutePlanResponse:
        return proto.ExecutePlanResponse(
            session_id=request.session_id,
            operation_id=request.operation_id,
            response_id=str(uuid.uuid4()),
            **fields,
        )

    end = response(result_complete=proto.ExecutePlanResponse.ResultComplete())
    if result is None:
        return [end]
    answer = response()
    answer.sql_command_result.relation.CopyFrom(result)
    return [answer, end]


def plan(relation: Relation) -> Plan:
    """A plan of a relation.

    Protobuf limits the depth of messages that a constructor is given, and not that of copies.
    """
    from pyspark.sql.connect.proto import Plan

    made = Plan()
    made.root.CopyFrom(relation)
    return made


def sql_relation(command: SqlCommand) -> Relation:
    """The relation of a SQL command, also of a client that sends the text alone."""
    if command.HasField("input"):
        return command.input
    made = query(command.sql)
    for key, value in command.named_arguments.items():
        made.sql.named_arguments[key].CopyFrom(value)
    made.sql.pos_arguments.extend(command.pos_arguments)
    return made


def sql_text(relation: Relation) -> str:
    """The SQL text of a relation that ``spark.sql`` made, inside what it was given."""
    return str(sql_root(relation).sql.query)


def sql_root(relation: Relation) -> Relation:
    """The SQL relation inside the relations that it was given."""
    while relation.HasField("with_relations"):
        relation = relation.with_relations.root
    return relation


def same_arguments(relation: Relation, text: str) -> Relation:
    """A copy with other SQL text and the same arguments and given relations."""
    made = type(relation)()
    made.CopyFrom(relation)
    made.common.plan_id = next(_plan_ids)
    sql_root(made).sql.query = text
    return made


def given(relation: Relation) -> frozenset[str]:
    """Lower-case names of the relations that SQL text was given."""
    names: set[str] = set()
    while relation.HasField("with_relations"):
        names |= {
            each.subquery_alias.alias.lower()
            for each in relation.with_relations.references
            if each.HasField("subquery_alias")
        }
        relation = relation.with_relations.root
    return frozenset(names)


def with_references(relation: Relation, references: list[Relation]) -> Relation:
    """The relation with further relations that its SQL text names."""
    if not references:
        return relation
    made = new_relation()
    made.with_relations.root.CopyFrom(relation)
    made.with_relations.references.extend(references)
    return made
