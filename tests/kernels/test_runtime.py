"""A kernel where it works: alone, damaged, and far from this package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from tests.kernels.conftest import Data, columns, log, manifest

from headrace.kernels import (
    Kernel,
    KernelDamagedError,
    UnusableKernelError,
    compile_model,
    ensure_kernel,
    load_kernel,
    runtime,
)

if TYPE_CHECKING:
    from tests.kernels.conftest import Save

ANY = st.floats(allow_nan=True, allow_infinity=True, width=64)


@pytest.fixture(scope="module")
def boosted(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Path:
    """A model that takes any number, compiled."""
    X = data.holes[list("abc")]
    model = HistGradientBoostingClassifier(max_iter=10).fit(X, data.labels["binary"])
    home = log(tmp_path_factory.mktemp("boosted") / "model", model, X)
    assert compile_model(home, X).proven
    return home


@pytest.fixture(scope="module")
def original(boosted: Path) -> Any:
    return mlflow.pyfunc.load_model(str(boosted))


@pytest.fixture
def kernel(boosted: Path) -> Kernel:
    found = load_kernel(boosted)
    assert found is not None
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(ANY, ANY, ANY), min_size=1, max_size=20))
def test_any_numbers_score_as_the_original(
    boosted: Path, original: Any, rows: list[tuple[float, float, float]]
) -> None:
    found = load_kernel(boosted)
    assert found is not None
    frame = pd.DataFrame(rows, columns=list("abc"), dtype="float64")
    expected = original.predict(frame)
    answer = found.predict(columns(frame), len(frame))
    np.testing.assert_allclose(answer["score"], expected["score"], rtol=1e-9, atol=1e-9)
    assert answer["label"].tolist() == expected["label"].tolist()


def test_rows_alone_and_together_get_the_same_bits(kernel: Kernel, data: Data) -> None:
    given = columns(data.holes[list("abc")])
    together = kernel.predict(given, 600)
    for row in range(0, 600, 3):
        alone = kernel.predict({name: values[row : row + 1] for name, values in given.items()}, 1)
        assert alone["score"].tobytes() == together["score"][row : row + 1].tobytes()
        assert alone["label"].tolist() == together["label"][row : row + 1].tolist()


def test_no_rows_get_no_answers(kernel: Kernel) -> None:
    answer = kernel.predict({name: np.empty(0) for name in "abc"}, 0)
    assert {name: len(values) for name, values in answer.items()} == {"score": 0, "label": 0}


def test_columns_may_be_of_any_numeric_type(kernel: Kernel) -> None:
    as_doubles = kernel.predict({name: np.array([1.0, 0.0]) for name in "abc"}, 2)
    mixed = {
        "a": np.array([1, 0], np.int32),
        "b": np.array([True, False]),
        "c": np.array([1, 0], object),
        "unused": np.array(["x", "y"], object),
    }
    assert kernel.predict(mixed, 2)["score"].tolist() == as_doubles["score"].tolist()
    nulls = kernel.predict({"a": np.array([None]), "b": np.zeros(1), "c": np.zeros(1)}, 1)
    nan = kernel.predict({"a": np.array([np.nan]), "b": np.zeros(1), "c": np.zeros(1)}, 1)
    assert nulls["score"].tolist() == nan["score"].tolist()


def test_a_missing_column_is_named(kernel: Kernel) -> None:
    with pytest.raises(KeyError, match="c"):
        kernel.predict({"a": np.zeros(1), "b": np.zeros(1)}, 1)


def test_the_model_still_loads_with_its_kernel_beside_it(original: Any, data: Data) -> None:
    assert list(original.predict(data.holes[list("abc")]).columns) == ["score", "label"]


def test_ensuring_a_kernel_keeps_the_one_there_is(boosted: Path) -> None:
    before = (boosted / "kernel" / "kernel.json").stat().st_mtime_ns
    assert ensure_kernel(boosted).proven
    assert (boosted / "kernel" / "kernel.json").stat().st_mtime_ns == before


def test_what_is_kept_of_the_proof(boosted: Path) -> None:
    found = manifest(boosted)
    assert found["format"] == 1
    assert [column["name"] for column in found["columns"]] == ["a", "b", "c"]
    assert found["labels"] == [False, True]
    assert found["report"]["tolerance"] == found["report"]["margin"] == 1e-9
    rows = {check["name"]: check["rows"] for check in found["report"]["checks"]}
    assert rows["rows"] == 600
    assert rows["steps round thresholds"] > 500
    assert all(check["agrees"] for check in found["report"]["checks"])


def _cut(home: Path) -> None:
    graph = home / "kernel" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-10])


def _changed(home: Path) -> None:
    graph = home / "kernel" / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)


def _gone(home: Path) -> None:
    (home / "kernel" / "model.onnx").unlink()


def _no_json(home: Path) -> None:
    (home / "kernel" / "kernel.json").write_text('{"format": 1')


def _other_format(home: Path) -> None:
    path = home / "kernel" / "kernel.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))


@pytest.mark.parametrize("damage", [_cut, _changed, _gone, _no_json, _other_format])
def test_a_damaged_kernel_is_not_used(
    boosted: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    home = tmp_path / "model"
    shutil.copytree(boosted, home)
    damage(home)
    with pytest.raises(KernelDamagedError) as refusal:
        load_kernel(home)
    assert refusal.value.model == home
    with pytest.raises(UnusableKernelError):
        Kernel(home / "kernel")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}'])
def test_a_damaged_report_is_made_again(boosted: Path, tmp_path: Path, text: str) -> None:
    home = tmp_path / "model"
    shutil.copytree(boosted, home)
    (home / "kernel" / "kernel.json").write_text(text)
    with pytest.raises(KernelDamagedError):
        load_kernel(home)
    assert ensure_kernel(home).proven
    assert load_kernel(home) is not None


def test_a_graph_of_a_newer_onnx_runtime_is_not_used(
    boosted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(graph: bytes, threads: int) -> Any:
        raise RuntimeError("ai.onnx.ml 5 is not known")

    monkeypatch.setattr(runtime, "session_of", refuses)
    with pytest.raises(KernelDamagedError, match=r"does not load it: ai\.onnx\.ml 5"):
        load_kernel(boosted)


def test_a_cut_off_compilation_leaves_no_kernel(
    save_model: Save, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = data.numbers[list("abcd")]
    model = RandomForestClassifier(3, max_depth=3).fit(X, data.labels["binary"])
    home = save_model(model, X)
    assert compile_model(home, X).proven
    replace = Path.replace

    def cut_off(self: Path, target: Path) -> Path:
        if Path(target).name == "kernel.json":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cut_off)
    with pytest.raises(OSError, match="No space"):
        compile_model(home, X)
    monkeypatch.undo()
    assert load_kernel(home) is None
    assert ensure_kernel(home).proven


SCRIPT = """
import pickle, sys
import numpy as np

score = pickle.loads(sys.stdin.buffer.read())
print(score(np.array([[0.5, -1.0, 2.0], [1.0, float("nan"), 0.0]])).tolist())
print("headrace" in sys.modules)
"""


def test_it_goes_by_value_to_a_process_without_this_package(boosted: Path, kernel: Kernel) -> None:
    directory = str(boosted / "kernel")
    cloudpickle.register_pickle_by_value(runtime)
    try:
        sent = cloudpickle.dumps(
            lambda rows: runtime.Kernel(directory).predict_matrix(rows)["score"]
        )
        whole = cloudpickle.loads(cloudpickle.dumps(kernel))
    finally:
        cloudpickle.unregister_pickle_by_value(runtime)
    rows = np.array([[0.5, -1.0, 2.0], [1.0, np.nan, 0.0]])
    expected = kernel.predict_matrix(rows)["score"].tolist()
    assert whole.predict_matrix(rows)["score"].tolist() == expected
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=sent, capture_output=True, timeout=120, check=True
    )
    assert found.stdout.decode().splitlines() == [str(expected), "False"]
