"""What predicts a table's rows: the model's kernel, or the model itself in its environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.scoring.predict import KernelScorer, PyfuncScorer, Scorer
from headrace.settings import setting

if TYPE_CHECKING:
    from headrace.scoring.model import LocalModel

#: Rows that a model predicts at once. With the width of a row, the bound on its memory.
CHUNK_ROWS: Final = 32_768
#: Rows that a kernel predicts at once: they and their matrix stay in a core's cache.
KERNEL_CHUNK_ROWS: Final = 8_192
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
def choose(model: LocalModel, inputs: dict[str, str]) -> Iterator[Chosen]:
    """A proven kernel where the model has one; else the model, in an environment that fits it."""
    digest = _proven(model.path / "kernel")
    if digest is not None:
        yield Chosen(_kernel(model, inputs, digest), f"kernel {digest}")
        return
    yield Chosen(PyfuncScorer(str(model.path), inputs, model.optional, CHUNK_ROWS), "pyfunc")


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


def _proven(home: Path) -> str | None:
    import json

    try:
        report = json.loads((home / "kernel.json").read_bytes())
    except FileNotFoundError:
        return None
    return str(report["digest"]) if report["status"] == "proven" else None


def _kernel(model: LocalModel, inputs: dict[str, str], digest: str) -> KernelScorer:
    home = model.path / "kernel"
    files = None
    if not embedded() and sum(file.stat().st_size for file in home.iterdir()) <= SENT_BYTES:
        files = {file.name: file.read_bytes() for file in home.iterdir()}
    directory = None if files else str(home)
    return KernelScorer(digest, directory, files, inputs, model.optional, KERNEL_CHUNK_ROWS)
