"""HTTP/1.1 on a connection: uvicorn's protocol with bounds, and a direct way for small requests.

Most requests to score are small, whole in one read, and answered by a kernel at once. For those a
task, a scope and ASGI's messages cost more than the prediction. They are answered in the
round of the event loop that parsed their last byte; any other request goes through the application.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from headrace.payloads.errors import MalformedRequestError

if TYPE_CHECKING:
    from headrace.serving.direct import Direct

HEADER_SECONDS: Final = 10.0
HEADER_BYTES: Final = 64 * 1024


def protocol_class(direct: Direct | None = None) -> Any:
    """A class for uvicorn.

    Args:
        direct: answers small requests at once; without it each goes through the application.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class BoundedProtocol(HttpToolsProtocol):
        """Closes a connection on which no complete request head arrives in time.

        Nor is a client waited for that still sends the body of a request that has its answer.
        """

        _head_timer: asyncio.TimerHandle | None = None
        _head_bytes = 0
        #: What is known of a request that may be answered directly, and its body so far.
        _candidate: Any = None
        _small_body = b""
        #: The request whose direct answer is due at the end of the event loop's round.
        _waiting: Any = None
        _keeps_open = True

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._candidate is not None:
                # The rest of the body takes its time: that has a deadline in the application.
                self._hand_over()
            # The base has none before the first head begins, and one without a path until it ends.
            scope: Any = self.scope
            cycle: Any = self.cycle
            if not scope or "path" not in scope:
                self._head_bytes += len(data)
                if self._head_bytes > HEADER_BYTES:
                    self._refuse(f"its head is longer than {HEADER_BYTES} bytes")
                else:
                    self._wait_for_head()
            elif scope is not _COMPLETE and cycle.response_complete and cycle.more_body:
                self._wait_for_head()
            elif self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
                self._head_bytes = 0

        def connection_lost(self, exc: Exception | None) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            if direct is None:
                super().on_message_begin()
                return
            # Of requests on one connection, the first is answered first.
            self._answer_first()
            # The base makes a scope for ASGI here, which a direct answer does not need.
            self.url = b""
            self.expect_100_continue = False
            self.headers = []
            self.scope = None  # type: ignore[assignment]  # as the base has it before the first

        def on_headers_complete(self) -> None:
            headers = self.headers
            if not (headers and headers[0][0] == b"host") and not any(
                name == b"host" for name, _ in headers
            ):
                raise ValueError("no Host header")
            if direct is not None:
                cycle: Any = self.cycle
                idle = cycle is None or cycle.response_complete
                plain = not self.expect_100_continue and not self.parser.should_upgrade()
                # The application waits for a client that does not read its answers.
                if idle and plain and not self.flow.write_paused:
                    self._candidate = direct.candidate(self.parser.get_method(), self.url, headers)
                    if self._candidate is not None:
                        self._small_body = b""
                        self.scope = _COMPLETE  # type: ignore[assignment]
                        return
                self._make_scope()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            if self._candidate is None:
                super().on_body(body)
            else:
                self._small_body += body

        def on_message_complete(self) -> None:
            candidate = self._candidate
            if candidate is None:
                super().on_message_complete()
                return
            assert direct is not None  # noqa: S101  # it made the candidate
            self._candidate, self._waiting = None, candidate
            # What the parser says of a message only until it is complete.
            version_1_0 = self.parser.get_http_version() == "1.0"
            self._keeps_open = not version_1_0 and self.parser.should_keep_alive()
            direct.submit(candidate, self._small_body, self._take)

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # a constant of the base
            self._refuse("it is no HTTP/1.1")

        def eof_received(self) -> None:
            # A client that has said all may still listen.
            self._answer_first()
            super().eof_received()

        def shutdown(self) -> None:
            self._answer_first()
            super().shutdown()

        def _answer_first(self) -> None:
            """Have the request answered that waits for the end of the event loop's round."""
            if direct is not None and self._waiting is not None:
                direct.flush()

        def _take(self, answer: tuple[bytes, bytes] | None) -> None:
            """Send the direct answer; without one, let the application answer."""
            self._candidate, self._waiting = self._waiting, None
            if self.transport.is_closing():
                return
            if answer is None:
                self._hand_over()
                super().on_message_complete()
            else:
                self._candidate = None
                self._respond(answer)

        def _respond(self, answer: tuple[bytes, bytes]) -> None:
            head, body = answer
            keep = self._keeps_open
            pieces = [head]
            for name, value in self.server_state.default_headers:
                pieces += (name, b": ", value, b"\r\n")
            closing = not keep or b"\r\nconnection: close\r\n" in head
            if not keep and b"\r\nconnection: close\r\n" not in head:
                pieces.append(b"connection: close\r\n")
            pieces += (b"\r\n", body)
            self.transport.write(b"".join(pieces))
            self.server_state.total_requests += 1
            if closing:
                self.transport.close()
            else:
                # As the base waits after a response of the application's.
                self._unset_keepalive_if_required()
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

        def _hand_over(self) -> None:
            """Let the application answer what was to be answered directly."""
            body = self._small_body
            self._candidate = None
            self._make_scope()
            super().on_headers_complete()
            if body:
                super().on_body(body)

        def _make_scope(self) -> None:
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expects
            self.headers += headers

        def _refuse(self, why: str) -> None:
            body = json.dumps(MalformedRequestError(why).as_json()).encode()
            head = (
                b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
                b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            )
            self.transport.write(head + body)
            self.transport.close()

        def _wait_for_head(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    return BoundedProtocol


#: Stands for the scope of a request that is answered directly.
_COMPLETE: Final = {"path": ""}
