"""A pool of workers: requests in, predictions out, on one event loop."""

from __future__ import annotations

import asyncio
import logging
import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.workers.batching import Pace, Queue, Request, batch_key
from headrace.workers.crew import Crew, make_home
from headrace.workers.errors import (
    ModelFailedError,
    PoolClosedError,
    WorkerDeadlineError,
    WorkerDiedError,
    WorkersBusyError,
    WorkerStartError,
    WorkersUnavailableError,
)
from headrace.workers.result import Result, decode, encode
from headrace.workers.scaling import Backoff, Scaling
from headrace.workers.stats import WorkerStats

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.environments import Environment
    from headrace.workers.spec import WorkerSpec
    from headrace.workers.worker import Message, Worker

log = logging.getLogger(__name__)

_TICK: Final = 0.1
_QUEUED_BYTES: Final = 256 << 20
_KEPT_SECONDS: Final = 512


class WorkerPool:
    """The workers of one deployment.

    Its methods belong to one event loop. The process that holds it needs neither MLflow nor
    pandas.

    Args:
        model: directory of an MLflow model.
        environment: whose Python the workers run with.
        spec: bounds.
        directory: where the workers have their temporary files; private to its owner.
        name: of the model in messages.
        proof: asked before a worker loads the model; raises where it may not.
    """

    def __init__(
        self,
        model: Path,
        environment: Environment,
        spec: WorkerSpec,
        directory: Path,
        name: str | None = None,
        proof: Callable[[], None] | None = None,
    ) -> None:
        self.model, self.environment, self.spec = model.absolute(), environment, spec
        self.name = name or str(model)
        self._directory, self._proof = directory, proof
        self._crew: Crew | None = None
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []  # the last one is used first, so that others can go
        self._starting = 0
        self._restarts = 0
        self._queue = Queue()
        self._pace = Pace()
        self._seconds: deque[float] = deque(maxlen=_KEPT_SECONDS)
        self._start_seconds: float | None = None
        self._scaling = Scaling(spec)
        self._backoff = Backoff()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._closing = False

    async def start(self) -> None:
        """Start the first worker, and wait until it has loaded the model; others follow.

        Raises:
            WorkerStartError: the model does not load, with the reason.
        """
        self._loop = asyncio.get_running_loop()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        home = make_home(self._directory)
        self._crew = Crew(self.name, self.model, self.environment, self.spec, home, self._proof)
        try:
            await self.add()
            if self._closing:
                raise PoolClosedError(self.name)
        except BaseException:
            self._closing = True
            self._retire_all()
            await self._end(self._crew)
            raise
        self._keeper = asyncio.create_task(self._keep())

    async def predict(
        self, table: pa.Table, params: Mapping[str, Any] | None, deadline: float
    ) -> Result:
        """Predictions of the rows, one a row.

        Args:
            table: typed by the model's signature.
            params: of the request, as JSON has them.
            deadline: moment on the clock of ``time.monotonic()``.

        Raises:
            ModelFailedError: the model raised an error on these rows.
            WorkerDeadlineError: there was no answer in time.
            WorkerDiedError: the worker ended while it worked on these rows.
            WorkersBusyError: the queue is longer than the deadline; at once.
            WorkersUnavailableError: no worker runs, and none comes in time.
            PoolClosedError: the pool is closed.
        """
        if self._closing or self._keeper is None:
            raise PoolClosedError(self.name)
        now = self._loop.time()
        seconds = deadline - time.monotonic()
        self._admit(now, seconds, table.get_total_buffer_size())
        request = Request(
            table, params, batch_key(table, params), now + seconds, now, self._loop.create_future()
        )
        self._queue.add(request)
        self._pace.arrived(len(self._queue) + self._sent)
        self._pump()
        if not self._workers:
            self._nudge.set()
        try:
            async with asyncio.timeout(seconds):
                return await request.future
        except TimeoutError:
            raise WorkerDeadlineError(self.name, seconds) from None
        finally:
            if not request.future.done() or request.future.cancelled():
                request.future.cancel()
                self._queue.discard(request)

    def stats(self) -> WorkerStats:
        """Numbers of this moment."""
        return WorkerStats(
            workers=len(self._workers),
            starting=self._starting,
            busy=sum(1 for worker in self._workers if worker.busy),
            queued=len(self._queue),
            restarts=self._restarts,
            memory=sum(worker.resident() for worker in self._workers),
            predict_seconds=statistics.median(self._seconds) if self._seconds else None,
            start_seconds=self._start_seconds,
        )

    def pids(self) -> list[int]:
        """The processes of the workers that have the model loaded."""
        return [worker.child.pid for worker in self._workers]

    @property
    def preloaded(self) -> bool:
        """Whether the next worker is forked from a process with the libraries imported."""
        return self._crew is not None and self._crew.preloaded

    async def close(self) -> None:
        """Take no more requests, answer those that wait, and end the workers."""
        if self._closing:
            return
        self._closing = True
        while self._queue.oldest() or any(worker.busy for worker in self._workers):
            await asyncio.sleep(0.01)  # each of them has a deadline
        if self._keeper is None:
            return
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        assert self._crew is not None  # noqa: S101  # made with the keeper
        self._retire_all()
        await self._end(self._crew)

    async def _end(self, crew: Crew) -> None:
        await crew.close()
        self._retire_all()  # one can have come up meanwhile
        while self._workers or self._tasks:
            await asyncio.sleep(0)  # until the loop has told that they are lost
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, crew.home, ignore_errors=True)

    def _retire_all(self) -> None:
        for worker in self._workers:
            worker.retired = True
            worker.kill("the deployment closed")

    # Requests

    def _admit(self, now: float, seconds: float, size: int) -> None:
        if not self._workers and not self._starting and self._backoff.reason:
            left = self._backoff.until - now
            if left > seconds:
                raise WorkersUnavailableError(self.name, self._backoff.reason, left)
        expected = self._pace.queue_seconds(
            len(self._queue), self._queue.rows, self.spec.batch_rows, len(self._workers)
        )
        if expected and not self._idle:
            expected += self._pace.call or 0.0
        full = len(self._queue) > 0 and self._queue.size + size > _QUEUED_BYTES
        if full or (self._workers and expected > seconds):
            raise WorkersBusyError(self.name, len(self._queue), expected)

    def _pump(self) -> None:
        """Give idle workers what they can do now."""
        while self._idle:
            oldest = self._queue.oldest()
            if oldest is None:
                return
            now = self._loop.time()
            due = oldest.arrived + self._wait(oldest)
            if due > now:
                if self._timer is None:
                    self._timer = self._loop.call_at(due, self._waited)
                return
            batch = self._queue.take(self.spec.batch_rows)
            self._scaling.waited(now - batch[0].arrived)
            self._send(self._idle.pop(), batch)

    def _wait(self, oldest: Request) -> float:
        if oldest.alone or self._queue.rows >= self.spec.batch_rows:
            return 0.0
        most = self.spec.batch_wait.total_seconds()
        return self._pace.wait(len(self._queue), self._sent, len(self._workers), most)

    @property
    def _sent(self) -> int:
        return sum(len(worker.busy) for worker in self._workers)

    def _waited(self) -> None:
        self._timer = None
        self._pump()

    def _send(self, worker: Worker, batch: list[Request]) -> None:
        import pyarrow as pa

        table = batch[0].table
        if len(batch) > 1:
            # In one piece, as each costs its time to send and to read.
            table = pa.concat_tables([request.table for request in batch]).combine_chunks()
        params = batch[0].params
        header = {"params": dict(params)} if params else {}
        worker.send(batch, header, encode(table))
        # Nobody waits for it any more then.
        worker.late = self._loop.call_at(
            max(request.deadline for request in batch),
            worker.kill,
            "it was still predicting at the deadline",
        )

    def _answered(self, worker: Worker, message: Message) -> None:
        header, payload = message
        # First, as a worker that answers nonsense is ended, with its batch.
        result = decode(str(header["kind"]), payload) if "kind" in header else None
        batch, worker.busy = worker.busy, []
        now = self._loop.time()
        if worker.late is not None:
            worker.late.cancel()
        self._seconds.append(float(header.get("seconds", 0.0)))
        self._pace.predicted(now - worker.sent, sum(request.rows for request in batch))
        self._backoff.worked(worker.opened)
        worker.idle_since = now
        # Now, so that a request that comes next does not pay for what this one left behind.
        if not self._over_memory(worker):
            self._idle.append(worker)
        if result is None:
            self._failed(batch, str(header.get("error")), str(header.get("reason")))
        else:
            self._give(batch, result)
        self._pump()

    def _failed(self, batch: list[Request], kind: str, reason: str) -> None:
        if len(batch) > 1:
            self._alone(batch)
        elif not batch[0].future.done():
            batch[0].future.set_exception(ModelFailedError(self.name, kind, reason))

    def _give(self, batch: list[Request], result: Result) -> None:
        start = 0
        for request in batch:
            part = result
            if len(batch) > 1:
                part = (
                    result[start : start + request.rows]
                    if isinstance(result, list)
                    else result.slice(start, request.rows)
                )
            start += request.rows
            if not request.future.done():
                request.future.set_result(part)

    def _alone(self, batch: list[Request]) -> None:
        """Let each request of a call that failed try alone: one of them is to blame."""
        again = [request for request in batch if not request.future.done()]
        for request in again:
            request.alone = True
        self._queue.put_back(again)

    # Workers

    async def add(self) -> None:
        """Start a worker more, whatever the load, and wait until it takes requests.

        Raises:
            WorkerStartError: the model does not load, with the reason.
        """
        assert self._crew is not None  # noqa: S101  # made at the start
        self._starting += 1
        started = self._loop.time()
        try:
            worker = await self._crew.open(self._answered, self._lost)
        finally:
            self._starting -= 1
        self._start_seconds = self._loop.time() - started
        how = "forked" if worker.child.forked else "started"
        log.info("%s: a worker was %s in %.1f s", self.name, how, self._start_seconds)
        worker.opened = worker.idle_since = self._loop.time()
        self._workers.add(worker)
        self._idle.append(worker)
        self._pump()

    def _lost(self, worker: Worker) -> None:
        """A worker's socket closed, whoever wanted that."""
        if worker.late is not None:
            worker.late.cancel()
        if worker in self._idle:
            self._idle.remove(worker)
        if worker not in self._workers:
            return  # it was never ready: who started it deals with it
        self._workers.discard(worker)
        batch, worker.busy = worker.busy, []
        if len(batch) > 1:
            self._alone(batch)
            batch = []
        self._spawn(self._bury(worker, batch))
        self._nudge.set()
        self._pump()

    async def _bury(self, worker: Worker, alone: list[Request]) -> None:
        assert self._crew is not None  # noqa: S101  # made at the start
        how = await self._crew.dismiss(worker)
        if worker.retired:
            return
        self._restarts += 1
        self._backoff.died(self._loop.time(), how)
        log.warning("%s: a worker ended: %s", self.name, how)
        log.debug("%s: its last words: %s", self.name, worker.last_words)
        for request in alone:
            if not request.future.done():
                request.future.set_exception(WorkerDiedError(self.name, how))
        self._nudge.set()

    async def _keep(self) -> None:
        """Keep as many workers as are wanted, until cancelled."""
        while True:
            with suppress(TimeoutError):  # it looks each so often in any case
                async with asyncio.timeout(_TICK):
                    await self._nudge.wait()
            self._nudge.clear()
            self._tick(self._loop.time())

    def _tick(self, now: float) -> None:
        for worker in list(self._workers):
            if self._over_memory(worker) and worker in self._idle:
                self._idle.remove(worker)  # a request that comes now is not for it
        oldest = self._queue.oldest()
        age = now - oldest.arrived if oldest else 0.0
        wanted = self._scaling.wanted(
            len(self._workers), self._starting, age, asked=oldest is not None
        )
        have = len(self._workers) + self._starting
        if have < wanted and now >= self._backoff.until and not self._starting:
            self._spawn(self._replace())
        elif have > wanted:
            self._retire(now)

    def _over_memory(self, worker: Worker) -> bool:
        """End a worker that takes more memory than it may."""
        resident = worker.resident()
        if resident <= self.spec.memory:
            return False
        worker.kill(f"it took {resident >> 20} MiB of memory, of {self.spec.memory >> 20} allowed")
        return True

    async def _replace(self) -> None:
        try:
            await self.add()
        except WorkerStartError as error:
            self._backoff.died(self._loop.time(), error.why or error.what)
            log.warning("%s: a worker does not start: %s", self.name, error.why)
            self._give_up()
        self._nudge.set()

    def _give_up(self) -> None:
        """Tell requests that no worker comes for in their time."""
        if self._workers:
            return
        now = self._loop.time()
        left = self._backoff.until - now
        for request in self._queue.drain():
            if request.deadline < self._backoff.until:
                error = WorkersUnavailableError(self.name, self._backoff.reason or "", left)
                request.future.set_exception(error)
            else:
                self._queue.add(request)

    def _retire(self, now: float) -> None:
        """End the worker that has been idle longest, if that is long enough."""
        if self._idle and now - self._idle[0].idle_since > self.spec.idle.total_seconds():
            worker = self._idle.pop(0)
            worker.retired = True
            worker.kill("it had nothing to do")

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s: %s", self.name, error, exc_info=error)
