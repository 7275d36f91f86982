"""The recorded rows go through a deployment before it takes traffic."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.modelling import models as models
from tests.parity.registered import copied as copied
from tests.parity.registered import forest as forest
from tests.parity.registered import tamper_with_kernel
from tests.planes import eventually

from headrace.endpoints import endpoint_status
from headrace.environments import Environment, Lock
from headrace.kernels import load_kernel
from headrace.parity import record
from headrace.parity.errors import EnvironmentDiffersError
from headrace.parity.store import reports_of_deployment
from headrace.payloads.answer import Answers
from headrace.payloads.signature import Field, Signature
from headrace.serving.loading import _same_environment
from headrace.serving.parity import check_live
from headrace.serving.pool import ThreadPool
from headrace.serving.scorer import KernelScorer

from .fakes import Adder, deployment
from .worlds import World, adder, colours, settle, ticked
from .worlds import world as world

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.endpoints.records import Deployment
    from headrace.payloads.inputs import Inputs
    from headrace.serving.scorer import Scorer


def write_record(model: Path, columns: dict[str, Any], scores: list[float]) -> Path:
    """A record of these rows and answers, as the training writes one."""
    home = model / record.DIRECTORY
    home.mkdir(parents=True)
    pq.write_table(pa.table(columns), home / record.ROWS)
    pq.write_table(pa.table({"score": scores}), home / record.ANSWERS)
    names = (record.ROWS, record.ANSWERS)
    facts = {
        "format": record.FORMAT,
        "rows": len(scores),
        "holdout_rows": 9,
        "seed": 0,
        "answered_by": "the fitted model",
        "digests": {name: hashlib.sha256((home / name).read_bytes()).hexdigest() for name in names},
        "python": "3.11.9",
        "libraries": {},
    }
    (home / record.FACTS).write_text(json.dumps(facts))
    return model


def kernel_of(model: Path) -> KernelScorer:
    kernel = load_kernel(model)
    assert kernel is not None
    signature = Signature.of_model(model, "failure")
    return KernelScorer(kernel, signature, b"", ThreadPool(1, 1, 30.0))


def test_a_kernel_answers_requests_as_it_was_trained(copied: Path) -> None:
    found = check_live(kernel_of(copied), copied, "failure", 1)
    assert [(each.route, each.rows, each.agreed) for each in found] == [
        ("live, JSON", 256, True),
        ("live, Arrow", 256, True),
    ]


def test_a_tampered_kernel_is_told_with_the_row_and_both_values(copied: Path) -> None:
    tamper_with_kernel(copied)
    found = check_live(kernel_of(copied), copied, "failure", 1)
    for each in found:
        assert each.agreed is False
        first = each.examples[0]
        assert first.output == "score"
        assert each.reason is not None
        assert f"row {first.row}: score {first.recorded!r} at training" in each.reason


def test_a_model_without_a_record_is_not_compared(tmp_path: Path) -> None:
    (found,) = check_live(Adder(), tmp_path, "model", 1)
    assert found.agreed is None


def test_a_record_that_is_damaged_is_no_agreement(copied: Path) -> None:
    (copied / "parity" / "rows.parquet").unlink()
    (found,) = check_live(kernel_of(copied), copied, "failure", 1)
    assert found.agreed is False
    assert "rows.parquet is gone" in (found.reason or "")


def test_what_json_cannot_hold_goes_as_arrow(tmp_path: Path) -> None:
    values = [1.0, float("inf"), 3.0]
    model = write_record(tmp_path, {"a": values, "n": ["x", "y", None]}, [1.0, np.inf, 3.0])
    found = check_live(Adder(), model, "model", 1)
    assert [(each.rows, each.agreed) for each in found] == [(2, True), (3, True)]


def test_a_row_that_is_refused_is_a_disagreement(tmp_path: Path) -> None:
    model = write_record(tmp_path, {"a": ["no number"], "n": ["x"]}, [1.0])
    for each in check_live(Adder(), model, "model", 1):
        assert each.agreed is False
        assert "a" in (each.reason or "")


class Broken(Adder):
    """An answer that cannot be told as JSON or Arrow."""

    async def predict(self, *_: object) -> Answers:
        return Answers.of(np.array([object()]), 1)


def test_answers_that_cannot_be_read_are_a_disagreement(tmp_path: Path) -> None:
    model = write_record(tmp_path, {"a": [1.0]}, [1.0])
    for each in check_live(Broken(), model, "model", 1):
        assert each.agreed is False
        assert each.reason


@pytest.fixture
def recorded_world(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Version N answers a + 100 N; version 2's record says something else."""
    paths = {}
    for number, offset in ((1, 100.0), (2, 250.0), (3, 300.0)):
        rows = {"a": [1.0, 2.0], "n": ["x", None]}
        paths[f"m-{number}"] = write_record(
            tmp_path / f"m-{number}", rows, [1.0 + offset, 2.0 + offset]
        )
    load = world.loader.__class__.__call__

    def loaded(
        loader: Any, deployment: Deployment, uri: str, known: Path | None
    ) -> tuple[Scorer, Path]:
        return load(loader, deployment, uri, known)[0], paths[deployment.model_id]

    monkeypatch.setattr(world.loader.__class__, "__call__", loaded)
    return world


