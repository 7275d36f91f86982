"""The open-loop client, against servers that stall, break off and refuse."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.load import constant_rate, quantile

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-version: 7\r\n\r\nfine"

Answer = Callable[[int], bytes | None]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """Answers the n-th request with what ``answer(n)`` gives; ``None`` breaks the connection."""
    count = iter(range(1_000_000))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while True:
                length = 0
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if not line:
                    return
                self.rfile.read(length)
                reply = answer(next(count))
                if reply is None:
                    return
                self.wfile.write(reply)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that go away are part of these tests."""

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}/score"
        listening.shutdown()
        thread.join()


def test_every_request_is_recorded_with_its_answer() -> None:
    with server(lambda _: OK) as url, constant_rate(url, 400, b"{}", connections=2) as load:
        load.more(100)
    assert len(load.ended) == load.due >= 100
    assert sorted(sent.number for sent in load.ended) == list(range(load.due))
    assert load.outcomes() == {"200": load.due}
    assert load.opened <= 2
    assert all(s.body == b"fine" and s.headers["x-version"] == "7" for s in load.ended)
    for sent in load.ended:
        assert sent.sent is not None
        assert 0 <= sent.sent - sent.due <= sent.latency
        assert sent.due == load.began + sent.number / load.rate


@pytest.mark.parametrize("connections", [1, 256])
def test_a_stall_shows_in_every_request_that_was_due_meanwhile(connections: int) -> None:
    go_on = threading.Event()

    def stall_from_the_tenth(number: int) -> bytes:
        if number >= 10:
            go_on.wait()
        return OK

    with (
        server(stall_from_the_tenth) as url,
        constant_rate(url, 200, b"{}", connections=connections) as load,
    ):
        while load.due < 60:
            go_on.wait(0.01)
        go_on.set()
        load.more(1)
    assert load.failed() == []
    latency = {sent.number: sent.latency for sent in load.ended}
    # The 60th was due before the stall ended: whoever was due earlier waited at least till then.
    assert all(latency[number] >= (59 - number) / 200 for number in range(10, 59))
    assert load.quantile(1.0) >= 49 / 200


def test_a_request_without_an_answer_says_why() -> None:
    with (
        server(lambda number: None if number == 3 else OK) as url,
        constant_rate(url, 100, b"{}") as load,
    ):
        load.more(20)
    assert [sent.error for sent in load.failed()] == ["lost: closed without an answer"]
    assert len(load.answered()) == load.due - 1


def test_a_refused_connection_is_a_failed_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with constant_rate(f"http://127.0.0.1:{port}/", 100, b"{}") as load:
        load.more(5)
    assert load.outcomes() == {"connect: ConnectionRefusedError": load.due}


def test_a_request_that_is_never_answered_runs_out_of_time() -> None:
    go_on = threading.Event()

    def never(_: int) -> bytes:
        go_on.wait()
        return OK

    with server(never) as url:
        with constant_rate(url, 50, b"{}", connections=2, timeout=0.2) as load:
            load.more(5)
        go_on.set()
    assert load.outcomes() == {"timeout": load.due}
    assert all(sent.latency >= 0.2 for sent in load.ended)


def test_an_answer_that_closes_the_connection_and_one_that_is_no_http() -> None:
    closing = OK.replace(b"x-version: 7", b"connection: close")
    with (
        server(lambda n: b"nonsense\r\n\r\n" if n == 4 else closing) as url,
        constant_rate(url, 100, lambda n: b"%d" % n) as load,
    ):
        load.more(20)
    assert load.opened == load.due
    assert len(load.answered()) == load.due - 1
    assert [str(sent.error).partition(":")[0] for sent in load.failed()] == ["malformed"]


def test_quantiles_are_of_the_nearest_rank() -> None:
    values = [float(n) for n in range(1, 1001)]
    assert (quantile(values, 0.5), quantile(values, 0.999), quantile(values, 1)) == (500, 999, 1000)
    assert quantile([], 0.5) != quantile([], 0.5)
