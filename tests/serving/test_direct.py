"""A request is answered alike on the direct way and through the application."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uvicorn

from headrace.payloads.answer import Answers
from headrace.requestlog.spool import SpoolWriter, segments
from headrace.serving.app import Limits, make_app
from headrace.serving.direct import DIRECT_BYTES, Direct
from headrace.serving.metrics import Metrics
from headrace.serving.protocol import protocol_class
from headrace.serving.service import ScoringService
from headrace.settings import Secret

from .fakes import Adder, live_with

if TYPE_CHECKING:
    from headrace.payloads.inputs import Inputs

TOKEN = Secret("secret")


class Quick(Adder):
    """Answers at once what does not wait for the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = 0
        self.together: list[int] = []

    def predict_now(self, inputs: Inputs) -> Answers | None:
        values = inputs.columns["a"]
        if -1 in values:
            return None
        if -2 in values:
            raise ZeroDivisionError("the model divides by zero")
        self.at_once += 1
        return Answers.of(values, inputs.rows)

    def predict_together(self, several: Sequence[Inputs]) -> list[Answers] | None:
        values = [value for inputs in several for value in inputs.columns["a"]]
        if {-1.0, -2.0} & set(values):
            return None
        self.together.append(len(several))
        return Answers.of(np.array(values), len(values)).parts([i.rows for i in several])


class Server:
    """The plane's HTTP server in an event loop of the test's."""

    def __init__(self, spool: Path, direct: bool) -> None:
        self.scorer = Quick()
        self.live = live_with({"blue": self.scorer}, {"blue": 100, "green": 0})
        self.writer = SpoolWriter(spool)
        self.metrics = Metrics(self.live)
        service = ScoringService(self.live, self.writer, self.scorer.pool, self.metrics, 30.0)
        app = make_app(self.live, service, self.metrics, lambda: TOKEN, Limits(requests=4))
        way = Direct(service, app) if direct else None
        config = uvicorn.Config(app, http=protocol_class(way), lifespan="off", log_config=None)
        config.load()
        self.server = uvicorn.Server(config)

    def talk(self, *pieces: bytes) -> bytes:
        """Send pieces on one connection, each once the server had time for the one before."""

        async def inner() -> bytes:
            config: Any = self.server.config
            state = self.server.server_state
            listener = await asyncio.get_running_loop().create_server(
                lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),
                "127.0.0.1",
                0,
            )
            async with listener:
                port = listener.sockets[0].getsockname()[1]
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                received = await asyncio.wait_for(reader.read(), 30)
                writer.close()
                await writer.wait_closed()
            return received

        return asyncio.run(inner())

    def talk_at_once(self, *requests: bytes) -> list[bytes]:
        """Send each on a connection of its own, all before the server reads the first."""

        async def inner() -> list[bytes]:
            config: Any = self.server.config
            state = self.server.server_state
            listener = await asyncio.get_running_loop().create_server(
                lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),
                "127.0.0.1",
                0,
            )
            async with listener:
                port = listener.sockets[0].getsockname()[1]
                opened = [await asyncio.open_connection("127.0.0.1", port) for _ in requests]
                for (_, writer), request in zip(opened, requests, strict=True):
                    writer.write(request)
                reading = (reader.read() for reader, _ in opened)
                received = await asyncio.wait_for(asyncio.gather(*reading), 30)
                for _, writer in opened:
                    writer.close()
                    await writer.wait_closed()
            return received

        return asyncio.run(inner())

    def records(self) -> list[dict[str, Any]]:
        """What was spooled."""
        found = segments(self.writer.directory.parent)
        return [record for segment in found for record in segment.records()]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[[bool], Server]]:
    made: list[Server] = []

    def make(direct: bool) -> Server:
        made.append(Server(tmp_path / f"spool{len(made)}", direct))
        return made[-1]

    yield make
    for server in made:
        server.scorer.pool.close()
        server.writer.close()


def post(body: bytes, *headers: str, path: str = "/endpoints/scores/invocations") -> bytes:
    """A request after which the server closes."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: plane",
        "Connection: close",
        *(headers or ("Authorization: Bearer secret", "Content-Type: application/json")),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


ROW = b'{"dataframe_split": {"columns": ["a"], "data": [[1.5]]}}'
JSON = "Content-Type: application/json"
REQUESTS = {
    "answered": post(ROW),
    "keyed": post(ROW, "Authorization: bearer secret", JSON, "X-Headrace-Key: d-1"),
    "open inference": post(
        b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1.5]}]}',
        path="/v2/models/scores/infer",
    ),
    "azure": post(b'{"input_data": {"columns": ["a"], "data": [[1.5]]}}', path="/endpoints/scores/score"),
    "version": post(ROW, path="/v2/models/scores/versions/7/infer"),
    "no token": post(ROW, JSON),
    "wrong token": post(ROW, "Authorization: Bearer secreT", JSON),
    "no such endpoint": post(ROW, path="/endpoints/score/invocations"),
    "malformed": post(b"{"),
    "unfit": post(b'{"inputs": {"a": ["x"]}}'),
    "failing": post(b'{"inputs": {"a": [-2]}}'),
    "media type": post(ROW, "Authorization: Bearer secret", "Content-Type: image/png"),
    "large": post(b'{"inputs": {"a": [' + b"1," * DIRECT_BYTES + b"1]}}"),
    "empty": post(b""),
}  # fmt: skip


def comparable(raw: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Status, headers and body without what differs between any two answers."""
    raw = re.sub(rb"(pred|req)_[0-9a-f]{28}", rb"\1", raw)
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    volatile = (b"date:", b"server-timing:", b"server:")
    kept = [header for header in headers if not header.lower().startswith(volatile)]
    return status, sorted(kept), body


