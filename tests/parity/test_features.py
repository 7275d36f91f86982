"""Logged requests against the feature table: the row of an entity and a time, at that time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.modelling import ModelProject, make_model_project

from headrace import clock, lakehouse
from headrace.endpoints import EndpointSpec, declare
from headrace.parity.errors import FeatureTableError, NoRequestsError
from headrace.parity.features import FeatureParity, compare_features
from headrace.registry import ModelVersion, register
from headrace.requestlog import request_table
from headrace.requestlog.tables import request_rows
from headrace.scoring import PredictionSpec, score
from headrace.tracking import train

START = datetime(2026, 1, 1, tzinfo=UTC)


def features(hours: int, shift: float = 0.0) -> pa.Table:
    """Devices a and b, a row an hour."""
    rows = [
        {"device": device, "at": START + timedelta(hours=hour), "heat": hour + more + shift,
         "shake": None if hour == 2 else float(hour), "fails": (hour + at) % 2 == 0}
        for at, (device, more) in enumerate((("a", 0.0), ("b", 0.5)))
        for hour in range(hours)
    ]  # fmt: skip
    kinds = [
        ("device", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("heat", pa.float64()),
        ("shake", pa.float64()),
        ("fails", pa.bool_()),
    ]
    return pa.Table.from_pylist(rows, pa.schema(kinds))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelProject]:
    made = make_model_project(tmp_path_factory.mktemp("features") / "project", features(40))
    yield made
    made.workspace.close()


@pytest.fixture(scope="module")
def version(project: ModelProject) -> ModelVersion:
    spec = project.spec(key=["device", "at"], features=["heat", "shake"], holdout={"last": "25%"})
    return register(project.workspace, spec, train(project.workspace, spec))


@pytest.fixture
def asked(project: ModelProject, version: ModelVersion) -> Callable[..., str]:
    """Writes a request log; gives the endpoint's name."""
    made = 0

    def ask(*requests: dict[str, Any], at: datetime | None = None, **columns: Any) -> str:
        nonlocal made
        made += 1
        name = f"asked-{clock.now():%H%M%S%f}-{made}"
        declare(project.workspace, EndpointSpec(name=name, model="failure/1", key=["device"]))
        record = {
            "request_id": "r",
            "endpoint": name,
            "deployment": "d",
            "colour": "blue",
            "model_name": version.name,
            "model_version": version.version,
            "model_id": version.model_id,
            "latency_ms": 1.0,
            "status": 200,
            "params": None,
            "at": clock.iso(at or clock.now()),
            "rows": [
                {
                    "id": f"p{number}",
                    "key": columns.get("key"),
                    "request": json.dumps(request),
                    "prediction": "{}",
                    "score": 0.5,
                }
                for number, request in enumerate(requests)
            ],
        }
        entry = project.workspace.catalog.create_table(request_table(name))
        assert entry.location is not None
        lakehouse.write(entry.location, request_rows([record]))
        return name

    return ask


def request(hour: int, device: str = "a", **changes: Any) -> dict[str, Any]:
    """What a caller sends who reads the table."""
    found: dict[str, Any] = {
        "device": device,
        "at": (START + timedelta(hours=hour)).isoformat(),
        "heat": float(hour) + (0.5 if device == "b" else 0.0),
        "shake": None if hour == 2 else float(hour),
    }
    return found | changes


def compared(project: ModelProject, endpoint: str, **options: Any) -> FeatureParity:
    return compare_features(project.workspace, endpoint, **options)


def column(found: FeatureParity, name: str) -> Any:
    return next(each for each in found.columns if each.name == name)


def test_requests_that_say_what_the_table_says(
    project: ModelProject, asked: Callable[..., str]
) -> None:
    found = compared(project, asked(request(1), request(2), request(3, "b")))
    assert (found.requests, found.matched, found.agreed) == (3, 3, True)
    assert found.tables == {"main.gold.features": 3}
    assert [each.name for each in found.columns] == ["heat", "shake"]
    assert column(found, "heat").largest == 0.0


