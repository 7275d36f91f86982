"""Which requests share a call, how long they wait, and how long the queue is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from headrace.workers.batching import Pace, Queue, Request, batch_key


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop, for futures."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


def request(
    loop: asyncio.AbstractEventLoop, *values: Any, params: dict[str, Any] | None = None
) -> Request:
    """A request of these rows."""
    table = pa.table({"x": pa.array(values)})
    return Request(table, params, batch_key(table, params), 10.0, 0.0, loop.create_future())


def test_the_oldest_go_together_up_to_so_many_rows(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    requests = [request(loop, float(number), 0.0) for number in range(5)]
    for each in requests:
        queue.add(each)
    assert (len(queue), queue.rows) == (5, 10)
    assert queue.take(5) == requests[:2]
    assert (len(queue), queue.rows) == (3, 6)
    assert queue.take(100) == requests[2:]
    assert (len(queue), queue.rows, queue.size) == (0, 0, 0)
    assert queue.take(5) == []


def test_a_request_larger_than_a_batch_goes_by_itself(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    large, small = request(loop, *map(float, range(10))), request(loop, 1.0)
    queue.add(large)
    queue.add(small)
    assert queue.take(4) == [large]
    assert queue.take(4) == [small]


def test_requests_of_another_schema_or_params_keep_their_place(
    loop: asyncio.AbstractEventLoop,
) -> None:
    queue = Queue()
    number, text, other, again = (
        request(loop, 1.0),
        request(loop, "a"),
        request(loop, 2.0, params={"depth": 1}),
        request(loop, 3.0),
    )
    for each in (number, text, other, again):
        queue.add(each)
    assert queue.take(10) == [number, again]
    assert queue.take(10) == [text]
    assert queue.take(10) == [other]


def test_a_null_among_whole_numbers_does_not_share(loop: asyncio.AbstractEventLoop) -> None:
    whole, null = request(loop, 1, 2), request(loop, 1, None)
    assert whole.key != null.key
    assert request(loop, 1.0, 2.0).key == request(loop, 1.0, None).key


def test_given_up_and_lonely_requests(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    gone, alone, late, last = (request(loop, float(number)) for number in range(4))
    alone.alone = True
    for each in (gone, alone, late, last):
        queue.add(each)
    gone.future.cancel()
    assert queue.oldest() is alone
    assert queue.take(10) == [alone]
    queue.discard(late)
    assert queue.take(10) == [last]
    assert (len(queue), queue.rows) == (0, 0)


def test_what_is_put_back_is_first_again(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    first, second, third = (request(loop, float(number)) for number in range(3))
    queue.add(third)
    queue.put_back([first, second])
    assert queue.drain() == [first, second, third]
    assert queue.rows == 0


def paced(together: int, call: float) -> Pace:
    """After calls of so many seconds, with so many requests under way."""
    pace = Pace()
    for _ in range(20):
        for number in range(together):
            pace.arrived(number + 1)
        pace.predicted(call, together)
    return pace


@pytest.mark.parametrize(
    ("together", "queued", "sent", "workers", "wait"),
    [
        (1, 1, 0, 1, 0.0),  # one at a time: nobody else would come
        (2, 1, 0, 2, 0.0),  # one for each worker
        (16, 1, 0, 1, 0.002),  # the others are about to come
        (16, 15, 0, 1, 0.002),
        (16, 16, 0, 1, 0.0),  # all are there
        (16, 8, 8, 2, 0.0),  # or with another worker
        (16, 7, 8, 2, 0.002),
    ],
)
def test_waiting_is_for_those_who_come_together(
    together: int, queued: int, sent: int, workers: int, wait: float
) -> None:
    assert paced(together, 0.010).wait(queued, sent, workers, 0.002) == wait


def test_half_a_call_is_the_longest_wait() -> None:
    assert paced(16, 0.001).wait(1, 0, 1, 0.002) == pytest.approx(0.0005)


def test_nobody_waits_before_anything_is_known_or_once_the_crowd_is_gone() -> None:
    assert Pace().wait(1, 0, 1, 0.002) == 0
    pace = paced(16, 0.010)
    for _ in range(8):
        assert pace.wait(1, 0, 1, 0.002) > 0
        pace.arrived(1)
        pace.predicted(0.010, 1)
    assert pace.wait(1, 0, 1, 0.002) == 0


def test_the_queue_s_time_is_that_of_its_calls() -> None:
    pace = Pace()
    assert pace.queue_seconds(100, 100, 10, 1) == 0
    for rows in (1, 50, 100, 1, 50, 100, 1, 50, 100):
        pace.predicted(0.010 + rows * 0.001, rows)
    assert pace.queue_seconds(100, 100, 100, 1) == pytest.approx(0.11, rel=0.05)
    assert pace.queue_seconds(100, 100, 1, 1) == pytest.approx(1.1, rel=0.05)
    assert pace.queue_seconds(100, 100, 1, 4) == pytest.approx(0.275, rel=0.05)
    assert pace.queue_seconds(0, 0, 1, 1) == 0


def test_one_size_of_call_says_nothing_of_a_row() -> None:
    assert paced(1, 0.020).queue_seconds(200, 200, 256, 1) == pytest.approx(0.020)
