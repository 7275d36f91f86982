"""Live traffic for the demo: one client that keeps asking, and counts what it got."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from headrace.settings import Secret


@dataclass
class Tally:
    """What the client saw.

    Attributes:
        served: answers with status 200.
        failed: everything else: another status, or a connection that broke.
        versions: answers by model version.
        milliseconds: time to each answer.
        last_prediction: id of the newest answered prediction.
        problem: the first thing that went wrong, for a person.
    """

    served: int = 0
    failed: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    last_prediction: str | None = None
    problem: str | None = None


class LiveTraffic:
    """A closed-loop client in a thread of its own. Use it as a context manager.

    Args:
        address: of the scoring plane, ``http://host:port``.
        endpoint: name of the endpoint.
        token: bearer token.
        rows: requests to send, one row each, over and over.
        rate: requests per second aimed at.
    """

    def __init__(
        self,
        address: str,
        endpoint: str,
        token: Secret,
        rows: Sequence[dict[str, Any]],
        rate: float = 40.0,
    ) -> None:
        self.tally = Tally()
        self._where = urlsplit(address)
        self._path = f"/endpoints/{endpoint}/invocations"
        self._headers = {
            "authorization": f"Bearer {token.reveal()}",
            "content-type": "application/json",
        }
        self._bodies = [json.dumps({"dataframe_records": [row]}) for row in rows]
        self._pause = 1.0 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="live-traffic", daemon=True)

    def __enter__(self) -> LiveTraffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _ask(self) -> None:
        connection = self._connect()
        for body in itertools.cycle(self._bodies):
            if self._stop.is_set():
                break
            began = time.perf_counter()
            try:
                connection.request("POST", self._path, body, self._headers)
                self._count(connection.getresponse(), time.perf_counter() - began)
            except (OSError, http.client.HTTPException) as error:
                self._fail(f"{type(error).__name__}: {error}")
                connection.close()
                connection = self._connect()
            self._stop.wait(max(0.0, self._pause - (time.perf_counter() - began)))
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(
            self._where.hostname or "", self._where.port or 80, timeout=10
        )

    def _count(self, response: http.client.HTTPResponse, seconds: float) -> None:
        body = response.read()
        if response.status != 200:
            self._fail(f"status {response.status}: {body[:200].decode(errors='replace')}")
            return
        self.tally.served += 1
        self.tally.milliseconds.append(seconds * 1000)
        self.tally.versions[response.headers["x-headrace-model-version"]] += 1
        self.tally.last_prediction = json.loads(body)["prediction_ids"][0]

    def _fail(self, problem: str) -> None:
        self.tally.failed += 1
        self.tally.problem = self.tally.problem or problem
