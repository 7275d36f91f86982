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


def paced(gap: float, call: float) -> Pace:
    """After many requests, so many seconds apart, and calls of so many seconds."""
    pace = Pace()
    for number in range(50):
        pace.arrived(number * gap)
        pace.predicted(call, 1)
    return pace


@pytest.mark.parametrize(
    ("gap", "call", "workers", "wait"),
    [
        (1.0, 0.010, 1, 0.0),  # idle: waiting gains nothing
        (0.001, 0.010, 1, 0.002),  # ten times too fast: the bound
        (0.0001, 0.001, 1, 0.0005),  # a short call: half of it
        (0.001, 0.010, 40, 0.0),  # enough workers for one call each
        (0.003, 0.004, 1, 0.0),  # nobody would come in that time
    ],
)
def test_waiting_follows_the_load(gap: float, call: float, workers: int, wait: float) -> None:
    assert paced(gap, call).wait(workers, most=0.002) == pytest.approx(wait)


def test_nobody_waits_before_anything_is_known_or_after_a_pause() -> None:
    assert Pace().wait(1, 0.002) == 0
    pace = paced(0.001, 0.010)
    assert pace.wait(1, 0.002) > 0
    pace.arrived(100.0)
    assert pace.wait(1, 0.002) == 0


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
    assert paced(1.0, 0.020).queue_seconds(200, 200, 256, 1) == pytest.approx(0.020)
