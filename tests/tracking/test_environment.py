"""What is recorded of the environment, and the refusal of one that is not the lock."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import pytest

from headrace.environments import Lock, closure, from_environment, write_lock
from headrace.tracking.environment import allowed, installed, installed_digest, requirements
from headrace.tracking.errors import EnvironmentDriftError


def test_the_listing_names_every_distribution_once(tmp_path: Path) -> None:
    found = installed(tmp_path)
    first, *lines = found.text.splitlines()
    assert first.startswith("# Python 3.")
    assert lines == sorted(set(lines))
    assert f"scikit-learn=={metadata.version('scikit-learn')}" in lines
    assert found.digest == hashlib.sha256(found.text.encode()).hexdigest()
    assert found.digest == installed_digest(tmp_path)
    assert (found.check, found.lock, found.drift) == (None, "none", None)


def test_with_a_lock_only_what_it_names_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    lock = from_environment(tmp_path)
    write_lock(tmp_path, lock)
    found = installed(tmp_path)
    assert (found.lock, found.drift) == (lock.digest, None)
    assert found.digest == installed_digest(tmp_path)
    real = metadata.distributions

    def without(name: str) -> None:
        monkeypatch.setattr(
            metadata,
            "distributions",
            lambda: (each for each in real() if each.metadata["Name"] != name),
        )

    without("pytest")
    assert installed_digest(tmp_path) == found.digest
    without("six")
    assert installed_digest(tmp_path) != found.digest
    monkeypatch.undo()
    write_lock(tmp_path, Lock(lock.text + "# another comment\n"))
    assert installed_digest(tmp_path) == found.digest
    write_lock(tmp_path, Lock(lock.text.replace("six==", "six==9")))
    assert installed_digest(tmp_path) != found.digest


def test_another_environment_is_refused_unless_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lock(tmp_path, Lock("# complete\nsix==0.1\n"))
    here = f"six==0.1 is wanted, {metadata.version('six')} is installed"
    (tmp_path / "requirements.txt").write_text("six\n")
    with pytest.raises(EnvironmentDriftError) as caught:
        allowed(tmp_path, "failure", None)
    assert caught.value.drift == [here]
    assert caught.value.changed == ["requirements.txt was edited after the lock was made"]
    assert here in str(caught.value)
    assert "headrace lock; to train all the same" in str(caught.value.next)
    assert allowed(tmp_path, "failure", True).drift == "\n".join([*caught.value.changed, here])
    monkeypatch.setenv("HEADRACE_ALLOW_DRIFT", "1")
    assert allowed(tmp_path, "failure", None).drift is not None
    with pytest.raises(EnvironmentDriftError):
        allowed(tmp_path, "failure", False)


def test_a_long_drift_is_cut_for_its_tag(tmp_path: Path) -> None:
    lines = "".join(f"absent-library-of-a-long-name-{number}==1\n" for number in range(300))
    write_lock(tmp_path, Lock(f"# complete\n{lines}"))
    found = installed(tmp_path)
    assert found.check is not None
    assert len(found.check.drift) == 300
    assert found.drift is not None
    assert len(found.drift) < 8000
    assert found.drift.endswith(" more")


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


def test_a_lock_that_lists_nothing_it_needs_drifts(tmp_path: Path) -> None:
    full = closure(["python-dateutil"])
    kept = [line for line in full.text.splitlines() if not line.startswith("six")]
    write_lock(tmp_path, Lock("\n".join(kept) + "\n"))
    drift = installed(tmp_path).drift
    assert drift is not None
    assert "needed, and not in the lock" in drift
