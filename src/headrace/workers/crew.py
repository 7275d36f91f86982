"""Hiring and dismissing: workers of one deployment, fresh or forked from a template."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.errors import HeadraceError
from headrace.workers.errors import WorkerStartError
from headrace.workers.launch import Child, NoForkError, Template, environment_of, start
from headrace.workers.worker import Message, Worker

if TYPE_CHECKING:
    from headrace.environments import Environment
    from headrace.workers.spec import WorkerSpec

log = logging.getLogger(__name__)

_TEMPLATES: Final = 3


class Crew:
    """Opens worker processes, and waits for their end.

    Args:
        name: of the model in messages.
        model: its directory.
        environment: whose Python they run with.
        spec: bounds.
        home: where they have their temporary files.
        proof: asked before each of them loads the model; raises where it may not.
    """

    def __init__(
        self,
        name: str,
        model: Path,
        environment: Environment,
        spec: WorkerSpec,
        home: Path,
        proof: Callable[[], None] | None = None,
    ) -> None:
        self.name, self.model, self.environment, self.spec = name, model, environment, spec
        self.home, self.proof = home, proof
        self._made = 0
        self._opening: set[Worker] = set()
        self._closed = False
        self._template: Template | None = None
        self._spent: list[Template] = []
        self._templates_left = _TEMPLATES if spec.preload else 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(
        self, on_answer: Callable[[Worker, Message], None], on_lost: Callable[[Worker], None]
    ) -> Worker:
        """A worker that has loaded the model.

        Raises:
            WorkerStartError: it has not, with the reason.
        """
        await self._prove()
        self._made += 1
        home = self.home / str(self._made)
        config = {"model": str(self.model), "memory": int(self.spec.memory), "home": str(home)}
        worker = Worker(await self._process(config), home, on_answer, on_lost)
        limit = self.spec.start.total_seconds()
        self._opening.add(worker)
        try:
            async with asyncio.timeout(limit):
                told = await worker.load(config, told=worker.child.forked)
            if self._closed:
                raise WorkerStartError(self.name, "the deployment closed")
            if not told.get("ready"):
                raise WorkerStartError(self.name, await _why(worker, told))
        except BaseException as error:
            self._spawn(self.dismiss(worker))
            if isinstance(error, TimeoutError):
                raise WorkerStartError(self.name, f"it took longer than {limit:g} s") from None
            raise
        finally:
            self._opening.discard(worker)
        self._preload(list(told["modules"]))
        return worker

    async def dismiss(self, worker: Worker) -> str:
        """End a worker, or bury one that ended; how it ended, in words."""
        how = await worker.end()
        await asyncio.to_thread(shutil.rmtree, worker.home, ignore_errors=True)
        return how

    async def close(self) -> None:
        """End what is being opened, and the template."""
        self._closed = True
        for worker in self._opening:
            worker.kill("the deployment closed")
        for template in [*self._spent, *([self._template] if self._template else [])]:
            await asyncio.to_thread(template.close)
        self._template = None
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def preloaded(self) -> bool:
        """Whether the next worker can be forked."""
        return self._template is not None and self._template.ready

    async def _prove(self) -> None:
        if self.proof is None:
            return
        try:
            await asyncio.to_thread(self.proof)
        except HeadraceError as error:
            raise WorkerStartError(self.name, f"{error.what} {error.why or ''}".strip()) from error
        except OSError as error:
            raise WorkerStartError(self.name, f"its evidence cannot be read: {error}") from error

    async def _process(self, config: dict[str, Any]) -> Child:
        starting = asyncio.ensure_future(asyncio.to_thread(self._child, config))
        try:
            return await asyncio.shield(starting)
        except OSError as error:
            raise WorkerStartError(self.name, f"its process does not start: {error}") from error
        except asyncio.CancelledError:
            await asyncio.to_thread((await starting).discard)
            raise

    def _child(self, config: dict[str, Any]) -> Child:
        template = self._template
        if template is not None and template.ready:
            try:
                return template.fork(config)
            except NoForkError as error:
                log.info("%s: no fork of the template: %s", self.name, error)
                template.broken = True
        if template is not None and template.broken:
            # Not ended yet: the workers that it forked would go with it.
            self._spent.append(template)
            self._template = None
        return start(self.environment.python, "worker", self.home, self._variables())

    def _preload(self, modules: list[str]) -> None:
        """Keep the libraries that a worker has imported in a template, from now on."""
        if self._template is None and self._templates_left and not self._closed:
            self._templates_left -= 1
            self._spawn(asyncio.to_thread(self._warm, modules))

    def _warm(self, modules: list[str]) -> None:
        try:
            self._template = template = Template(
                self.environment.python, self.home, self._variables()
            )
            if self._closed:
                template.close()
                return
            template.warm(modules, self.spec.start.total_seconds())
        except (NoForkError, OSError) as error:
            self._templates_left = 0
            log.info("%s: each worker starts afresh: %s", self.name, error)
            if self._template is not None:
                self._template.close()
                self._template = None

    def _variables(self) -> dict[str, str]:
        inherited = environment_of(os.environ, current=self.environment.current)
        return {**inherited, "TMPDIR": str(self.home)}

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def make_home(directory: Path) -> Path:
    """A directory for this process's workers; those of processes that were killed go."""
    for left in directory.glob("workers-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"workers-{os.getpid()}-", dir=directory))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _why(worker: Worker, told: Mapping[str, Any]) -> str:
    if told.get("failed"):
        return str(told["failed"])
    how = await worker.end()
    lines = worker.last_words.splitlines()
    return f"{how}: {lines[-1][:300]}" if lines else how
