"""Scorers: a loaded model version that turns typed input into answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from headrace.errors import HeadraceError
from headrace.payloads.answer import Answers
from headrace.payloads.arrays import numpy_column
from headrace.payloads.codec import parse
from headrace.payloads.inputs import Inputs
from headrace.serving.errors import PredictionFailedError
from headrace.workers import kind_of

if TYPE_CHECKING:
    import numpy as np

    from headrace.kernels.runtime import Kernel
    from headrace.payloads.signature import Signature
    from headrace.serving.pool import ThreadPool
    from headrace.workers import Result, WorkerPool

log = logging.getLogger(__name__)

#: What the event loop may be held up for by one request of a kernel.
INLINE_SECONDS: Final = 0.002
#: Larger tables are made for workers, and read from them, in a thread.
INLINE_TABLE_ROWS: Final = 1024
SMOKE_SECONDS: Final = 60.0
_SMOOTHING: Final = 0.1


class Scorer(Protocol):
    """What the plane needs of a model, whatever runs it.

    Attributes:
        signature: the inputs.
        kind: ``kernel`` scores in this process, ``worker`` in processes of its own.
        loop: the event loop that ``predict`` must run in, or ``None`` if any will do.
    """

    @property
    def signature(self) -> Signature: ...

    @property
    def kind(self) -> Literal["kernel", "worker"]: ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...

    def example(self) -> bytes:
        """A JSON request of at least one row that the model should answer."""

    async def predict(
        self, inputs: Inputs, params: Mapping[str, Any] | None, deadline: float
    ) -> Answers:
        """One answer a row.

        Args:
            inputs: typed by the signature.
            params: MLflow's inference parameters.
            deadline: on ``time.monotonic()``.

        Raises:
            HeadraceError: the plane cannot, such as ``OverloadedError`` or
                ``DeadlineExceededError``.
            Exception: anything else is the model's own failure.
        """

    def predict_now(self, inputs: Inputs) -> Answers | None:
        """The answers where they take next to no time, else ``None``.

        Raises:
            Exception: the model's own failure.
        """

    def predict_together(self, several: Sequence[Inputs]) -> list[Answers] | None:
        """The answers to several requests in one call, each with the bits it would get alone.

        ``None`` where that is not possible; then each is to be asked for by itself.
        """

    def stats(self) -> Mapping[str, float]:
        """Gauges for ``/metrics``, by the name after ``headrace_worker_``."""

    def close(self) -> None:
        """Let go of its processes and memory. From any thread; does not wait."""


async def score(
    scorer: Scorer,
    inputs: Inputs,
    params: Mapping[str, Any] | None,
    deadline: float,
    model: str,
) -> Answers:
    """Run the model.

    Raises:
        PredictionFailedError: the model raised an error, or returned something else.
    """
    with _failing(model):
        return await scorer.predict(inputs, params, deadline)


def score_now(scorer: Scorer, inputs: Inputs, model: str) -> Answers | None:
    """Run the model if that takes next to no time.

    Raises:
        PredictionFailedError: the model raised an error.
    """
    with _failing(model):
        return scorer.predict_now(inputs)


class _failing:  # a context manager, and a cheap one
    """Turns what a model raises into an error of the plane's."""

    __slots__ = ("_model",)

    def __init__(self, model: str) -> None:
        self._model = model

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        # Errors of the plane and of workers word the model's failure themselves. A model is
        # foreign code: whatever else it raises concerns this request alone.
        if isinstance(error, Exception) and not isinstance(error, HeadraceError):
            log.info("%s failed", self._model, exc_info=error)
            raise PredictionFailedError(self._model, reason_of(error)) from error


def smoke(scorer: Scorer, model: str) -> None:
    """Send the example through the code that answers real requests; not in the event loop.

    Raises:
        HeadraceError: it cannot be read or scored; the message says why.
    """
    payload = parse(scorer.example(), "application/json")
    inputs = scorer.signature.typed(payload)
    deadline = time.monotonic() + SMOKE_SECONDS
    asked = score(scorer, inputs, payload.params, deadline, model)
    if scorer.loop is None:
        asyncio.run(asked)
    else:
        asyncio.run_coroutine_threadsafe(asked, scorer.loop).result(SMOKE_SECONDS + 5)