@pytest.mark.parametrize("name", list(REQUESTS))
def test_both_ways_answer_alike(make_server: Callable[[bool], Server], name: str) -> None:
    slow, fast = make_server(False), make_server(True)
    through = slow.talk(REQUESTS[name])
    assert comparable(fast.talk(REQUESTS[name])) == comparable(through)
    counts = [
        [(r["kind"], r.get("code"), r["deployment"]) for r in server.records()]
        for server in (slow, fast)
    ]
    assert counts[0] == counts[1]


def test_a_small_request_is_answered_at_once(make_server: Callable[[bool], Server]) -> None:
    server = make_server(True)
    reply = server.talk(post(ROW))
    assert reply.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["predictions"] == [1.5]
    assert server.scorer.at_once == 1
    assert b"server-timing: queue;dur=" in reply


def test_what_comes_in_pieces_goes_through_the_application(
    make_server: Callable[[bool], Server],
) -> None:
    server, whole = make_server(True), post(ROW)
    for cut in (10, whole.index(b"\r\n\r\n") + 4, len(whole) - 3):
        reply = server.talk(whole[:cut], whole[cut:])
        assert reply.startswith(b"HTTP/1.1 200 OK"), cut
    assert len(server.records()) == 3


def test_what_must_wait_goes_through_the_application(make_server: Callable[[bool], Server]) -> None:
    server = make_server(True)
    reply = server.talk(post(b'{"inputs": {"a": [-1]}}'))
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["predictions"] == [-1.0]
    assert len(server.records()) == 1


def test_pipelined_requests_are_answered_in_order(make_server: Callable[[bool], Server]) -> None:
    server = make_server(True)

    def kept(value: int) -> bytes:
        return post(b'{"inputs": {"a": [%d]}}' % value).replace(b"Connection: close\r\n", b"")

    listing = b"GET /endpoints HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n"
    reply = server.talk(kept(3) + kept(-1) + kept(4) + listing + post(b'{"inputs": {"a": [5]}}'))
    assert [float(n) for n in re.findall(rb'"predictions":\[(-?[0-9.]+)\]', reply)] == [3, -1, 4, 5]
    assert reply.count(b"HTTP/1.1 200 OK") == 5


def test_while_it_drains_connections_are_told_to_close(
    make_server: Callable[[bool], Server],
) -> None:
    server = make_server(True)
    server.live.draining = True
    reply = server.talk(post(ROW).replace(b"Connection: close\r\n", b""))
    assert reply.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in reply


def test_a_client_that_asks_with_http_1_0_gets_its_answer(
    make_server: Callable[[bool], Server],
) -> None:
    server = make_server(True)
    reply = server.talk(post(ROW).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert b" 200 OK\r\n" in reply
    assert reply.count(b"connection: close") == 1


def of(value: float) -> bytes:
    """A request to score one value."""
    return post(b'{"inputs": {"a": [%g]}}' % value)


def predictions(replies: list[bytes]) -> list[Any]:
    """Of each reply, or its code of an error."""
    bodies = [json.loads(reply.partition(b"\r\n\r\n")[2]) for reply in replies]
    return [body["predictions"] if "predictions" in body else body["error_code"] for body in bodies]


def test_what_comes_together_is_scored_in_one_call(make_server: Callable[[bool], Server]) -> None:
    server = make_server(True)
    replies = server.talk_at_once(*(of(value) for value in range(20)))
    assert predictions(replies) == [[float(value)] for value in range(20)]
    assert sum(server.scorer.together) + server.scorer.at_once == 20
    assert max(server.scorer.together) > 1
    logged = [record["rows"][0] for record in server.records()]
    assert sorted(row["score"] for row in logged) == list(range(20))
    assert len({row["id"] for row in logged}) == 20


def test_a_client_that_has_said_all_gets_its_answer(make_server: Callable[[bool], Server]) -> None:
    async def inner() -> bytes:
        server = make_server(True)
        config: Any = server.server.config
        state = server.server.server_state
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),
            "127.0.0.1",
            0,
        )
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(of(7))
            writer.write_eof()
            received = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            await writer.wait_closed()
        return received

    assert predictions([asyncio.run(inner())]) == [[7.0]]


def test_one_bad_request_harms_no_other_that_came_with_it(
    make_server: Callable[[bool], Server],
) -> None:
    server = make_server(True)
    requests = (of(1), REQUESTS["unfit"], REQUESTS["no token"], of(-2), of(-1), of(2))
    found = predictions(server.talk_at_once(*requests))
    refusals = ["invalid_input", "unauthorized", "prediction_failed"]
    assert found == [[1.0], *refusals, [-1.0], [2.0]]
    kinds = sorted(record["kind"] for record in server.records())
    assert kinds == ["failed", "failed", "served", "served", "served"]


def test_a_defect_is_met_by_its_own_request_alone(
    make_server: Callable[[bool], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(True)

    def broken(several: Sequence[Inputs]) -> list[Answers] | None:
        raise MemoryError

    monkeypatch.setattr(server.scorer, "predict_together", broken)
    monkeypatch.setattr(server.metrics, "answered", broken)
    assert predictions(server.talk_at_once(of(1), of(2), of(3))) == [[1.0], [2.0], [3.0]]
    assert [record["kind"] for record in server.records()] == ["served"] * 3


def test_a_log_that_takes_nothing_fails_all_that_came_together(
    make_server: Callable[[bool], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(server.writer, "append", full)
    replies = server.talk_at_once(of(1), of(2))
    assert [reply.partition(b"\r\n")[0] for reply in replies] == [
        b"HTTP/1.1 503 Service Unavailable"
    ] * 2
