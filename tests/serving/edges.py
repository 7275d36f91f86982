"""The HTTP edge in process, with one endpoint and a client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from headrace.requestlog.spool import SpoolWriter, segments
from headrace.serving.app import Limits, make_app
from headrace.serving.metrics import Metrics
from headrace.serving.service import ScoringService
from headrace.settings import Secret

from .fakes import Adder, live_with

if TYPE_CHECKING:
    from headrace.serving.live import Live

SCORES = "/endpoints/scores/invocations"
BODY = b'{"dataframe_records": [{"a": 1.5, "device": "d-1"}]}'
TOKEN = Secret("secret")
JSON = {"content-type": "application/json"}


class Edge:
    """An application with one endpoint, and a client for it."""

    def __init__(self, spool: Path, limits: Limits, live: Live | None = None) -> None:
        self.adder = Adder()
        self.live = live or live_with({"blue": self.adder}, {"blue": 100, "green": 0})
        self.writer = SpoolWriter(spool)
        self.pool = self.adder.pool
        self.metrics = Metrics(self.live)
        service = ScoringService(
            self.live, self.writer, self.pool, self.metrics, limits.deadline_seconds
        )
        self.app = make_app(self.live, service, self.metrics, lambda: TOKEN, limits)

    def run(self, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        """Run requests in an event loop of their own."""

        async def inner() -> Any:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport,
                base_url="http://plane",
                headers={"authorization": "Bearer secret"},
            ) as client:
                return await work(client)

        return asyncio.run(inner())

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request."""
        reply: httpx.Response = self.run(lambda client: client.request(method, path, **options))
        return reply

    def score(self, body: bytes = BODY, **headers: str) -> httpx.Response:
        """One scoring request."""
        return self.ask("POST", SCORES, content=body, headers={**JSON, **headers})

    def records(self) -> list[dict[str, Any]]:
        """What was spooled."""
        spool = self.writer.directory.parent
        return [record for segment in segments(spool) for record in segment.records()]


@pytest.fixture
def make_edge(tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    made: list[Edge] = []

    def make(live: Live | None = None, **limits: Any) -> Edge:
        edge = Edge(tmp_path / f"spool{len(made)}", Limits(**limits), live)
        made.append(edge)
        return edge

    yield make
    for edge in made:
        edge.adder.gate.set()
        edge.pool.close()
        edge.writer.close()


@pytest.fixture
def edge(make_edge: Callable[..., Edge]) -> Edge:
    return make_edge()