def reason_of(error: BaseException) -> str:
    """The type and the first line of an error, of bounded length."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


class KernelScorer:
    """A proven ONNX graph in this process.

    Small requests run on the event loop, which costs them nothing; a request that would hold it
    up for longer than ``INLINE_SECONDS`` at the pace measured so far runs in a thread.

    Args:
        kernel: the graph.
        signature: its inputs.
        example: a JSON request for the smoke test.
        pool: threads for large requests.
    """

    kind: Literal["kernel"] = "kernel"
    loop = None

    def __init__(
        self, kernel: Kernel, signature: Signature, example: bytes, pool: ThreadPool
    ) -> None:
        self.signature = signature
        self._kernel = kernel
        self._example = example
        self._pool = pool
        self._row_seconds = 0.0
        self._in_order = [spec.name for spec in signature.fields] == kernel.names

    def example(self) -> bytes:
        """The logged example, or a row of neutral values."""
        return self._example

    async def predict(
        self,
        inputs: Inputs,
        params: Mapping[str, Any] | None,  # noqa: ARG002  # a graph has no parameters
        deadline: float,
    ) -> Answers:
        """The graph's outputs as columns."""
        answers = self.predict_now(inputs)
        if answers is None:
            outputs = await self._pool.run(deadline, lambda: self._run(inputs))
            answers = Answers(outputs, None, inputs.rows)
        return answers

    def predict_now(self, inputs: Inputs) -> Answers | None:
        """Scored here, unless that would hold up the event loop."""
        rows = inputs.rows
        if rows * self._row_seconds > INLINE_SECONDS:
            return None
        return Answers(self._run(inputs), None, rows)

    def predict_together(self, several: Sequence[Inputs]) -> list[Answers] | None:
        """One call for all rows: a graph is read into the processor's cache once for them."""
        import numpy as np

        rows = sum(inputs.rows for inputs in several)
        matrices = [inputs.matrix for inputs in several if inputs.matrix is not None]
        together = self._in_order and len(matrices) == len(several)
        if not together or rows * self._row_seconds > INLINE_SECONDS:
            return None
        try:
            outputs = self._run(Inputs(rows, {}, matrix=np.concatenate(matrices)))
        except ValueError as error:
            # Of a row that the model refuses: its request is told, the others get their answers.
            log.debug("%d requests are scored one by one: %s", len(several), error)
            return None
        return Answers(outputs, None, rows).parts([inputs.rows for inputs in several])

    def _run(self, inputs: Inputs) -> Mapping[str, np.ndarray]:
        started = time.monotonic()
        if inputs.matrix is not None and self._in_order:
            outputs = self._kernel.predict_matrix(inputs.matrix)
        else:
            # A kernel's signature has names.
            outputs = self._kernel.predict(inputs.columns, inputs.rows)  # type: ignore[arg-type]
        if inputs.rows:
            seconds = (time.monotonic() - started) / inputs.rows
            known = self._row_seconds
            # A process that had to wait for the processor looks slow: one fast call mends that,
            # wherever it ran.
            self._row_seconds = min(seconds, known + _SMOOTHING * (seconds - known))
        return outputs

    def stats(self) -> Mapping[str, float]:
        """None: there are no workers."""
        return {}

    def close(self) -> None:
        """The memory goes with the last reference."""


class WorkerScorer:
    """Processes of the model's own environment.

    Args:
        pool: has started.
        signature: the model's inputs.
        example: a JSON request for the smoke test.
        loop: the event loop of the pool.
        threads: for large requests and answers, to make them tables and values.
    """

    kind: Literal["worker"] = "worker"

    def __init__(
        self,
        pool: WorkerPool,
        signature: Signature,
        example: bytes,
        loop: asyncio.AbstractEventLoop,
        threads: ThreadPool,
    ) -> None:
        self.signature = signature
        self.loop = loop
        self._threads = threads
        self._pool = pool
        self._example = example

    def example(self) -> bytes:
        """The logged example, or a row of neutral values."""
        return self._example

    def predict_now(self, inputs: Inputs) -> Answers | None:  # noqa: ARG002
        """Workers are awaited."""
        return None

    def predict_together(self, several: Sequence[Inputs]) -> list[Answers] | None:  # noqa: ARG002
        """Workers are awaited."""
        return None

    async def predict(
        self, inputs: Inputs, params: Mapping[str, Any] | None, deadline: float
    ) -> Answers:
        """What ``PyFuncModel.predict`` returns there."""
        rows = inputs.rows
        if rows <= INLINE_TABLE_ROWS:
            return answers_of(await self._pool.predict(inputs.arrow(), params, deadline), rows)
        table = await self._threads.run(deadline, inputs.arrow)
        result = await self._pool.predict(table, params, deadline)
        return await self._threads.run(deadline, lambda: answers_of(result, rows))

    def stats(self) -> Mapping[str, float]:
        """Workers, those that start and are busy, queue, restarts, memory, median seconds."""
        return {
            name: float(value)
            for name, value in asdict(self._pool.stats()).items()
            if value is not None
        }

    def close(self) -> None:
        """Answer what waits, and end the processes."""
        asyncio.run_coroutine_threadsafe(self._pool.close(), self.loop)


def answers_of(result: Result, rows: int) -> Answers:
    """A worker's result as answers.

    Raises:
        ValueError: it is not one prediction a row.
    """
    import numpy as np

    kind = kind_of(result)
    if isinstance(result, list):
        return Answers.of(result, rows)
    if kind in ("vector", "matrix"):
        columns = [numpy_column(result.column(name)) for name in result.column_names]
        return Answers.of(columns[0] if kind == "vector" else np.column_stack(columns), rows)
    return Answers.of_table(result, rows)
