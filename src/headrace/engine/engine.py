"""The engine of one project: a Spark session whose plans are resolved and recorded."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.engine import command_line, execute, record, references, sail
from headrace.engine.interceptor import make_interceptor
from headrace.engine.record import Recording
from headrace.engine.rewrite import Rewriter
from headrace.engine.state import SessionState
from headrace.engine.streams import StreamBatch, StreamBinder
from headrace.ids import new_id
from headrace.settings import Paths, setting

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.connect.client import SparkConnectClient

    from headrace.catalog import Access, Catalog, Lineage
    from headrace.catalog.operation import OperationKind
    from headrace.engine.references import Reference


class Engine:
    """Runs Spark code against the catalog's tables and records what it does.

    Args:
        paths: the project; relative paths in reads and writes start at its root.
        catalog: names of tables and views.
        lineage: where executed operations are recorded.
    """

    def __init__(self, paths: Paths, catalog: Catalog, lineage: Lineage) -> None:
        self._state = SessionState(paths, catalog, lineage, new_id("session"))
        self._lock = threading.Lock()
        self._session: SparkSession | None = None
        self._client: SparkConnectClient | None = None

    @property
    def session_id(self) -> str:
        """Identifier of this session in the lineage."""
        return self._state.id

    def session(self) -> SparkSession:
        """The Spark session, started on the first call.

        ``SparkSession.builder.getOrCreate()`` gives the same one afterwards.

        Raises:
            EngineUnavailableError: the engine does not start.
        """
        with self._lock:
            if self._session is None or self._session.is_stopped:
                self._start()
            assert self._session is not None  # noqa: S101  # started in the line above
            return self._session

    def _start(self) -> None:
        name = setting("HEADRACE_ENGINE")
        address = sail.address() if name == "sail" else name
        command_line.prepare()
        from pyspark.sql.connect.client import DefaultChannelBuilder, SparkConnectClient
        from pyspark.sql.connect.session import SparkSession

        separator = ";" if "/;" in address else "/;"
        address = f"{address}{separator}session_id={uuid.uuid4()}"
        self._client = SparkConnectClient(DefaultChannelBuilder(address))
        builder = DefaultChannelBuilder(address)
        builder.add_interceptor(make_interceptor(execute.Executor(self._state, self._client)))
        os.environ["SPARK_REMOTE"] = address
        self._session = SparkSession.builder.channelBuilder(builder).create()
        if name == "sail":
            _ = self._session.version  # an answer of the server
            sail.leave_interrupts_to_python()

    @contextmanager
    def recording(
        self,
        kind: OperationKind | None = None,
        subject: str | None = None,
        run_id: str | None = None,
        persist: bool = True,
    ) -> Iterator[Recording]:
        """Collect what is executed in this context and thread.

        Args:
            kind: kind of each operation, in place of ``read`` and ``write``.
            subject: what the operations are made for.
            run_id: the MLflow run they belong to; the active one if not given.
            persist: write each operation to the lineage; otherwise the caller does.
        """
        with record.recording(Recording(kind, subject, run_id, persist)) as made:
            yield made

    @contextmanager
    def analysis(self) -> Iterator[list[Access]]:
        """Read definitions: ``spark.sql`` stays lazy, and tables need not exist.

        Gives a list that gets the tables whose columns, or rows, were looked at all the same.
        """
        with execute.analysing() as looked_at:
            yield looked_at

    def references(self, df: DataFrame) -> list[Reference]:
        """The tables and paths that a DataFrame reads, told from its plan: nothing is executed."""
        return references.collect(self._state, references.plan_of(df))

    def with_streams(self, df: DataFrame, bindings: Mapping[str, StreamBatch]) -> DataFrame:
        """The DataFrame with its streaming reads turned into reads of exactly the given files.

        Args:
            df: a DataFrame whose plan holds streaming reads.
            bindings: what to read, by ``Reference.name`` of each streaming read.

        Raises:
            StreamOutsidePipelineError: a streaming read has no binding.
        """
        from pyspark.sql.connect.dataframe import DataFrame as ConnectDataFrame
        from pyspark.sql.connect.plan import CachedRelation

        relation = references.plan_of(df)
        Rewriter(StreamBinder(self._state, bindings)).apply(relation)
        return ConnectDataFrame(CachedRelation(relation), df.sparkSession)

    def read_files(
        self,
        paths: Sequence[str | Path],
        format: str,
        options: Mapping[str, str] | None = None,
    ) -> DataFrame:
        """A DataFrame of exactly these files."""
        reader = self.session().read.format(format).options(**(options or {}))
        return reader.load([str(path) for path in paths])

    def stop(self) -> None:
        """Close the session. The embedded server lives as long as the process."""
        with self._lock:
            if self._session is not None and not self._session.is_stopped:
                self._session.stop()
            if self._client is not None:
                self._client.close()
            self._session = self._client = None