def test_a_green_that_answers_otherwise_never_becomes_ready(recorded_world: World) -> None:
    world = recorded_world
    plane = world.start()
    blue = world.deploy(1)
    settle(plane, {"blue"})
    green = world.deploy(2)
    eventually(lambda: ticked(plane) and world.state(2) == "failed")
    settle(plane, {"blue"})
    newest = endpoint_status(world.workspace, "scores").deployments[0]
    assert newest.reason == (
        "model/2 does not answer as it did when it was trained. 2 of 2 rows differ by more than "
        "1e-09; row 0: score 251.0 at training, 201.0"
    )
    store = world.workspace.store
    assert [kept.report.agreed for kept in reports_of_deployment(store, green)] == [False, False]
    assert [kept.report.agreed for kept in reports_of_deployment(store, blue)] == [True, True]
    assert adder(plane.live.endpoint("scores").current()).offset == 100.0
    world.deploy(3)
    settle(plane, {"green"})
    assert adder(plane.live.endpoint("scores").current()).offset == 300.0


def test_what_has_answered_before_goes_on_and_its_report_tells(
    recorded_world: World, tmp_path: Path
) -> None:
    world = recorded_world
    first = world.start()
    blue = world.deploy(1)
    settle(first, {"blue"})
    answers = tmp_path / "m-1" / record.DIRECTORY / record.ANSWERS
    answers.write_bytes(b"something else")
    again = world.start()
    settle(again, {"blue"})
    assert colours(again) == {"blue"}
    assert world.state(1) == "ready"
    kept = {k.report.route: k.report for k in reports_of_deployment(world.workspace.store, blue)}
    assert kept["live"].agreed is False


def test_a_built_environment_that_was_changed_serves_nothing(tmp_path: Path) -> None:
    """Somebody installed into it: the interpreter is asked, and says so."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    told = {"python": platform.python_version(), "versions": {"NumPy": "1.26.4"}}
    python.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\n")
    python.chmod(0o700)
    lock = Lock("numpy==2.3.1\n")
    green = deployment()
    with pytest.raises(EnvironmentDiffersError, match=r"numpy==2.3.1 trained, 1.26.4 is installed"):
        _same_environment(green, lock, Environment(python, lock.digest))
    _same_environment(green, Lock("numpy==1.26.4\n"), Environment(python, ""))


class Typed(Adder):
    """score = hours of ``at`` + length of ``n``, 100 where it is on, and nothing for nulls."""

    signature = Signature(
        (
            Field("at", "datetime"),
            Field("n", "string"),
            Field("on", "boolean"),
            Field("a", "double"),
        )
    )

    async def predict(
        self, inputs: Inputs, params: Mapping[str, Any] | None, deadline: float
    ) -> Answers:
        """By columns, whose types are those of the signature."""
        at, texts = inputs.columns["at"], inputs.columns["n"]
        assert at.dtype == "datetime64[ns]"
        hours = (at - at.astype("datetime64[D]")) / np.timedelta64(1, "h")
        lengths = [0 if text is None else len(text) for text in texts]
        score = np.nan_to_num(hours) + lengths + 100 * inputs.columns["on"]
        return Answers.of(score + np.nan_to_num(inputs.columns["a"]), inputs.rows)


def test_times_texts_and_nulls_arrive_as_they_are(tmp_path: Path) -> None:
    moments = [3_600_000_000, None, 90_000_000_000]
    columns = {
        "at": pa.array(moments, pa.timestamp("us")),
        "n": ["abc", "", None],
        "on": [True, False, False],
        "a": [0.25, None, 1e-9],
    }
    model = write_record(tmp_path, columns, [104.25, 0.0, 1.0 + 1e-9])
    found = check_live(Typed(), model, "model", 1)
    assert [each.agreed for each in found] == [True, True], [each.reason for each in found]


IMPORTED = """
import sys
from pathlib import Path

from headrace.kernels import load_kernel
from headrace.payloads.signature import Signature
from headrace.serving.parity import check_live
from headrace.serving.pool import ThreadPool
from headrace.serving.scorer import KernelScorer

model = Path(sys.argv[1])
scorer = KernelScorer(load_kernel(model), Signature.of_model(model, "m"), b"", ThreadPool(1, 1, 30))
assert all(each.agreed for each in check_live(scorer, model, "m", 1))
print(sorted({"pandas", "mlflow", "pyspark", "sklearn"} & set(sys.modules)))
"""


def test_it_needs_neither_pandas_nor_mlflow(copied: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, str(copied)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stderr
