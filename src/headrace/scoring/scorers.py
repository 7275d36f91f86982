"""What predicts a table's rows: the model's kernel, or the model itself in its environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.scoring.crews import WorkerScorer, working
from headrace.scoring.errors import KernelTooLargeError
from headrace.scoring.layout import for_many_rows
from headrace.scoring.predict import KernelScorer, PyfuncScorer, Scorer
from headrace.settings import setting

if TYPE_CHECKING:
    from headrace.scoring.model import LocalModel

#: Rows that a model predicts at once. With the width of a row, the bound on its memory.
CHUNK_ROWS: Final = 32_768
#: Rows that a kernel predicts at once: they and their matrix stay in a core's cache.
KERNEL_CHUNK_ROWS: Final = 16_384
#: A graph up to here is sent with the function to an engine that does not share the disk.
SENT_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class Chosen:
    """What predicts, and its name in the record of scorings.

    Attributes:
        scorer: for ``predict.predictor``.
        name: ``kernel DIGEST``, ``environment DIGEST`` or ``pyfunc``.
    """

    scorer: Scorer
    name: str


@contextmanager
def choose(model: LocalModel, inputs: dict[str, str], table: str) -> Iterator[Chosen]:
    """A proven kernel where the model has one; else the model, in an environment that fits it.

    Args:
        model: the model.
        inputs: signature type by column of its inputs that the table has.
        table: of predictions, for messages.

    Raises:
        EnvironmentBuildError: the model needs libraries that cannot be installed.
        KernelTooLargeError: the kernel is too large to be sent to a remote engine.
    """
    from headrace.kernels import read_report

    report = read_report(model.path)
    if report is not None and report.proven and inputs.keys() == model.inputs.keys():
        assert report.digest is not None  # noqa: S101  # a proven one has a graph
        scorer = _kernel(model, inputs, report.digest, table)
        yield Chosen(scorer, f"kernel {report.digest}")
        return
    pyfunc = PyfuncScorer(str(model.path), inputs, model.optional, CHUNK_ROWS)
    if not embedded():
        yield Chosen(pyfunc, "pyfunc")  # in the environment that the engine's workers have
        return
    from headrace.environments import ensure, lock_of

    environment = ensure(lock_of(model.path))
    if environment.current:
        yield Chosen(pyfunc, "pyfunc")
        return
    from headrace.workers import BatchWorker

    workers = [BatchWorker(model.path, environment) for _ in range(parallel_parts() or 1)]
    with working(workers) as crew:
        crewed = WorkerScorer(crew, inputs, model.optional, CHUNK_ROWS)
        yield Chosen(crewed, f"environment {environment.digest}")


@contextmanager
def sent_whole() -> Iterator[None]:
    """Functions that are pickled in this context need not be installed where they run.

    Not for the embedded engine, which runs them in this process: there, unpickling a class by
    value would replace the methods of the class itself.
    """
    from pyspark import cloudpickle

    from headrace.kernels import runtime
    from headrace.scoring import columns, predict

    modules = () if embedded() else (predict, columns, runtime)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def embedded() -> bool:
    """Whether the engine runs in this process."""
    return setting("HEADRACE_ENGINE") == "sail"


def parallel_parts() -> int | None:
    """Parts that the embedded engine predicts at once: one a core.

    Sail reads each file in one part, so that a table of one file would keep one core busy.
    """
    return len(os.sched_getaffinity(0)) if embedded() else None


def _kernel(model: LocalModel, inputs: dict[str, str], digest: str, table: str) -> KernelScorer:
    home = for_many_rows(model.path)
    files = None
    if not embedded():
        files = {file.name: file.read_bytes() for file in sorted(home.iterdir())}
        size = sum(map(len, files.values()))
        if size > SENT_BYTES:
            raise KernelTooLargeError(table, model.name, size, SENT_BYTES)
    directory = None if files else str(home)
    return KernelScorer(digest, directory, files, inputs, model.optional, KERNEL_CHUNK_ROWS)
