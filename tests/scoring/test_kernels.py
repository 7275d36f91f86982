"""What predicts: the kernel, a process in the model's environment, or the model in the engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from headrace import kernels
from headrace.environments import Environment
from headrace.registry import resolve
from headrace.scoring import layout, score, scorers, store
from headrace.scoring.crews import worker_table
from headrace.scoring.errors import KernelTooLargeError, ScoringFailedError
from headrace.scoring.predict import prediction_table
from headrace.workers import process
from headrace.workers.result import decode

from .conftest import MLFLOW_WARNINGS, Scored, rows
from .engines import CLIENT, serve
from .trained import artifacts, kernel_answers, predictions, spec_of, to_score

if TYPE_CHECKING:
    from tests.modelling import ModelProject

pytestmark = MLFLOW_WARNINGS


@pytest.mark.parametrize("large", [0, 10**9])
def test_a_table_is_scored_by_the_kernel_bit_for_bit(
    trained: ModelProject, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    """In either layout: a small forest is left as it is, a large one goes tree by tree."""
    monkeypatch.setattr(layout, "LARGE", large)
    spec, table = spec_of(trained, "plain"), to_score()
    trained.put(table, "gold.plain")
    laid_out = trained.workspace.paths.temporary.glob("models/*/kernel-batch")
    for home in laid_out:
        shutil.rmtree(home)
    done = score(trained.workspace, spec, full=True)

    report = kernels.read_report(artifacts(trained, resolve(trained.workspace, "failure/1")))
    assert report is not None
    assert done.scorer == f"kernel {report.digest}"
    found, expected = predictions(trained, spec), kernel_answers(trained, table)
    assert found["score"].to_numpy().tobytes() == expected["score"].tobytes()
    assert found["label"].tolist() == expected["label"].tolist()
    original = trained.workspace.paths.temporary / "models" / done.model_id
    assert (original / "kernel-batch" / "model.onnx").is_file() == (large == 0)


def test_the_record_says_what_predicted(trained: ModelProject) -> None:
    spec = spec_of(trained, "recorded")
    trained.put(to_score(20), "gold.recorded")
    done = score(trained.workspace, spec)
    record = store.get(trained.workspace.store, done.id)
    assert record is not None
    assert record.scorer == done.scorer
    assert score(trained.workspace, spec).scorer == done.scorer  # nothing to do


def test_rows_of_another_scorer_do_not_stay(
    trained: ModelProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel and its original agree within a tolerance only: one table has one of them."""
    spec = spec_of(trained, "mixed")
    trained.put(to_score(50), "gold.mixed")
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "read_report", lambda _model: None)
        assert score(trained.workspace, spec).scorer == "pyfunc"
    trained.put(to_score(60), "gold.mixed")
    done = score(trained.workspace, spec)
    assert str(done.scorer).startswith("kernel ")
    assert (done.scored, done.unchanged) == (60, 0)


