"""What a model needs: the closure of its requirements, and locks in its directory."""

from __future__ import annotations

import hashlib
import platform
import re
from importlib import metadata
from pathlib import Path

import pytest

from headrace.environments import LOCK_FILE, Lock, LockNotFoundError, closure, differences, lock_of


def names(lock: Lock) -> set[str]:
    """The distributions that a lock pins."""
    return {line.split("==")[0] for line in lock.requirements}


def test_a_closure_pins_what_is_installed_and_what_that_needs() -> None:
    lock = closure(["scikit-learn>=1"])
    assert f"scikit-learn=={metadata.version('scikit-learn')}" in lock.requirements
    assert f"joblib=={metadata.version('joblib')}" in lock.requirements
    assert {"numpy", "scipy"} <= names(lock)
    assert "mlflow" not in names(lock)
    assert lock.complete
    assert lock.python == platform.python_version()
    assert list(lock.requirements) == sorted(lock.requirements)
    assert lock.digest == hashlib.sha256(lock.text.encode()).hexdigest()
    assert closure(["scikit-learn>=1"]) == lock


def test_headrace_is_left_out_and_named_but_its_requirements_stay() -> None:
    lock = closure(["headrace"])
    assert "# not here: headrace, installed from this machine" in lock.text
    assert "headrace" not in names(lock)
    assert "deltalake" in names(lock)


def test_markers_and_extras_decide() -> None:
    assert closure(["colorama; sys_platform == 'win32'"]).requirements == ()
    plain, extra = closure(["uvicorn"]), closure(["uvicorn[standard]"])
    assert names(plain) < names(extra)
    assert "httptools" in names(extra)


def test_a_requirement_that_is_not_here_stays_and_the_lock_is_not_complete() -> None:
    lock = closure(["numpy", "not-installed-here>=2"])
    assert "not-installed-here>=2" in lock.requirements
    assert not lock.complete


def test_the_lock_of_a_model_is_its_file(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("# Python 3.10.2\n# complete\nnumpy==1.0\n")
    (tmp_path / "requirements.txt").write_text("other\n")
    lock = lock_of(tmp_path)
    assert lock.requirements == ("numpy==1.0",)
    assert (lock.python, lock.complete) == ("3.10.2", True)


def test_a_model_of_plain_mlflow_has_requirements_and_a_python(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "mlflow==3.17.2  # the client\n--index-url https://elsewhere\nnumpy>=1\n"
    )
    (tmp_path / "python_env.yaml").write_text(
        "python: 3.10.14\ndependencies: [-r requirements.txt]\n"
    )
    lock = lock_of(tmp_path)
    assert lock.requirements == ("mlflow==3.17.2", "numpy>=1")
    assert (lock.python, lock.complete) == ("3.10.14", False)


def test_a_model_without_either_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LockNotFoundError, match=re.escape(str(tmp_path))):
        lock_of(tmp_path)


def test_what_is_installed_here_does_not_differ() -> None:
    assert differences(closure(["mlflow", "scikit-learn"])) == []


def test_differences_name_version_absence_and_python() -> None:
    installed = metadata.version("numpy")
    found = differences(
        Lock("# Python 2.7.18\nnumpy==0.1\nabsent-thing==1\nwheel; sys_platform == 'win32'\n")
    )
    here = ".".join(platform.python_version_tuple()[:2])
    assert found == [
        f"Python 2.7 is wanted, {here} is running",
        f"numpy==0.1 is wanted, {installed} is installed",
        "absent-thing==1 is wanted, and is not installed",
    ]


def test_another_patch_of_python_is_no_difference() -> None:
    minor = ".".join(platform.python_version_tuple()[:2])
    assert differences(Lock(f"# Python {minor}.99\n")) == []


def test_a_library_from_an_address_differs_from_one_of_an_index() -> None:
    (found,) = differences(Lock("numpy @ https://example.org/numpy.whl\n"))
    assert "another one is installed" in found


def test_hashes_are_read_and_taken_over() -> None:
    other = Lock("a==1 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\nb==1 ; marker\n")
    assert other.requirements == ("a==1", "b==1 ; marker")
    assert other.lines[0] == "a==1 --hash=sha256:01 --hash=sha256:02"
    merged = Lock("# complete\na==1\nb==1\nc==1\n").with_hashes_of(other)
    assert merged.text == (
        "# complete\na==1 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\nb==1\nc==1\n"
    )
    assert Lock("a==2\n").with_hashes_of(other) == Lock("a==2\n")
