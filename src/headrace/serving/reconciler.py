"""Makes the plane what the database says: loads models, makes the steps of rollouts, retires.

The database is polled ten times a second by the endpoints' revision numbers. While it is locked
or away, the plane goes on with what it knows; at a start without it, with what the cache says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from headrace.catalog import Store, guards
from headrace.catalog.errors import DatabaseUnavailableError
from headrace.endpoints import rollout
from headrace.endpoints.observed import WRITE_SECONDS, ObservedFile
from headrace.endpoints.records import (
    Deployment,
    EndpointRecord,
    Revision,
    model_directory,
    read_cache,
    read_endpoints,
    revisions,
    write_cache,
)
from headrace.endpoints.routing import Router
from headrace.errors import HeadraceError
from headrace.parity.store import Subject, keep
from headrace.payloads.errors import ModelNotServableError
from headrace.serving.live import Live, LiveDeployment, LiveEndpoint
from headrace.serving.mirror import Mirror
from headrace.serving.parity import NotAsTrainedError, check_live
from headrace.serving.rollouts import Rollouts
from headrace.serving.scorer import Scorer, reason_of, smoke

if TYPE_CHECKING:
    from headrace.parity import ParityReport
    from headrace.settings import Paths
    from headrace.workers.spec import WorkerSpec

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
#: Overrides are looked for so often: they are shown, and change nothing here.
OVERRIDES_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 5.0
OPEN_SECONDS: Final = 2.0
#: How long a deployment that gets no more requests is kept: one may have been routed to it just
#: before, and not have reached it yet.
GRACE_SECONDS: Final = 2.0
#: Models that are loaded at a time: building an environment takes minutes, in which another
#: endpoint's model is not to wait.
_LOADERS: Final = 2

#: What answers is loaded before what is to answer, and that before what only stands by.
_FIRST: Final = {"ready": 0, "loading": 1, "standby": 2}

Loader = Callable[[Deployment, str, Path | None], tuple[Scorer, Path]]


@dataclass(frozen=True)
class Loaded:
    """A model that answers.

    Attributes:
        scorer: what answers.
        path: the model's directory.
        reports: what is to be kept of the comparison with its training.
    """

    scorer: Scorer
    path: Path
    reports: tuple[ParityReport, ...] = ()


class Reconciler:
    """``tick()`` is called by one thread; ``live`` is what it maintains.

    Args:
        paths: the project.
        live: the state that requests see.
        loader: loads a deployment's model; it runs in other threads.
        mirror: gets told which deployments copies of requests go to.
    """

    def __init__(
        self, paths: Paths, live: Live, loader: Loader, mirror: Mirror | None = None
    ) -> None:
        self.paths = paths
        self.live = live
        self.mirror = mirror or Mirror()
        self.store: Store | None = None
        self._loader = loader
        self._cache = paths.state / "serving.json"
        self._records: dict[str, EndpointRecord] = {}
        self._seen: dict[str, Revision] | None = None
        self._loaded: dict[str, LiveDeployment] = {}
        self._loading: dict[str, Future[Loaded]] = {}
        self._not_before: dict[str, float] = {}
        self._workers: dict[str, WorkerSpec] = {}
        self._models: dict[str, str] = {}
        self._problems: dict[str, str] = {}
        self._leaving: list[tuple[float, LiveDeployment]] = []
        self._rollouts = Rollouts()
        self._observed = ObservedFile(paths)
        self._pictured = 0.0
        self._overrides_due = 0.0
        self._pool = ThreadPoolExecutor(_LOADERS, thread_name_prefix="loader")
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._opening: Future[Store] | None = None
        self._away: str | None = None
        self._started = False

    def close(self) -> None:
        """Start nothing more; a model that is being loaded is left to the end of the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._opener.shutdown(wait=False, cancel_futures=True)

    def tick(self) -> None:
        """One round: read, load, publish, move on. Never raises for a database that is away."""
        reachable = self._read()
        self._collect()
        # Before loading: the loader looks up there how an endpoint's workers are bounded.
        self._publish()
        self._load_missing()
        self._let_go()
        if reachable:
            self._database(self._move_on)
        self._picture()

    def _read(self) -> bool:
        reachable = self._database(self._read_database)
        if not self._started:
            self._started = True
            if not reachable:
                self._read_cache()
        return reachable

    def _read_database(self) -> None:
        if self.store is None:
            self.store = self._open()
            self._models = self._cached_models()
        seen = revisions(self.store)
        if seen != self._seen:
            self._records = read_endpoints(self.store)
            self._seen = seen
            self._write_cache()
        if time.monotonic() >= self._overrides_due:
            self._overrides_due = time.monotonic() + OVERRIDES_SECONDS
            self.live.overrides = guards.overrides(self.store)

    def _open(self) -> Store:
        """The database, opened in another thread: a lock on it must not hold up the start."""
        url = make_url(self.paths.database_url)
        file = url.database if url.get_backend_name() == "sqlite" else None
        if file and not Path(file).exists() and self._cache.exists():
            # Opening it would make an empty one, in which no endpoint exists.
            raise DatabaseUnavailableError(self.paths.database_url, f"{file} is gone")
        if self._opening is None:
            self._opening = self._opener.submit(Store.open, self.paths.database_url)
        try:
            store = self._opening.result(timeout=0 if self._started else OPEN_SECONDS)
        except FutureTimeoutError:
            raise DatabaseUnavailableError(
                self.paths.database_url, "it does not open yet"
            ) from None
        except Exception:
            # Whatever it was: the next round tries anew.
            self._opening = None
            raise
        self._opening = None
        return store

    def _database(self, action: Callable[[], None]) -> bool:
        """Whether the action reached the database; says so once when that changes."""
        try:
            action()
        except (SQLAlchemyError, DatabaseUnavailableError) as error:
            if self._away is None:
                log.warning("the database is away, going on with the last known state: %s", error)
            self._away = str(error)
            return False
        if self._away is not None:
            log.warning("the database is back")
            self._away = None
        return True

    def _cached_models(self) -> dict[str, str]:
        try:
            return read_cache(self._cache)[1]
        except ValueError as error:
            log.warning("%s", error)
            return {}

    def _read_cache(self) -> None:
        try:
            self._records, self._models = read_cache(self._cache)
        except ValueError as error:
            log.warning("%s", error)

    def _write_cache(self) -> None:
        wanted = {d.model_id for record in self._records.values() for d in record.deployments}
        self._models = {name: path for name, path in self._models.items() if name in wanted}
        try:
            write_cache(self._cache, self._records, self._models)
        except OSError as error:
            # Only a start without the database needs it.
            log.warning("the last known state cannot be kept: %s", error)

    def _deployments(self) -> list[Deployment]:
        return [d for record in self._records.values() for d in record.deployments]

    def _load_missing(self) -> None:
        wanted = [d for d in self._deployments() if d.state != "draining"]
        for deployment in sorted(wanted, key=lambda d: _FIRST[d.state]):
            identifier = deployment.id
            settings = self._records[deployment.endpoint].spec.workers
            if identifier in self._loading or self._is_current(identifier, settings):
                continue
            if self._not_before.get(identifier, 0.0) <= time.monotonic():
                path = self._models.get(deployment.model_id)
                self._workers[identifier] = settings
                self._loading[identifier] = self._pool.submit(
                    self._load, deployment, Path(path) if path else None
                )

    def _is_current(self, deployment: str, settings: WorkerSpec) -> bool:
        """Whether it is loaded, and its workers with the present settings."""
        loaded = self._loaded.get(deployment)
        if loaded is None:
            return False
        return loaded.scorer.kind == "kernel" or self._workers.get(deployment) == settings

    def _let_go(self) -> None:
        """Forget what is no longer deployed, and close its model after its last request."""
        active = {d.id for d in self._deployments()}
        for known in (self._problems, self._not_before, self._workers):
            for identifier in known.keys() - active:
                del known[identifier]
        self._rollouts.forget(active)
        for identifier in self._loaded.keys() - active:
            self._dismiss(self._loaded.pop(identifier))
        kept = []
        for leaves, deployment in self._leaving:
            if deployment.idle and leaves <= time.monotonic():
                deployment.close()
            else:
                kept.append((leaves, deployment))
        self._leaving = kept

    def _dismiss(self, deployment: LiveDeployment) -> None:
        self._leaving.append((time.monotonic() + GRACE_SECONDS, deployment))

    def _load(self, deployment: Deployment, known: Path | None) -> Loaded:
        """In a loader's thread."""
        if known is None and self.store is not None:
            try:
                known = model_directory(self.store, deployment.model_id)
            except SQLAlchemyError as error:
                log.info("MLflow's client is asked instead of the database: %s", error)
        scorer: Scorer | None = None
        try:
            scorer, path = self._loader(deployment, self.paths.database_url, known)
            smoke(scorer, deployment.model)
            reports = self._compared(deployment, scorer, path)
        except Exception as error:
            if scorer is not None:
                scorer.close()
            if isinstance(error, HeadraceError):
                raise
            # Whatever is wrong with one model must not end the plane, and the others with it.
            log.exception("%s does not load", deployment.model)
            raise ModelNotServableError(
                deployment.model, f"it does not load: {reason_of(error)}", "headrace doctor"
            ) from error
        return Loaded(scorer, path, reports)

    def _compared(
        self, deployment: Deployment, scorer: Scorer, path: Path
    ) -> tuple[ParityReport, ...]:
        """The recorded rows through the scorer.

        What has answered before goes on answering, and its report tells.

        Raises:
            NotAsTrainedError: it is to take its first traffic, and does not answer as trained.
        """
        reports = check_live(scorer, path, deployment.model_name, deployment.model_version)
        if all(report.agreed is not False for report in reports):
            return tuple(reports) if deployment.state == "loading" else ()
        error = NotAsTrainedError(deployment.model, reports)
        if deployment.state == "loading":
            raise error
        log.error("%s %s: %s", deployment.endpoint, deployment.colour, error)
        return tuple(reports)

    def _keep(self, deployment: Deployment, reports: Iterable[ParityReport]) -> bool:
        """Whether the reports reached the database; they are the same when told again."""
        store = self.store
        subject = Subject(
            deployment.model_name, deployment.model_version, deployment.endpoint, deployment.id
        )
        return store is not None and self._database(lambda: keep(store, subject, reports))

    def _collect(self) -> None:
        """Take in the models that have been loaded or have failed to."""
        current = {d.id: d for d in self._deployments()}
        for identifier, future in list(self._loading.items()):
            if not future.done():
                continue
            deployment = current.get(identifier)
            try:
                loaded = future.result()
            except HeadraceError as error:
                settled = deployment is None or self._failed(deployment, error)
                if deployment is not None and settled:
                    log.warning("%s %s: %s", deployment.endpoint, deployment.colour, error)
            else:
                settled = True
                if deployment is None:
                    loaded.scorer.close()
                else:
                    settled = self._succeeded(deployment, loaded)
            if settled:
                del self._loading[identifier]

    def _succeeded(self, deployment: Deployment, loaded: Loaded) -> bool:
        """Whether the news reached the database; else it is told again in the next round."""
        kept = not loaded.reports or self._keep(deployment, loaded.reports)
        if deployment.state == "loading":
            store = self.store
            if (
                store is None
                or not kept
                or not self._database(
                    lambda: rollout.mark_ready(store, deployment.endpoint, deployment.id)
                )
            ):
                return False
        self._problems.pop(deployment.id, None)
        self._models[deployment.model_id] = str(loaded.path)
        fresh = LiveDeployment(deployment, loaded.scorer)
        before = self._loaded.get(deployment.id)
        if before is not None:
            fresh.observations = before.observations
            self._dismiss(before)
        self._loaded[deployment.id] = fresh
        self._database(self._read_database)
        self._write_cache()
        return True

    def _failed(self, deployment: Deployment, error: HeadraceError) -> bool:
        """Whether the news reached the database; else it is told again in the next round."""
        store = self.store
        if deployment.state == "loading":
            reason = f"{error.what} {error.why or ''}".strip()
            if isinstance(error, NotAsTrainedError) and not self._keep(deployment, error.reports):
                return False
            return store is not None and self._database(
                lambda: rollout.mark_failed(store, deployment.endpoint, deployment.id, reason)
            )
        # It has answered before: the cause may pass.
        self._problems[deployment.id] = error.why or error.what
        self._models.pop(deployment.model_id, None)
        # Its earlier workers, with the earlier settings, may be answering still.
        self._workers.pop(deployment.id, None)
        self._not_before[deployment.id] = time.monotonic() + RETRY_SECONDS
        return True

    def _publish(self) -> None:
        endpoints: dict[str, LiveEndpoint] = {}
        targets = {}
        for name, record in self._records.items():
            before = self.live.endpoints.get(name)
            router = before.router if before else None
            if record.split is None:
                router = None
            elif router is None or router.split != record.split:
                router = Router(record.split)
            loaded = {
                d.colour: self._loaded[d.id]
                for d in record.deployments
                if d.state == "ready" and d.id in self._loaded
            }
            problems = (self._problems.get(d.id) for d in record.deployments if d.state == "ready")
            problem = next((problem for problem in problems if problem), None)
            endpoints[name] = LiveEndpoint(record, router, loaded, problem)
            self._rollouts.observe(record, self._loaded)
            target = self._rollouts.target(record, self._loaded)
            if target is not None:
                targets[name] = target
        self.live.endpoints = endpoints
        self.mirror.targets = targets
        if self._records or self._seen is not None:
            self.live.known = True
            self.live.ready = self.live.ready or all(map(self._is_up, self._records.values()))

    def _is_up(self, record: EndpointRecord) -> bool:
        """Whether all that has traffic is loaded, or cannot be; what is new is waited for only
        where nothing answers yet."""
        ready = [d.id for d in record.deployments if d.state == "ready"]
        answers = any(identifier in self._loaded for identifier in ready)
        waits = any(d.state == "loading" for d in record.deployments)
        settled = self._loaded.keys() | self._problems.keys()
        return settled.issuperset(ready) and (answers or not waits)

    def _move_on(self) -> None:
        """Make the steps that are due, and retire what has drained."""
        store = self.store
        if store is None:
            return
        for record in self._records.values():
            for deployment in record.deployments:
                loaded = self._loaded.get(deployment.id)
                if deployment.state == "draining" and (loaded is None or loaded.idle):
                    rollout.retire(store, record.name, deployment.id)
            self._rollouts.move(store, record, self._loaded)

    def _picture(self) -> None:
        """Write for the command line what has been observed."""
        if time.monotonic() < self._pictured:
            return
        self._pictured = time.monotonic() + WRITE_SECONDS
        endpoints = {
            name: {
                "deployments": self._rollouts.snapshot(record, self._loaded),
                "mirror": dict(self.mirror.counts.get(name, {})),
            }
            for name, record in self._records.items()
        }
        try:
            self._observed.write(endpoints)
        except OSError as error:
            log.warning("what was observed cannot be written: %s", error)
