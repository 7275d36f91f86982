"""What the plane answers with right now: endpoints, their loaded deployments, the routing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.endpoints.errors import EndpointNotFoundError, NoLiveDeploymentError
from headrace.endpoints.routing import Router, other

if TYPE_CHECKING:
    from headrace.endpoints.records import Deployment, EndpointRecord
    from headrace.serving.scorer import Scorer


class LiveDeployment:
    """A loaded deployment and the number of requests it is answering."""

    def __init__(self, record: Deployment, scorer: Scorer) -> None:
        self.record = record
        self.scorer = scorer
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        with self._lock:
            return self._busy == 0

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Counts a request for as long as it lasts."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1


@dataclass(frozen=True)
class LiveEndpoint:
    """One endpoint as requests see it: immutable, replaced as a whole by the reconciler."""

    record: EndpointRecord
    router: Router | None
    loaded: Mapping[str, LiveDeployment] = field(default_factory=dict)
    problem: str | None = None

    def route(self, key: str | None) -> LiveDeployment:
        """The deployment that answers a request with this key, or without one.

        Where the chosen colour is not loaded, as after a restart, the other answers.

        Raises:
            NoLiveDeploymentError: neither is loaded.
        """
        if self.router is None:
            raise NoLiveDeploymentError(self.record.name, self.reason())
        colour = self.router.route(key)
        found = self.loaded.get(colour) or self.loaded.get(other(colour))
        if found is None:
            raise NoLiveDeploymentError(self.record.name, self.reason())
        return found

    def reason(self) -> str:
        """Why nothing answers."""
        if self.problem:
            return self.problem
        if any(d.state in ("loading", "ready") for d in self.record.deployments):
            return "its model is being loaded"
        return "no deployment has become ready"


class Live:
    """All endpoints; swapped in one assignment, so that a request sees one state.

    Attributes:
        endpoints: by name.
        known: whether it has been learned which endpoints there are.
        ready: whether what is to answer has been loaded.
        draining: whether the process is about to end.
    """

    def __init__(self) -> None:
        self.endpoints: Mapping[str, LiveEndpoint] = {}
        self.known = False
        self.ready = False
        self.draining = False

    def endpoint(self, name: str) -> LiveEndpoint:
        """The endpoint of that name.

        Raises:
            EndpointNotFoundError: there is none.
            NoLiveDeploymentError: the plane has just started and does not know yet.
        """
        found = self.endpoints.get(name)
        if found is None and not self.known:
            raise NoLiveDeploymentError(name, "the scoring plane is starting")
        if found is None:
            raise EndpointNotFoundError(name, self.endpoints)
        return found
