from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow
import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

SCHEMA = pyarrow.schema(
    [
        ("id", pyarrow.int64()),
        ("device", pyarrow.string()),
        ("at", pyarrow.timestamp("us", "UTC")),
        ("load", pyarrow.float64()),
    ]
)

MakeRows = Callable[..., pyarrow.Table]


@pytest.fixture
def make_rows() -> MakeRows:
    """So many telemetry rows, numbered from ``first``."""

    def make(count: int = 10, first: int = 0) -> pyarrow.Table:
        numbers = range(first, first + count)
        return pyarrow.table(
            {
                "id": list(numbers),
                "device": [f"d{number % 3}" for number in numbers],
                "at": [NOON + timedelta(seconds=number) for number in numbers],
                "load": [number / 2 for number in numbers],
            },
            SCHEMA,
        )

    return make


@pytest.fixture
def location(tmp_path: Path) -> Path:
    """A directory whose name needs encoding in an address."""
    return tmp_path / "my tables" / "100% ä"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A Spark session on Sail: another implementation of Delta, to check ours against."""
    os.environ.setdefault("RUST_LOG", "error")
    from pysail.spark import SparkConnectServer
    from pyspark.sql.connect.session import SparkSession

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    host, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://{host}:{port}").create()
    yield session
    session.stop()
    server.stop()
