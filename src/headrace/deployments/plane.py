"""A scoring plane asked over HTTP, with the project's token, a deadline and a bound on answers."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from headrace.deployments.errors import PlaneUnreachableError, RefusedError
from headrace.payloads.answer import jsonable
from headrace.payloads.azure import DEPLOYMENT_HEADER

if TYPE_CHECKING:
    from headrace.settings import Secret

SECONDS: Final = 60.0
MAX_ANSWER: Final = 256 * 1024 * 1024
_MAX_ERROR: Final = 64 * 1024
#: Fields of MLflow's payload, at least one of which a dictionary that already is one has.
_PAYLOAD: Final = frozenset({"dataframe_split", "dataframe_records", "instances", "inputs"})


@dataclass(frozen=True)
class Plane:
    """A scoring plane.

    Attributes:
        url: its address, without a path.
        token: the bearer token.
    """

    url: str
    token: Secret

    def score(self, endpoint: str, inputs: Any, colour: str | None = None) -> str:
        """The JSON text of an answer.

        Args:
            endpoint: its name.
            inputs: what ``payload_of`` takes.
            colour: the deployment to ask, past the split of the traffic.

        Raises:
            PlaneUnreachableError: nothing answers in time.
            RefusedError: it was refused; the plane's own words.
        """
        body = json.dumps(payload_of(inputs), allow_nan=False).encode()
        headers = {} if colour is None else {DEPLOYMENT_HEADER: colour}
        return self._ask(f"/endpoints/{quote(endpoint, safe='')}/invocations", body, headers)

    def endpoints(self) -> list[dict[str, Any]]:
        """Every endpoint, as ``GET /endpoints`` describes it."""
        found: list[dict[str, Any]] = self._document("/endpoints")["endpoints"]
        return found

    def endpoint(self, name: str) -> dict[str, Any]:
        """One endpoint."""
        return self._document(f"/endpoints/{quote(name, safe='')}")

    def _document(self, path: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._ask(path))
        except ValueError as error:
            raise PlaneUnreachableError(self.url, "what answers is no scoring plane") from error
        return found

    def _ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        if not self.url.startswith(("http://", "https://")):
            raise PlaneUnreachableError(self.url, "the address is not one of HTTP")
        request = urllib.request.Request(  # noqa: S310  # the scheme is checked above
            self.url + path,
            data=body,
            headers={
                "content-type": "application/json",
                "authorization": f"Bearer {self.token.reveal()}",
                **(headers or {}),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310
                answer: bytes = reply.read(MAX_ANSWER + 1)
                missing = reply.length
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(error.code, _words(error.read(_MAX_ERROR))) from None
        except (OSError, http.client.HTTPException) as error:
            # Also one that ends while it answers, and what is no HTTP at all.
            why = str(getattr(error, "reason", error)) or type(error).__name__
            raise PlaneUnreachableError(self.url, why) from error
        if len(answer) > MAX_ANSWER:
            raise PlaneUnreachableError(self.url, f"the answer exceeds {MAX_ANSWER} bytes")
        if missing:
            raise PlaneUnreachableError(self.url, "it ended while it answered")
        return answer.decode()


def payload_of(inputs: Any) -> dict[str, Any]:
    """MLflow's JSON payload of what its client takes.

    A DataFrame is ``dataframe_split``, a dictionary that is a payload stays what it is, and
    anything else (arrays, lists, dictionaries of arrays) is ``inputs``.
    """
    if hasattr(inputs, "columns") and hasattr(inputs, "iloc"):
        columns = [inputs.iloc[:, at].tolist() for at in range(len(inputs.columns))]
        rows = [list(row) for row in zip(*columns, strict=True)]
        names = [str(name) for name in inputs.columns]
        return {"dataframe_split": {"columns": names, "data": jsonable(rows)}}
    if isinstance(inputs, dict) and _PAYLOAD & set(inputs):
        plain: dict[str, Any] = jsonable(inputs)
        return plain
    return {"inputs": jsonable(inputs)}


def _words(body: bytes) -> dict[str, str]:
    """The error in a body; empty where it is none of ours."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
