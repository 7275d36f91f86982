"""What can go wrong with an endpoint and its deployments."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.errors import HeadraceError, did_you_mean


class EndpointNotFoundError(HeadraceError):
    """No endpoint of that name."""

    code = "endpoint_not_found"
    status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, sorted(known)
        hint = did_you_mean(name, self.known)
        listed = ", ".join(self.known[:10]) if self.known else "none is deployed yet"
        super().__init__(
            f'There is no endpoint "{name}".',
            why=hint or f"known endpoints: {listed}",
            next="headrace status" if self.known else "headrace run",
        )


class NoLiveDeploymentError(HeadraceError):
    """The endpoint exists, but nothing answers for it at the moment."""

    code = "no_live_deployment"
    status = 503
    retry_after = 2

    def __init__(self, endpoint: str, reason: str) -> None:
        self.endpoint, self.reason = endpoint, reason
        super().__init__(
            f'Endpoint "{endpoint}" has no live deployment.',
            where=endpoint,
            why=reason,
            next="headrace status",
        )


class DeploymentNotReadyError(HeadraceError):
    """Traffic was to go to a colour that cannot take it."""

    code = "deployment_not_ready"
    status = 409

    def __init__(self, endpoint: str, colour: str, state: str) -> None:
        self.endpoint, self.colour, self.state = endpoint, colour, state
        super().__init__(
            f'Deployment {colour} of endpoint "{endpoint}" cannot take traffic.',
            where=endpoint,
            why=f"its state is {state}; only a ready deployment has answered its smoke request",
            next="headrace status",
        )


class NoRolloutError(HeadraceError):
    """A rollout was to be paused or resumed, and there is none in that state."""

    code = "no_rollout"
    status = 409

    def __init__(self, endpoint: str, action: str, state: str | None) -> None:
        self.endpoint, self.action, self.state = endpoint, action, state
        found = {
            None: "it has never had one",
            "done": "its last one is done",
            "stopped": "its last one was stopped by a shift by hand",
        }.get(state, f"its rollout is {state}")
        super().__init__(
            f'Endpoint "{endpoint}" has no rollout to {action}.',
            where=endpoint,
            why=found,
            next=f"headrace endpoints {endpoint}",
        )


class NothingToGoBackToError(HeadraceError):
    """A rollback was asked for, and no earlier deployment is kept."""

    code = "nothing_to_go_back_to"
    status = 409

    def __init__(self, endpoint: str, model: str | None) -> None:
        self.endpoint, self.model = endpoint, model
        super().__init__(
            f'Endpoint "{endpoint}" has no earlier version to go back to.',
            where=endpoint,
            why=f"only {model} is kept" if model else "nothing is deployed",
            next="name a version in headrace.yaml, such as model: NAME/3, and headrace run",
        )


class InvalidSharesError(HeadraceError):
    """Traffic shares that are no split of 100 percent over blue and green."""

    code = "invalid_shares"

    def __init__(self, shares: dict[str, int]) -> None:
        self.shares = shares
        super().__init__(
            "The traffic shares are not a split of 100 percent.",
            where=", ".join(f"{colour}={share}" for colour, share in shares.items()),
            why="shares are whole percents of blue and green, from 0 to 100, and add up to 100",
            next="for example blue=90, green=10",
        )


class PortInUseError(HeadraceError):
    """Another process listens on the port."""

    code = "port_in_use"

    def __init__(self, host: str, port: int, pid: int | None, free: int) -> None:
        self.host, self.port, self.pid = host, port, pid
        super().__init__(
            f"Port {port} is in use.",
            where=f"{host}:{port}",
            why=f"process {pid} listens on it" if pid else "another process listens on it",
            next=f"headrace up --port {free}",
        )


class AddressUnavailableError(HeadraceError):
    """The host or the port cannot be listened on."""

    code = "address_unavailable"

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host, self.port = host, port
        super().__init__(
            f"Cannot listen on {host}:{port}.",
            where=f"{host}:{port}",
            why=reason,
            next="headrace up --host 127.0.0.1",
        )


class PlaneRunningError(HeadraceError):
    """Another ``headrace up`` serves this project."""

    code = "plane_running"

    def __init__(self, url: str | None, pid: int | None) -> None:
        self.url, self.pid = url, pid
        super().__init__(
            "This project is already being served.",
            where=url,
            why=f"process {pid} holds it" if pid else "another process holds it",
            next="headrace status",
        )
