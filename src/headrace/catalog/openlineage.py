"""OpenLineage events of recorded operations, where the environment configures a transport.

Configured by the client's own means: ``OPENLINEAGE_URL``, ``OPENLINEAGE__TRANSPORT__...``,
``OPENLINEAGE_CONFIG`` or an ``openlineage.yml``. The database stays the truth: an event that
cannot be sent is reported in the log and lost.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace import clock

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent
    from openlineage.client.facet_v2.column_lineage_dataset import ColumnLineageDatasetFacet

    from headrace.catalog.operation import Access, Operation

log = logging.getLogger(__name__)

PRODUCER: Final = "urn:headrace"
_RUNS: Final = uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER)
_EXIT_SECONDS: Final = 10.0
_WAITING: Final = 10_000


def configured() -> bool:
    """Whether the environment asks for events; looks at variables and two files."""
    if os.environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    if any(
        name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG")
        or name.startswith("OPENLINEAGE__TRANSPORT")
        for name, value in os.environ.items()
        if value
    ):
        return True
    homes = (Path.cwd(), Path.home() / ".openlineage")
    return any((home / "openlineage.yml").is_file() for home in homes)


class Emitter:
    """Sends the events of each operation it is called with, from a thread of its own.

    Nothing it does reaches the operation: a slow or absent receiver costs it no time.

    Args:
        namespace: of the jobs.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._waiting: queue.Queue[Operation | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __call__(self, operation: Operation) -> None:
        """Queue the events of an operation."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, name="headrace-openlineage", daemon=True
                )
                self._thread.start()
                atexit.register(self.close)
        try:
            self._waiting.put_nowait(operation)
        except queue.Full:
            log.warning("OpenLineage: %d operations wait; %s dropped", _WAITING, operation.id)

    def close(self, timeout: float = _EXIT_SECONDS) -> None:
        """Send what waits, for at most so many seconds."""
        atexit.unregister(self.close)
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            log.warning("OpenLineage: %d operations were not sent", self._waiting.qsize())
            return
        thread.join(timeout)
        if thread.is_alive():
            log.warning("OpenLineage: %d operations were not sent", self._waiting.qsize())

    def _work(self) -> None:
        client = _client()
        while (operation := self._waiting.get()) is not None:
            if client is not None:
                self._send(client, operation)
        if client is not None:
            client.close(timeout=_EXIT_SECONDS)

    def _send(self, client: OpenLineageClient, operation: Operation) -> None:
        try:
            for event in events(operation, self._namespace):
                client.emit(event)
        except Exception as error:  # noqa: BLE001  # transports raise what they like; reported
            log.warning("OpenLineage: %s was not sent: %s", operation.id, error)


def _client() -> OpenLineageClient | None:
    """The client as the environment configures it; ``None``, with a reason in the log, if not."""
    try:
        from openlineage.client import OpenLineageClient
    except ImportError:
        log.warning(
            "OpenLineage is configured but not installed: pip install 'headrace[openlineage]'"
        )
        return None
    try:
        client = OpenLineageClient()
    except Exception as error:  # noqa: BLE001  # a wrong configuration raises what it likes; reported
        log.warning("OpenLineage: the transport cannot be made: %s", error)
        return None
    if not (client.config.transport or {}).get("type") and not os.environ.get("OPENLINEAGE_URL"):
        # Without a transport the client would print events to the console.
        log.warning("OpenLineage: the configuration names no transport, so nothing is sent")
        return None
    return client


def events(operation: Operation, namespace: str) -> list[RunEvent]:
    """START and COMPLETE of an operation.

    A table is the dataset ``file`` + its location, as OpenLineage names local files, with its
    catalog name as a symlink; a model is ``mlflow`` + its address. Versions are in the facet
    ``version``. The run id follows from the operation's id, so that a repeated event is the same.
    """
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import job_type_job

    written = next((access.name for access in operation.writes), None)
    about = operation.subject or written or operation.source or operation.session_id
    job = Job(
        namespace,
        f"{operation.kind}.{about}",
        {
            "jobType": job_type_job.JobTypeJobFacet(
                processingType="BATCH",
                integration="HEADRACE",
                jobType=operation.kind.upper(),
                producer=PRODUCER,
            )
        },
    )
    inputs = [_input(access, namespace) for access in operation.reads]
    outputs = [_output(access, namespace, operation) for access in operation.writes]
    run_id = str(uuid.uuid5(_RUNS, operation.id))

    def event(state: RunState, at: str, outputs: list[OutputDataset]) -> RunEvent:
        run = Run(run_id, _run_facets(operation))
        return RunEvent(
            eventTime=at,
            eventType=state,
            run=run,
            job=job,
            inputs=inputs,
            outputs=outputs,
            producer=PRODUCER,
        )

    return [
        event(RunState.START, clock.iso(operation.started_at), []),
        event(RunState.COMPLETE, clock.iso(operation.finished_at), outputs),
    ]


def _run_facets(operation: Operation) -> dict[str, Any]:
    from openlineage.client.facet_v2 import tags_run

    facts = {
        "headrace.operation": operation.id,
        "headrace.session": operation.session_id,
        "mlflow.run_id": operation.run_id,
        "headrace.source": operation.source,
    }
    tags = [
        tags_run.TagsRunFacetFields(key=name, value=value, source="HEADRACE")
        for name, value in facts.items()
        if value
    ]
    return {"tags": tags_run.TagsRunFacet(tags=tags, producer=PRODUCER)}


def _input(access: Access, namespace: str) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset

    return InputDataset(*_name(access), facets=_facets(access, namespace))


def _output(access: Access, namespace: str, operation: Operation) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import lifecycle_state_change_dataset as lifecycle

    facets = _facets(access, namespace)
    if operation.flows:
        facets["columnLineage"] = _column_lineage(operation)
    if operation.mode == "overwrite":
        change = lifecycle.LifecycleStateChange.OVERWRITE
        facets["lifecycleStateChange"] = lifecycle.LifecycleStateChangeDatasetFacet(
            change, producer=PRODUCER
        )
    return OutputDataset(*_name(access), facets=facets)


def _column_lineage(operation: Operation) -> ColumnLineageDatasetFacet:
    """Where the written columns came from.

    What decides on the rows stands under ``dataset``, as the facet has it. It knows no lineage
    that is not known: columns that opaque code has seen are ``DIRECT``, and the description says
    so.
    """
    from openlineage.client.facet_v2 import column_lineage_dataset as facet

    fields: dict[str, list[facet.InputField]] = {}
    dataset: list[facet.InputField] = []
    for flow in operation.flows:
        source = operation.reads[flow.source]
        named: tuple[str, ...] = (flow.source_column,) if flow.source_column else ()
        if flow.source_column is None and flow.how == "unknown":
            named = source.columns or ()
        for column in named:
            kind, words = _HOW[flow.how]
            if flow.column is None and flow.how == "direct":
                kind = "INDIRECT"
            made = facet.InputField(
                *_name(source), column, [facet.Transformation(kind, description=words)]
            )
            (dataset if flow.column is None else fields.setdefault(flow.column, [])).append(made)
    return facet.ColumnLineageDatasetFacet(
        {column: facet.Fields(found) for column, found in fields.items()},
        dataset=dataset,
        producer=PRODUCER,
    )


_HOW: Final = {
    "direct": ("DIRECT", "values came from its values"),
    "indirect": ("INDIRECT", "its values decided which rows or values these are"),
    "unknown": ("DIRECT", "seen by code that cannot be looked into"),
}


def _name(access: Access) -> tuple[str, str]:
    """Namespace and name, by OpenLineage's naming of files."""
    if access.kind == "model":
        return "mlflow", access.name
    path = access.location or access.name
    scheme, separator, rest = path.partition("://")
    if separator and scheme != "file":
        bucket, _, key = rest.partition("/")
        return f"{scheme}://{bucket}", key or "/"
    return "file", rest if separator else path


def _facets(access: Access, namespace: str) -> dict[str, Any]:
    from openlineage.client.facet_v2 import (
        dataset_type_dataset,
        dataset_version_dataset,
        schema_dataset,
        symlinks_dataset,
    )

    facets: dict[str, Any] = {
        "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet(
            {"table": "TABLE", "path": "FILE", "model": "MODEL"}[access.kind], producer=PRODUCER
        )
    }
    if access.version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(
            str(access.version), producer=PRODUCER
        )
    if access.columns is not None:
        facets["schema"] = schema_dataset.SchemaDatasetFacet(
            [schema_dataset.SchemaDatasetFacetFields(name) for name in access.columns],
            producer=PRODUCER,
        )
    if access.kind == "table" and access.location is not None:
        facets["symlinks"] = symlinks_dataset.SymlinksDatasetFacet(
            [symlinks_dataset.Identifier(namespace=namespace, name=access.name, type="TABLE")],
            producer=PRODUCER,
        )
    return facets
