from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from headrace.tracking import TrainingSpec
from headrace.tracking.code import (
    accepted,
    git_state,
    read_source,
    training_function,
    user_frame,
)
from headrace.tracking.errors import TrainingSourceError


def spec(train: str = "training/model.py:train") -> TrainingSpec:
    return TrainingSpec(
        name="failure",
        train=train,
        table="t",
        label="y",
        holdout={"hash": 0.2},
    )


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(
        tmp_path,
        training__model="from shared import scale\nimport tools.math\n\n\ndef train(X, y):\n    return scale()\n",
        shared="def scale():\n    return 1\n",
        tools__math="from . import deep\n",
        tools__deep="X = 1\n",
        unrelated="Y = 1\n",
    )
    return tmp_path


def test_the_bundle_holds_the_file_and_the_project_s_modules(root: Path) -> None:
    source = read_source(root, spec())
    names = ["shared.py", "tools/deep.py", "tools/math.py", "training/model.py"]
    assert list(source.files) == names
    with zipfile.ZipFile(io.BytesIO(source.bundle())) as archive:
        assert archive.namelist() == names
        assert archive.read("shared.py").decode() == (root / "shared.py").read_text()
    assert source.bundle() == read_source(root, spec()).bundle()


@pytest.mark.parametrize(
    ("file", "text", "same"),
    [
        ("shared", "# a comment\ndef scale():\n\n    return   1\n", True),
        ("shared", "def scale():\n    return 2\n", False),
        ("tools__deep", "X = 2\n", False),
        ("unrelated", "Y = 2\n", True),
    ],
)
def test_the_digest_follows_the_code(root: Path, file: str, text: str, same: bool) -> None:
    before = read_source(root, spec()).digest
    write(root, **{file: text})
    assert (read_source(root, spec()).digest == before) is same


@pytest.mark.parametrize(
    ("train", "text", "message"),
    [
        ("training/other.py:train", None, "no such file"),
        ("../outside.py:train", None, "outside the project"),
        ("training/model.py:fit", None, "defines no function fit"),
        ("training/model.py:train", "def train(:\n", "model.py:1"),
    ],
)
def test_a_source_that_cannot_be_read(
    root: Path, train: str, text: str | None, message: str
) -> None:
    (root.parent / "outside.py").write_text("def train(): ...\n")
    if text:
        write(root, training__model=text)
    with pytest.raises(TrainingSourceError, match=message):
        read_source(root, spec(train))


def test_an_import_that_fails_is_told_with_its_line(root: Path) -> None:
    write(root, training__model="import math\nimport not_there\ndef train(X, y): ...\n")
    with (
        pytest.raises(TrainingSourceError, match=r"training/model\.py:2") as caught,
        training_function(root, spec()),
    ):
        pass
    assert "not_there" in str(caught.value)


def test_the_function_is_loaded_anew_each_time(root: Path) -> None:
    with training_function(root, spec()) as train:
        assert train(None, None) == 1
        assert "shared" in sys.modules
    assert "shared" not in sys.modules
    assert str(root) not in sys.path
    # The same second and the same size: a cached .pyc would look as good as the file.
    write(root, shared="def scale():\n    return 5\n")
    with training_function(root, spec()) as train:
        assert train(None, None) == 5


def test_modules_of_somebody_else_stay(root: Path) -> None:
    older = type(sys)("shared")
    older.__file__ = str(root / "shared.py")
    sys.modules["shared"] = older
    try:
        with training_function(root, spec()) as train:
            assert train(None, None) == 1
        assert sys.modules["shared"] is older
    finally:
        del sys.modules["shared"]


def test_keywords_are_given_where_they_are_taken() -> None:
    offered: dict[str, Any] = {"seed": 1, "groups": None, "depth": 3}

    def some(X: object, y: object, *, seed: int) -> None: ...
    def all_of_them(X: object, y: object, **rest: object) -> None: ...

    assert accepted(some, offered) == {"seed": 1}
    assert accepted(all_of_them, offered) == offered


def test_the_frame_of_the_user_is_the_deepest_in_the_project(root: Path) -> None:
    write(root, shared="import json\n\n\ndef scale():\n    return json.loads('{')\n")
    with (
        training_function(root, spec()) as train,
        pytest.raises(ValueError, match="Expecting") as caught,
    ):
        train(None, None)
    assert user_frame(caught.value, root) == "shared.py:5"


def test_the_state_of_the_repository(root: Path) -> None:
    assert git_state(root) is None

    def git(*words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(root), *identity, *words], check=True, timeout=30)

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    state = git_state(root)
    assert state is not None
    assert (len(state.commit), state.dirty) == (40, False)
    write(root, shared="X = 3\n")
    assert git_state(root) is not None
    assert git_state(root).dirty  # type: ignore[union-attr]
