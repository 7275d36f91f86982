"""What the plane answers with right now: endpoints, their loaded deployments, the routing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from headrace.endpoints.errors import EndpointNotFoundError, NoLiveDeploymentError
from headrace.endpoints.observations import Observations
from headrace.endpoints.routing import Router, other
from headrace.serving.errors import DeploymentNotLiveError, VersionNotLiveError

if TYPE_CHECKING:
    from headrace.catalog.guards import Override
    from headrace.endpoints.records import Deployment, EndpointRecord
    from headrace.serving.scorer import Scorer


class LiveDeployment:
    """A loaded deployment.

    Attributes:
        record: what the control tables say of it.
        scorer: its model.
        observations: what it has shown, for the rules of its rollout.
        busy: requests that it is answering. The event loop alone writes it.
        headers: of each answer, naming the version.
        logged: what the request log keeps of it with each answer.
    """

    __slots__ = ("busy", "headers", "logged", "observations", "record", "scorer")

    def __init__(self, record: Deployment, scorer: Scorer) -> None:
        self.record = record
        self.scorer = scorer
        self.observations = Observations()
        self.busy = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = (
            (b"x-headrace-model", quote(record.model_name, safe=" /:@._-").encode()),
            (b"x-headrace-model-version", b"%d" % record.model_version),
            (b"x-headrace-deployment", record.colour.encode()),
        )
        self.logged: Mapping[str, Any] = {
            "kind": "served",
            "endpoint": record.endpoint,
            "deployment": record.id,
            "colour": record.colour,
            "model_name": record.model_name,
            "model_version": record.model_version,
            "model_id": record.model_id,
            "status": 200,
        }

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.busy == 0

    def close(self) -> None:
        """Let go of its model, once it takes no more requests. From any thread."""
        self.scorer.close()


@dataclass(frozen=True)
class LiveEndpoint:
    """One endpoint as requests see it: immutable, replaced as a whole by the reconciler."""

    record: EndpointRecord
    router: Router | None
    loaded: Mapping[str, LiveDeployment] = field(default_factory=dict)
    problem: str | None = None

    @cached_property
    def at_once(self) -> bool:
        """Whether nothing but kernels answers here."""
        return bool(self.loaded) and all(d.scorer.kind == "kernel" for d in self.loaded.values())

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

    def current(self) -> LiveDeployment:
        """The loaded deployment with the largest share of the traffic.

        Raises:
            NoLiveDeploymentError: none is loaded.
        """
        loaded = self.loaded
        if len(loaded) == 1:
            return next(iter(loaded.values()))
        shares = self.record.split.shares if self.record.split else {}
        colour = max(loaded, key=lambda one: shares.get(one, 0), default=None)
        if colour is None:
            raise NoLiveDeploymentError(self.record.name, self.reason())
        return loaded[colour]

    def of_version(self, version: int) -> LiveDeployment:
        """The deployment of a version of the model, past the split of the traffic.

        Raises:
            VersionNotLiveError: the endpoint serves other versions.
        """
        for deployment in self.loaded.values():
            if deployment.record.model_version == version:
                return deployment
        served = sorted(d.record.model_version for d in self.loaded.values())
        raise VersionNotLiveError(self.record.name, version, served)

    def of_colour(self, colour: str) -> LiveDeployment:
        """The deployment of a colour, past the split of the traffic.

        Raises:
            DeploymentNotLiveError: there is none, or it is not loaded.
        """
        found = self.loaded.get(colour)
        if found is None:
            raise DeploymentNotLiveError(self.record.name, colour, sorted(self.loaded))
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
        overrides: protected aliases that a person moved.
        known: whether it has been learned which endpoints there are.
        ready: whether what is to answer has been loaded.
        draining: whether the process is about to end.
    """

    def __init__(self) -> None:
        self.endpoints: Mapping[str, LiveEndpoint] = {}
        self.overrides: Sequence[Override] = ()
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
