"""The module that MLflow loads for ``get_deploy_client("headrace")``.

MLflow wants one subclass of ``BaseDeploymentClient`` here, ``run_local`` and ``target_help``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException

from headrace.deployments import control
from headrace.deployments.errors import PlaneUnreachableError, ProjectNeededError
from headrace.deployments.plane import Plane
from headrace.errors import HeadraceError
from headrace.settings import Secret, find_project, read_token, setting

if TYPE_CHECKING:
    from headrace.workspace import Workspace

T = TypeVar("T")

_CODES: Final = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    429: "RESOURCE_EXHAUSTED",
    503: "TEMPORARILY_UNAVAILABLE",
}
_HELP: Final = """\
headrace                      the project of the current directory
headrace:/path/to/project     another one
headrace:http://host:port     a scoring plane alone, to ask it; HEADRACE_TOKEN holds its token

A deployment is a colour of an endpoint: blue or green. A new one goes to the colour that is
idle; without endpoint=... the name of a deployment is that of its endpoint, or ENDPOINT/COLOUR.

config of create_endpoint and update_endpoint:
  model     name@alias, or name/version
  key       columns of a request that keep a caller on one deployment
  rollout   {"steps": [10, 50, 100], "every": "2m"}; at once if not given
  workers   bounds of the processes that score a model without a kernel
  log       what the request log keeps
  traffic   {"blue": 90, "green": 10}; of update_endpoint

config of create_deployment: key, rollout, workers, log, and wait_seconds, which is how long to
wait until it is ready (120). config of update_deployment: traffic, its percent or each colour's.
"""


class HeadraceDeploymentClient(BaseDeploymentClient):  # type: ignore[misc]
    """Endpoints of a project, or a scoring plane by its address.

    Every error is an ``MlflowException`` with Headrace's words.

    Args:
        target_uri: ``headrace``, ``headrace:/path/to/project`` or ``headrace:http://host:port``.
    """

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)
        self._place = target_uri.partition(":")[2]
        if self._place.startswith("//"):
            self._place = self._place[2:]

    def create_endpoint(self, name: str, config: Any = None) -> dict[str, Any]:
        """Declare an endpoint; ``config["model"]`` names its model."""
        return self._in_project(lambda w: control.create_endpoint(w, name, config or {}))

    def update_endpoint(self, endpoint: str, config: Any = None) -> None:
        """Change settings or split the traffic."""
        self._in_project(lambda w: control.update_endpoint(w, endpoint, config or {}))

    def delete_endpoint(self, endpoint: str) -> None:
        """Take it out of service; its history and its request log stay."""
        self._in_project(lambda w: control.delete_endpoint(w, endpoint))

    def list_endpoints(self) -> list[dict[str, Any]]:
        """Every endpoint."""
        if self._is_address:
            with _in_mlflows_words():
                return self._plane().endpoints()
        return self._in_project(control.list_endpoints)

    def get_endpoint(self, endpoint: str) -> dict[str, Any]:
        """One endpoint."""
        if self._is_address:
            with _in_mlflows_words():
                return self._plane().endpoint(endpoint)
        return self._in_project(lambda w: control.get_endpoint(w, endpoint))

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,  # noqa: ARG002  # the version says it
        config: Any = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploy a registered version to the idle colour."""
        where, colour = _names(name, endpoint)
        return self._in_project(
            lambda w: control.create_deployment(w, where, colour, model_uri, config or {})
        )

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,  # noqa: ARG002  # the version says it
        config: Any = None,
        endpoint: str | None = None,
    ) -> None:
        """Shift traffic with ``config["traffic"]``, or deploy another version."""
        where, colour = _names(name, endpoint)
        self._in_project(
            lambda w: control.update_deployment(w, where, colour, model_uri, config or {})
        )

    def delete_deployment(
        self,
        name: str,
        config: Any = None,  # noqa: ARG002  # nothing to set
        endpoint: str | None = None,
    ) -> None:
        """Retire a deployment without traffic; a name of an endpoint alone takes all of it out."""
        where, colour = _names(name, endpoint)
        if colour is None:
            self.delete_endpoint(where)
        else:
            self._in_project(lambda w: control.delete_deployment(w, where, colour))

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """The deployments of an endpoint, or of all."""
        return self._in_project(lambda w: control.list_deployments(w, endpoint))

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """One deployment."""
        where, colour = _names(name, endpoint)
        return self._in_project(lambda w: control.get_deployment(w, where, colour))

    def predict(
        self,
        deployment_name: str | None = None,
        inputs: Any = None,
        endpoint: str | None = None,
    ) -> PredictionsResponse:
        """Ask an endpoint, or one deployment of it, over HTTP with the project's token.

        ``prediction_ids`` stands beside the predictions.
        """
        if deployment_name is None and endpoint is None:
            raise MlflowException.invalid_parameter_value("Name a deployment or an endpoint.")
        where, colour = _names(deployment_name or str(endpoint), endpoint)
        if deployment_name is None:
            where, colour = str(endpoint), None
        with _in_mlflows_words():
            return PredictionsResponse.from_json(self._plane().score(where, inputs, colour))

    @property
    def _is_address(self) -> bool:
        return self._place.startswith(("http://", "https://"))

    @property
    def _root(self) -> Path | None:
        return Path(self._place) if self._place else None

    def _plane(self) -> Plane:
        from headrace.endpoints import read_plane

        if self._is_address:
            token = setting("HEADRACE_TOKEN")
            held = Secret(token) if token else read_token(find_project())
            return Plane(self._place.rstrip("/"), held)
        paths = find_project(self._root)
        info = read_plane(paths)
        if info is None:
            raise PlaneUnreachableError(str(paths.root), "nothing serves this project")
        return Plane(info.url, read_token(paths))

    def _in_project(self, work: Callable[[Workspace], T]) -> T:
        from headrace.workspace import open_workspace

        with _in_mlflows_words():
            if self._is_address:
                raise ProjectNeededError(self.target_uri)
            return work(open_workspace(self._root))


def run_local(
    name: str,
    model_uri: str,
    flavor: str | None = None,
    config: Any = None,
) -> None:
    """Deploy to the project of the current directory, which is local already."""
    HeadraceDeploymentClient("headrace").create_deployment(name, model_uri, flavor, config)


def target_help() -> str:
    """What a target URI and a config can be."""
    return _HELP


def _names(name: str, endpoint: str | None) -> tuple[str, str | None]:
    """Endpoint and colour of a deployment's name."""
    if endpoint is not None:
        return endpoint, name
    where, _, colour = name.partition("/")
    return where, colour or None


@contextmanager
def _in_mlflows_words() -> Iterator[None]:
    try:
        yield
    except HeadraceError as error:
        code = _CODES.get(error.status, "INTERNAL_ERROR")
        raise MlflowException(str(error), error_code=_code(code)) from error


def _code(name: str) -> Any:
    from mlflow.protos import databricks_pb2

    return getattr(databricks_pb2, name, databricks_pb2.INTERNAL_ERROR)
