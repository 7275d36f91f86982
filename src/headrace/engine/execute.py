"""What happens to each request: resolved, run, recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.engine import (
    columns,
    files,
    merge,
    messages,
    models,
    references,
    refused,
    sql,
    statements,
    views,
)
from headrace.engine.catalogapi import CatalogApi
from headrace.engine.ddl import Names
from headrace.engine.errors import AnalysisOnlyError
from headrace.engine.interceptor import Answer
from headrace.engine.record import Draft
from headrace.engine.resolve import PinningResolver
from headrace.engine.rewrite import Rewriter, require_query
from headrace.engine.statements import Statements
from headrace.engine.writes import Writer

if TYPE_CHECKING:
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.proto import (
        AnalyzePlanRequest,
        AnalyzePlanResponse,
        Command,
        ExecutePlanRequest,
        ExecutePlanResponse,
        Plan,
    )

    from headrace.catalog import Access
    from headrace.engine.state import SessionState

    Stream = Iterator[ExecutePlanResponse]

_analysing: ContextVar[list[Access] | None] = ContextVar("headrace_analysing", default=None)

# Commands that name no table and change none.
_PASSED = {
    "register_table_function",
    "register_data_source",
    "get_resources_command",
    "create_resource_profile_command",
    "remove_cached_remote_relation_command",
}


@contextmanager
def analysing() -> Iterator[list[Access]]:
    """In this context queries stay lazy and name tables that need not exist.

    Gives a list that gets what was looked at all the same, such as for the columns of a table.
    """
    looked_at: list[Access] = []
    token = _analysing.set(looked_at)
    try:
        yield looked_at
    finally:
        _analysing.reset(token)


@dataclass(frozen=True)
class Query:
    """A query whose rows are on their way.

    Attributes:
        finish: records it.
        paths: the plain files that it reads.
    """

    finish: Callable[[], None]
    paths: list[str]

    @classmethod
    def of_catalog(cls) -> Query:
        """Rows about the catalog, of which nothing is recorded."""
        return cls(lambda: None, [])


class Executor:
    """The handler of one session's requests.

    Args:
        state: the session.
        client: a client of the same session whose requests pass by the interceptor.
    """

    def __init__(self, state: SessionState, client: SparkConnectClient) -> None:
        self._state = state
        self._client = client
        self._writer = Writer(state, client)
        self._names = Names(state, client, self._writer)
        self._statements = Statements(state, client, self._writer, self._names)
        self._api = CatalogApi(state, client, self._names)
        self._queries: dict[str, Query] = {}
        self._answered: set[str] = set()
        self._lock = threading.Lock()

    def execute(
        self, request: ExecutePlanRequest, send: Callable[[ExecutePlanRequest], Stream]
    ) -> Stream:
        """Run a plan: a query streams from the server, everything else is done here."""
        changed = type(request)()
        changed.CopyFrom(request)
        _decompress(changed.plan)
        with self._lock:
            self._answered.add(request.operation_id)
        if changed.plan.WhichOneof("op_type") == "command":
            return iter(self._command(changed))
        query = Query.of_catalog() if self._catalog(changed) else self._query(changed)
        with self._lock:
            self._answered.discard(request.operation_id)
            self._queries[request.operation_id] = query
        return self._watched(request.operation_id, send(changed))

    def reattach(self, operation_id: str, responses: Stream) -> Stream:
        """Go on watching a query whose stream had broken."""
        return self._watched(operation_id, responses)

    def released(self, operation_id: str, *, all: bool) -> bool:
        """Whether the server has the operation; what has ended is forgotten."""
        with self._lock:
            ours = operation_id in self._answered
            if all:
                self._queries.pop(operation_id, None)
                self._answered.discard(operation_id)
            return not ours

    def analyze(
        self, request: AnalyzePlanRequest, send: Callable[[AnalyzePlanRequest], Any]
    ) -> Any:
        """Ask about a plan whose reads are resolved. Streams have the columns of batches."""
        changed = type(request)()
        changed.CopyFrom(request)
        for message in messages.descendants(changed):
            if message.DESCRIPTOR.name == "Plan":
                _decompress(message)
        if changed.HasField("is_streaming"):
            found = references.collect(self._state, changed.is_streaming.plan.root)
            return Answer(_is_streaming(request, found))
        resolver = PinningResolver(self._state, streams_as_batches=True)
        Rewriter(resolver).apply(changed)
        _look(resolver)
        call = send(changed)
        if call.exception() is not None:
            reason = files.unreadable(resolver.paths)
            if reason is not None:
                raise reason from call.exception()
        return call

    def _catalog(self, request: ExecutePlanRequest) -> bool:
        """Answer a call of ``spark.catalog``, by rows that the server only returns."""
        if request.plan.root.WhichOneof("rel_type") != "catalog":
            return False
        answer = self._api.answer(request.plan.root.catalog)
        if answer is not None:
            messages.replace(request.plan.root, answer)
        return True

    def _query(self, request: ExecutePlanRequest) -> Query:
        draft = Draft.begin(self._state.id)
        resolver = PinningResolver(self._state)
        Rewriter(resolver).apply(request.plan)
        _look(resolver)
        used = columns.used(request.plan.root)

        def finish() -> None:
            draft.finish(self._state.lineage, reads=resolver.reads(used))

        return Query(finish, resolver.paths)

    def _watched(self, operation_id: str, responses: Stream) -> Stream:
        """Pass responses through; at the end of the result, record before the caller sees it."""
        import grpc

        try:
            for response in responses:
                if response.HasField("result_complete"):
                    with self._lock:
                        query = self._queries.pop(operation_id, None)
                    if query is not None:
                        query.finish()
                yield response
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise  # The client takes the stream up again.
            with self._lock:
                query = self._queries.get(operation_id)
            reason = files.unreadable(query.paths) if query is not None else None
            if reason is not None:
                raise reason from error
            raise

    def _command(self, request: ExecutePlanRequest) -> list[ExecutePlanResponse]:
        command = request.plan.command
        kind = command.WhichOneof("command_type") or "unknown"
        if kind == "sql_command":
            return self._sql(request)
        if kind == "create_dataframe_view":
            views.create(self._state, command.create_dataframe_view)
            return messages.responses(request)
        if kind == "register_function":
            self._register(command)
            return messages.responses(request)
        if kind in _PASSED:
            self._client.execute_command(command)
            return messages.responses(request)
        if _analysing.get() is not None:
            raise AnalysisOnlyError(kind)
        draft = Draft.begin(self._state.id)
        if kind == "write_operation":
            self._writer.operation(command.write_operation, draft)
        elif kind == "write_operation_v2":
            self._writer.operation_v2(command.write_operation_v2, draft)
        elif kind == "merge_into_table_command":
            merge.run(self._state, self._client, command.merge_into_table_command, draft)
        else:
            raise refused.command(kind)
        return messages.responses(request)

    def _sql(self, request: ExecutePlanRequest) -> list[ExecutePlanResponse]:
        """``spark.sql``: a query stays text until its rows are asked for."""
        relation = messages.sql_relation(request.plan.command.sql_command)
        text = messages.sql_text(relation)
        if _analysing.get() is not None:
            statements.check_harmless(text)
        result = self._statements.run(relation)
        if result is None:
            result = relation
            if _analysing.get() is not None:
                require_query(sql.read(text))
            else:
                probe = type(relation)()
                probe.CopyFrom(relation)
                Rewriter(PinningResolver(self._state, streams_as_batches=True)).apply(probe)
        return messages.responses(request, result)

    def _register(self, command: Command) -> None:
        function = command.register_function
        self._state.functions[function.function_name.lower()] = tuple(
            models.uris(function.python_udf.command)
        )
        self._client.execute_command(command)


def _look(resolver: PinningResolver) -> None:
    looked_at = _analysing.get()
    if looked_at is not None:
        looked_at += resolver.reads()


def _is_streaming(
    request: AnalyzePlanRequest, found: Iterable[references.Reference]
) -> AnalyzePlanResponse:
    """The server sees batch reads alone, so whether a plan streams is told here."""
    from pyspark.sql.connect.proto import AnalyzePlanResponse

    made = AnalyzePlanResponse(session_id=request.session_id)
    made.is_streaming.is_streaming = any(each.streaming for each in found)
    return made


def _decompress(plan: Plan) -> None:
    """Undo the client's compression of large plans, in place."""
    if plan.WhichOneof("op_type") != "compressed_operation":
        return
    import zstandard
    from pyspark.sql.connect import proto

    packed = plan.compressed_operation
    data = zstandard.ZstdDecompressor().decompress(packed.data, max_output_size=1 << 30)
    made: Any
    if packed.op_type == proto.Plan.CompressedOperation.OpType.OP_TYPE_RELATION:
        made = proto.Relation.FromString(data)
        plan.root.CopyFrom(made)
    else:
        made = proto.Command.FromString(data)
        plan.command.CopyFrom(made)
