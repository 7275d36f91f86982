"""Requests through a pool: what comes back, what fails alone, what is shared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.workers.conftest import rows, soon

from headrace.workers import ModelFailedError, WorkerPool, kind_of

if TYPE_CHECKING:
    import pyarrow as pa

COUNTS = """
import pandas as pd

class Model:
    def predict(self, frame):
        if (frame["x"] < 0).any():
            raise ValueError("no roots of negative numbers\\nsecond line")
        return pd.DataFrame({"root": frame["x"] ** 0.5, "shared": len(frame)})
"""


def test_a_pool_predicts_and_one_bad_request_fails_alone(
    make_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    async def use(pool: WorkerPool) -> Any:
        return await asyncio.gather(
            *(pool.predict(rows(value), None, soon()) for value in (4.0, 9.0, -1.0, 16.0)),
            return_exceptions=True,
        )

    first, second, bad, last = run_pool(make_model(COUNTS), use, max=1)
    assert [each["root"].to_pylist() for each in (first, second, last)] == [[2.0], [3.0], [4.0]]
    assert kind_of(first) == "frame"
    assert isinstance(bad, ModelFailedError)
    assert bad.kind == "ValueError"
    assert bad.reason == "ValueError: no roots of negative numbers"


def test_requests_that_come_together_share_a_call(
    make_model: Callable[..., Path], run_pool: Callable[..., Any]
) -> None:
    async def use(pool: WorkerPool) -> list[pa.Table]:
        return list(
            await asyncio.gather(
                *(pool.predict(rows(float(value)), None, soon()) for value in range(50))
            )
        )

    answers = run_pool(make_model(COUNTS), use, max=1)
    assert [each["root"][0].as_py() for each in answers] == pytest.approx(
        [value**0.5 for value in range(50)]
    )
    assert max(each["shared"][0].as_py() for each in answers) > 1
