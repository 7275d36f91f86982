"""Copies of requests to a deployment that does not answer them yet.

What it would have answered is compared with what was answered, and counts as evidence for the
rules of its rollout. Nothing here is logged as a request, and nothing can hold one up: a copy
waits in a bounded queue, is scored with a deadline of its own, and is dropped where that is full.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.errors import HeadraceError
from headrace.serving.errors import OverloadedError
from headrace.serving.scorer import score
from headrace.workers.errors import PoolClosedError

if TYPE_CHECKING:
    from headrace.payloads.answer import Answers
    from headrace.payloads.inputs import Inputs
    from headrace.payloads.payload import Payload
    from headrace.serving.live import LiveDeployment

log = logging.getLogger(__name__)

DEADLINE_SECONDS: Final = 10.0
_WAITING: Final = 256
_WAITING_ROWS: Final = 100_000
_AT_ONCE: Final = 4


@dataclass(frozen=True)
class Target:
    """Who gets the copies of an endpoint's requests.

    Attributes:
        deployment: scores them.
        share: of the other deployment's requests, from 0 to 1.
    """

    deployment: LiveDeployment
    share: float


@dataclass(slots=True)
class _Copy:
    endpoint: str
    target: LiveDeployment
    answered_by: LiveDeployment
    payload: Payload
    inputs: Inputs
    answers: Answers


class Mirror:
    """Lives in the event loop that answers requests.

    Attributes:
        targets: by endpoint; the reconciler replaces it as a whole.
        counts: by endpoint: ``offered``, ``compared``, ``failed`` (the new deployment did not
            answer), and ``dropped`` (there was no room or no time to ask it).
    """

    def __init__(self, deadline: float = DEADLINE_SECONDS) -> None:
        self.targets: Mapping[str, Target] = {}
        self.counts: dict[str, Counter[str]] = {}
        self._deadline = deadline
        self._queue: deque[_Copy] = deque()
        self._rows = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # Not for secrets.
        self._random = random.Random()  # noqa: S311

    def offer(
        self,
        endpoint: str,
        deployment: LiveDeployment,
        payload: Payload,
        inputs: Inputs,
        answers: Answers,
    ) -> None:
        """Take a copy of a request that was answered, if it is to be mirrored.

        Never waits, and raises nothing.

        Args:
            endpoint: its name.
            deployment: has answered.
            payload: the request; typed again where the other version has another signature.
            inputs: typed by the signature of ``deployment``.
            answers: what was answered.
        """
        target = self.targets.get(endpoint)
        if target is None or target.deployment.record.id == deployment.record.id:
            return
        if self._random.random() >= target.share:
            return
        counts = self.counts.setdefault(endpoint, Counter())
        counts["offered"] += 1
        if len(self._queue) >= _WAITING or self._rows + inputs.rows > _WAITING_ROWS:
            counts["dropped"] += 1
            return
        self._rows += inputs.rows
        self._queue.append(_Copy(endpoint, target.deployment, deployment, payload, inputs, answers))
        if len(self._tasks) < _AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until no copy is left."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _work(self) -> None:
        while self._queue:
            copy = self._queue.popleft()
            self._rows -= copy.inputs.rows
            copy.target.busy += 1
            try:
                self.counts[copy.endpoint][await self._compare(copy)] += 1
            finally:
                copy.target.busy -= 1

    async def _compare(self, copy: _Copy) -> str:
        """Score a copy and compare; what has become of it."""
        target, observations = copy.target, copy.target.observations
        deadline = time.monotonic() + self._deadline
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline + 1):
                inputs = copy.inputs
                if target.scorer.signature != copy.answered_by.scorer.signature:
                    inputs = target.scorer.signature.typed(copy.payload)
                found = await score(
                    target.scorer, inputs, copy.payload.params, deadline, target.record.model
                )
        except (OverloadedError, PoolClosedError):
            # The plane has no thread to spare, or other workers have taken the place of these:
            # nobody's fault, and no evidence.
            return "dropped"
        except (HeadraceError, TimeoutError) as error:
            # Not its text, which may hold values of the request.
            code = getattr(error, "code", "deadline_exceeded")
            log.info("%s did not answer a mirrored request: %s", target.record.model, code)
            observations.failed()
            return "failed"
        observations.answered(time.perf_counter() - started)
        observations.compared(distance(copy.answers, found, observations.distance_cap))
        return "compared"


def distance(given: Answers, mirrored: Answers, cap: float = 1.0) -> float:
    """How far two versions' answers to one request are apart.

    Args:
        given: of the version that answered.
        mirrored: of the other one.
        cap: the largest difference of two scores that counts as itself.

    Returns:
        The mean over the rows of the absolute difference of the scores, each at most ``cap``; a
        row that only one version gives a score has ``cap``. Where neither gives scores, the share
        of the rows whose answers differ.
    """
    if given.rows != mirrored.rows:
        return cap
    if not given.rows:
        return 0.0
    one, two = given.scores(), mirrored.scores()
    if all(value is None for value in (*one, *two)):
        pairs = zip(given.values(), mirrored.values(), strict=True)
        return sum(bool(a != b) for a, b in pairs) / given.rows
    apart = [_apart(a, b, cap) for a, b in zip(one, two, strict=True)]
    return math.fsum(apart) / given.rows


def _apart(one: float | None, two: float | None, cap: float) -> float:
    missing = [value is None or math.isnan(value) for value in (one, two)]
    if one is None or two is None or any(missing):
        return 0.0 if all(missing) else cap
    return 0.0 if one == two else min(float(abs(one - two)), cap)
