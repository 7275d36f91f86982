"""The environment that serves against the lock that trained."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest

from headrace.environments import Environment, Lock, closure
from headrace.parity import Recorded
from headrace.parity.environment import (
    Installed,
    ask,
    compare_environment,
    compare_runtime,
    here,
    installed_in,
)
from headrace.parity.errors import EnvironmentUnreadableError
from headrace.parity.knowledge import KNOWN, known_of

LOCK = Lock(
    "# Python 3.11.9\n# complete\nnumpy==2.3.1\npandas==2.3.0\nscikit-learn==1.7.2\n"
    'tomli==2.0.1 ; python_version < "3.9"\nxgboost-cpu==3.0.2\n'
)
SAME = {"numpy": "2.3.1", "pandas": "2.3.0", "scikit-learn": "1.7.2", "xgboost-cpu": "3.0.2"}


def test_what_the_lock_says_agrees() -> None:
    found = compare_environment(LOCK, Installed("3.11.13", SAME), "worker")
    assert found.agreed
    assert found.differences == ()


@pytest.mark.parametrize(
    ("changes", "line", "known"),
    [
        ({"scikit-learn": "1.6.1"}, "scikit-learn==1.7.2", "do not cross minor versions"),
        ({"scikit-learn": "1.7.0"}, "scikit-learn==1.7.2", "patch releases"),
        ({"numpy": "1.26.4"}, "numpy==2.3.1", "numpy._core"),
        ({"numpy": "2.3.0"}, "numpy==2.3.1", None),
        ({"pandas": "2.2.3"}, "pandas==2.3.0", "not of newer ones"),
        ({"pandas": "2.3.1"}, "pandas==2.3.0", None),
        ({"xgboost-cpu": "3.1.0"}, "xgboost-cpu==3.0.2", "crosses versions"),
    ],
)
def test_a_difference_blocks_with_its_line_and_what_is_known(
    changes: dict[str, str], line: str, known: str | None
) -> None:
    found = compare_environment(LOCK, Installed("3.11.9", SAME | changes), "worker")
    assert not found.agreed
    (difference,) = found.differences
    assert difference.line == line
    assert difference.found in changes.values()
    assert (difference.known is None) == (known is None)
    assert known is None or known in (found.reason or "")


def test_a_library_that_is_gone_blocks() -> None:
    less = {name: version for name, version in SAME.items() if name != "pandas"}
    found = compare_environment(LOCK, Installed("3.11.9", less), "worker")
    assert found.reason == "pandas==2.3.0 trained, it is not installed"


def test_another_minor_python_blocks() -> None:
    found = compare_environment(LOCK, Installed("3.12.1", SAME), "worker")
    assert found.reason is not None
    assert found.reason.startswith("Python 3.11.9 trained, 3.12.1 is installed: cloudpickle")


def test_a_lock_that_is_not_complete_asks_for_what_it_names() -> None:
    lock = Lock("mlflow\nnumpy>=2\nnot a requirement !\n")
    found = compare_environment(lock, Installed("3.12.1", {"mlflow": "3.1", "numpy": "1.26"}), "x")
    assert [each.line for each in found.differences] == ["numpy>=2", "not a requirement !"]


def test_a_kernel_needs_its_runtime_only() -> None:
    record = Recorded(
        inputs=pa.table({"a": [1.0]}), scores=np.array([1.0]), labels=None, margins=None,
        digest="", answered_by="", python="3.11.9",
        libraries={"onnxruntime": "1.23.0", "numpy": "2.3.1", "scikit-learn": "1.7.2"},
        seed=0, of=1,
    )  # fmt: skip
    newer = Installed("3.13.0", {"onnxruntime": "1.24.0", "numpy": "2.3.1"})
    found = compare_runtime(record, newer, "lock")
    assert found.agreed
    assert [each.line for each in found.differences] == ["onnxruntime==1.23.0"]
    gone = compare_runtime(record, Installed("3.13.0", {"numpy": "2.3.1"}), "lock")
    assert not gone.agreed


def test_an_interpreter_says_what_it_has() -> None:
    told, ours = ask(Path(sys.executable)), here()
    assert told == ours
    assert installed_in(Environment.running()) == ours
    lock = closure(["numpy", "mlflow"])
    assert compare_environment(lock, told, "worker").agreed


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "exit status 3"),
        ("echo broken >&2; exit 1", "broken"),
        ("echo no json", "Expecting value"),
        ("sleep 30", "no answer within"),
    ],
)
def test_an_interpreter_that_does_not_answer(tmp_path: Path, script: str, why: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o700)
    with pytest.raises(EnvironmentUnreadableError, match=why):
        ask(python, seconds=0.3 if "sleep" in script else 30)


def test_an_interpreter_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnreadableError, match="No such file"):
        ask(tmp_path / "python")


def test_what_is_known_names_its_source() -> None:
    for entries in KNOWN.values():
        for each in entries:
            assert each.text
            assert urlsplit(each.source).scheme == "https"
    assert known_of("a-library-nobody-knows", "1.0", "2.0") is None
