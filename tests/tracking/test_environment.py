from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

from headrace.tracking.environment import lock, requirements


def test_the_lock_names_every_distribution_once() -> None:
    found = lock()
    first, *lines = found.text.splitlines()
    assert first.startswith("# Python 3.")
    assert lines == sorted(set(lines))
    assert f"scikit-learn=={metadata.version('scikit-learn')}" in lines
    assert found.digest == hashlib.sha256(found.text.encode()).hexdigest() == lock().digest


def test_requirements_are_what_is_installed(tmp_path: Path) -> None:
    found = requirements(tmp_path, ["lightgbm", "skops", "some_project_module"])
    assert f"lightgbm=={metadata.version('lightgbm')}" in found
    assert f"skops=={metadata.version('skops')}" in found
    assert not [line for line in found if "some" in line]


def test_the_project_s_requirements_count_first(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "# ours\n--find-links here\nscikit_learn>=1.5  # any\n\npolars==1.0\n"
    )
    found = requirements(tmp_path, [])
    assert found[:2] == ["scikit_learn>=1.5", "polars==1.0"]
    assert not [line for line in found if line.startswith("scikit-learn")]
    assert [line for line in found if line.startswith("mlflow==")]