def test_differences_are_counted_and_shown(
    project: ModelProject, asked: Callable[..., str]
) -> None:
    endpoint = asked(
        request(1, heat=1.25), request(2, shake=7.0), request(3, shake=None), request(4)
    )
    found = compared(project, endpoint)
    heat, shake = column(found, "heat"), column(found, "shake")
    assert (heat.compared, heat.equal, heat.different, heat.largest) == (4, 3, 1, 0.25)
    assert heat.examples == (
        f"device=a, at={(START + timedelta(hours=1)).isoformat()}: "
        "1.25 was sent, the table says 1.0",
    )
    assert (shake.missing_in_request, shake.missing_in_table) == (1, 1)
    assert not found.agreed


def test_requests_that_lead_to_no_row(project: ModelProject, asked: Callable[..., str]) -> None:
    endpoint = asked(
        request(1), request(5000), request(2, device="nobody"), {"heat": 1.0},
        request(3, at="no time"),
    )  # fmt: skip
    found = compared(project, endpoint)
    assert (found.requests, found.matched) == (5, 1)
    assert found.without_key + found.without_row == 4


def test_without_a_time_the_newest_row_before_the_request_is_meant(
    project: ModelProject, asked: Callable[..., str]
) -> None:
    sent = {"heat": 5.0, "shake": 5.0}
    at = START + timedelta(hours=5, minutes=30)
    found = compared(project, asked(sent, at=at, key="a"))
    assert (found.matched, found.agreed) == (1, True)


def test_only_what_is_recent_is_looked_at(project: ModelProject, asked: Callable[..., str]) -> None:
    endpoint = asked(request(1), at=clock.now() - timedelta(days=3))
    assert compared(project, endpoint, since=timedelta(days=7)).requests == 1
    with pytest.raises(NoRequestsError):
        compared(project, endpoint, since=timedelta(days=1))


def test_a_sample_is_the_same_each_time(project: ModelProject, asked: Callable[..., str]) -> None:
    endpoint = asked(*(request(hour % 40) for hour in range(60)))
    first, second = (compared(project, endpoint, sample=10) for _ in range(2))
    assert first == second
    assert first.requests == 10


def test_an_endpoint_without_a_log(project: ModelProject) -> None:
    declare(project.workspace, EndpointSpec(name="silent", model="failure/1"))
    with pytest.raises(NoRequestsError):
        compared(project, "silent")


def test_what_is_scored_in_batch_comes_before_what_was_trained_on(
    project: ModelProject, version: ModelVersion, asked: Callable[..., str]
) -> None:
    project.put(features(45).slice(40, 5), "gold.latest")
    spec = PredictionSpec(table="gold.scores", model="failure/1", input="gold.latest")
    score(project.workspace, spec)
    found = compared(project, asked(request(41), request(42), request(3), request(5000)))
    assert found.tables == {"main.gold.latest": 2, "main.gold.features": 1}
    assert (found.matched, found.without_row, found.agreed) == (3, 1, True)


def test_nothing_found_is_no_agreement(project: ModelProject, asked: Callable[..., str]) -> None:
    found = compared(project, asked(request(5000)))
    assert found.agreed is None


def test_a_version_whose_files_are_gone_is_not_compared(
    project: ModelProject, asked: Callable[..., str]
) -> None:
    project.put(features(40), "gold.swept")
    endpoint = asked(request(1))
    location = project.workspace.catalog.location_for("gold.swept")
    for file in lakehouse.files(location):
        Path(file.path).unlink()
    project.put(features(40), "gold.swept")
    found = compared(project, endpoint, table="gold.swept")
    assert (found.matched, found.left_out, found.agreed) == (0, 1, None)


def test_a_table_without_the_key(project: ModelProject, asked: Callable[..., str]) -> None:
    project.put(pa.table({"heat": [1.0]}), "gold.other")
    with pytest.raises(FeatureTableError, match=r"(?s)device"):
        compared(project, asked(request(1)), table="gold.other")


def test_the_row_is_that_of_the_request_s_own_time(
    tmp_path: Path, project: ModelProject, asked: Callable[..., str]
) -> None:
    """The table was made anew since; a row that came later is found in the newest version."""
    early = asked(request(1), request(45))
    project.put(features(50, shift=100.0))
    late = asked(request(1, heat=101.0))
    found = compared(project, early)
    assert (found.matched, found.later) == (2, 1)
    heat = column(found, "heat")
    assert (heat.equal, heat.different, heat.largest) == (1, 1, 100.0)
    assert compared(project, late).agreed
