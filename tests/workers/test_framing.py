"""Messages cut from a stream, however it comes."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.workers.framing import MOST_BYTES, PREFIX, FramingError, Messages, head
from headrace.workers.process import Channel, Gone

MESSAGES = st.lists(
    st.tuples(st.dictionaries(st.text(), st.text() | st.integers()), st.binary()), max_size=5
)


@given(MESSAGES, st.integers(1, 50))
def test_messages_come_back_however_they_are_cut(
    messages: list[tuple[dict[str, object], bytes]], step: int
) -> None:
    stream = b"".join(head(header, len(payload)) + payload for header, payload in messages)
    reader = Messages()
    found = []
    for start in range(0, len(stream), step):
        found += list(reader.feed(stream[start : start + step]))
    assert found == messages


@pytest.mark.parametrize(
    "data", [PREFIX.pack(2, MOST_BYTES), PREFIX.pack(2, 0) + b"[]", PREFIX.pack(1, 0) + b"{"]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    assert issubclass(FramingError, ValueError)
    with pytest.raises(ValueError, match=r"message|object|JSON|Expecting"):
        list(Messages().feed(data))


def test_the_worker_speaks_the_same() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        payload = bytes(1 << 20)
        sender = threading.Thread(target=Channel(theirs).send, args=({"a": 1}, payload))
        sender.start()
        reader = Messages()
        found: list[object] = []
        while not found:
            found = list(reader.feed(ours.recv(1 << 16)))
        sender.join()
        assert found == [({"a": 1}, payload)]
        ours.sendall(head({"b": 2}, 3) + b"xyz")
        header, rest = Channel(theirs).receive()
        assert (header, bytes(rest)) == ({"b": 2}, b"xyz")
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(Gone):
            Channel(theirs).receive()