def test_the_original_agrees_within_the_tolerance(
    trained: ModelProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_kernel, by_model = spec_of(trained, "both"), spec_of(trained, "both")
    by_model = by_model.model_copy(update={"table": "gold.both_original"})
    trained.put(to_score(), "gold.both")
    score(trained.workspace, by_kernel)
    monkeypatch.setattr(kernels, "read_report", lambda _model: None)
    score(trained.workspace, by_model)
    one, other = predictions(trained, by_kernel), predictions(trained, by_model)
    np.testing.assert_allclose(one["score"], other["score"], rtol=0, atol=1e-9)
    assert one["label"].tolist() == other["label"].tolist()


def test_a_damaged_kernel_scores_nothing(trained: ModelProject, tmp_path: Path) -> None:
    home = tmp_path / "model"
    version = resolve(trained.workspace, "failure/1")
    shutil.copytree(artifacts(trained, version), home)
    with (home / "kernel" / "model.onnx").open("ab") as graph:
        graph.write(b"x")
    from headrace.scoring.model import fetch

    model = replace(fetch(trained.workspace, version, "gold.x"), path=home)
    with (
        pytest.raises(kernels.KernelDamagedError),
        scorers.choose(model, model.inputs, "gold.x"),
    ):
        pytest.fail("a damaged kernel was chosen")


def test_copies_of_models_go_a_week_after_their_last_use(trained: ModelProject) -> None:
    from headrace.scoring.model import fetch

    version = resolve(trained.workspace, "failure/1")
    made = fetch(trained.workspace, version, "gold.x").path
    old, recent = made.with_name("m-old"), made.with_name("m-recent")
    old.mkdir()
    recent.mkdir()
    week = 7 * 24 * 3600
    os.utime(old, (0, time.time() - week - 60))
    os.utime(recent, (0, time.time() - week + 60))
    os.utime(made, (0, 0))
    fetch(trained.workspace, version, "gold.x")  # is a use
    assert old.is_dir()
    assert time.time() - made.stat().st_mtime < 60
    shutil.rmtree(made)
    fetch(trained.workspace, version, "gold.x")
    assert not old.exists()
    assert recent.is_dir()
    assert made.is_dir()


def test_a_kernel_that_is_too_large_to_send_says_so(
    trained: ModelProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headrace.scoring.model import fetch

    monkeypatch.setenv("HEADRACE_ENGINE", "sc://elsewhere")
    monkeypatch.setattr(scorers, "SENT_BYTES", 1000)
    version = resolve(trained.workspace, "failure/1")
    model = fetch(trained.workspace, version, "gold.x")
    with (
        pytest.raises(KernelTooLargeError, match="too large for a remote engine"),
        scorers.choose(model, model.inputs, "gold.x"),
    ):
        pytest.fail("it was sent")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lock differs from this environment; its own is made of this interpreter."""
    other = Environment(Path(sys.executable), "f" * 64)
    monkeypatch.setattr("headrace.environments.ensure", lambda _lock: other)


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
def test_a_model_of_another_environment_is_scored_by_its_processes(
    scored: Scored, log_model: object
) -> None:
    assert callable(log_model)
    expression = "pd.DataFrame({'score': model_input['a'] + 0 * os.getpid(), 'pid': os.getpid()})"
    outputs = pd.DataFrame({"score": [0.5], "pid": [1]})
    scored.promote(log_model(scored.model, expression, outputs=outputs))
    scored.write_input(rows(50_000))
    done = score(scored.workspace, scored.spec)
    assert done.scorer == "environment " + "f" * 64
    found = scored.predictions()
    assert found["score"].tolist() == [float(i) for i in range(50_000)]
    pids = set(found["pid"])
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    "returned",
    [
        np.array([0.0, 2.0, 4.0]),
        np.array([[0.0], [2.0], [4.0]]),
        np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]),
        np.array([1, 2, 3], np.int32),
        ["x0", "x1", "x2"],
        pd.Series([0.0, 1.0, 2.0], name="rul"),
        pd.Series([0.0, 1.0, 2.0]),
        pd.DataFrame({"score": [0.1, 0.2, 0.3], "label": ["a", "b", None]}),
        pd.DataFrame({0: [0.1, 0.2, 0.3], 1: [1, 2, 3]}),
    ],
    ids=lambda returned: f"{type(returned).__name__}{np.shape(returned)}",
)
def test_what_a_process_returns_becomes_the_same_columns(returned: Any) -> None:
    kind, data = process.encode(returned, 3)
    by_worker = worker_table(decode(kind, bytes(data)), 3)
    assert by_worker.equals(prediction_table(returned, 3))


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
def test_an_error_in_a_process_fails_the_scoring(scored: Scored, log_model: object) -> None:
    assert callable(log_model)
    scored.promote(log_model(scored.model, "1 / 0"))
    with pytest.raises(ScoringFailedError, match="ZeroDivisionError: division by zero"):
        score(scored.workspace, scored.spec)
    scored.promote(log_model(scored.model, "os._exit(3)"))
    with pytest.raises(ScoringFailedError, match="exit status 3"):
        score(scored.workspace, scored.spec)


@pytest.mark.slow
def test_the_kernel_travels_to_an_engine_that_has_neither_package_nor_model(
    trained: ModelProject, tmp_path: Path
) -> None:
    """The server sees the tables, and no file of the model."""
    spec, table = spec_of(trained, "remote"), to_score(500)
    trained.put(table, "gold.remote")
    root = trained.workspace.paths.root
    with serve(tmp_path, hidden=[root / ".headrace"]) as address:
        script = tmp_path / "client.py"
        script.write_text(CLIENT)
        kept = {k: v for k, v in os.environ.items() if k != "SPARK_REMOTE"}
        done = subprocess.run(
            [sys.executable, str(script), spec.model_dump_json()],
            env={**kept, "HEADRACE_PROJECT": str(root), "HEADRACE_ENGINE": address},
            cwd=root,
            capture_output=True,
            text=True,
            timeout=180,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "scored 500 0 overwrite"
    expected = kernel_answers(trained, table)
    found = predictions(trained, spec)
    assert found["score"].to_numpy().tobytes() == expected["score"].tobytes()
