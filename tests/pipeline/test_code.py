"""Digests of code change with what the code does, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.pipeline.code import CodeDigests
from headrace.pipeline.elements import Flow, Location

FILE = '''
import helpers
from package.inner import deep

FACTOR = 2


def helper():
    return FACTOR


@dp.materialized_view
def first():
    """The first."""
    return helper()


@dp.materialized_view(
    name="second",
)
def second():
    return deep()
'''


def digests(root: Path, text: str = FILE, **files: str) -> dict[str, str]:
    """Digests of the two flows of a file; keyword names are paths with __ for /."""
    defaults = {"helpers": "x = 1", "package____init__": "", "package__inner": "def deep(): ..."}
    for name, body in {"tables": text, **defaults, **files}.items():
        path = root / (name.replace("__", "/", 1) + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
    flows = []
    for name in ("first", "second"):
        lines = text.splitlines()
        line = next(number for number, each in enumerate(lines) if f"def {name}(" in each)
        while not lines[line].startswith("@"):
            line -= 1
        flows.append(
            Flow(name, name, Location("tables.py", line + 1), lambda: None, defined=line + 1)
        )
    made = CodeDigests(root, [], flows)
    return {flow.name: made.flow(flow) for flow in flows}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2", "FACTOR = 2  # two"),
        ("FACTOR = 2", "FACTOR   =   (2)"),
        ('"""The first."""', '"""The very first."""'),
        ("    return helper()", "\n\n    return helper()"),
    ],
)
def test_comments_and_layout_do_not_count(tmp_path: Path, old: str, new: str) -> None:
    before = digests(tmp_path)
    assert digests(tmp_path, FILE.replace(old, new)) == before


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("return helper()", "return helper() + 1", {"first"}),
        ("return deep()", "return deep() + 1", {"second"}),
        ('name="second"', 'name="third"', {"second"}),
        ("FACTOR = 2", "FACTOR = 3", {"first", "second"}),
        ("return FACTOR", "return -FACTOR", {"first", "second"}),
    ],
)
def test_code_counts_where_it_can_be_called(
    tmp_path: Path, old: str, new: str, changed: set[str]
) -> None:
    before, after = digests(tmp_path), digests(tmp_path, FILE.replace(old, new))
    assert {name for name in before if before[name] != after[name]} == changed


@pytest.mark.parametrize("module", ["helpers", "package__inner", "package____init__"])
def test_imported_modules_of_the_project_count(tmp_path: Path, module: str) -> None:
    before = digests(tmp_path)
    assert digests(tmp_path, **{module: "# only a comment\n"}) != before or "__init__" in module
    assert digests(tmp_path, **{module: "y = 5"})["first"] != before["first"]


def test_modules_imported_by_modules_count(tmp_path: Path) -> None:
    before = digests(tmp_path, helpers="from package import other", package__other="x = 1")
    after = digests(tmp_path, helpers="from package import other", package__other="x = 2")
    assert before["first"] != after["first"]


def test_relative_imports_inside_a_package_count(tmp_path: Path) -> None:
    inner = "from . import other\nfrom .more import z\ndef deep(): ..."
    files = {"package__inner": inner, "package__other": "x = 1", "package__more": "z = 1"}
    before = digests(tmp_path, **files)
    assert digests(tmp_path, **{**files, "package__other": "x = 2"}) != before
    assert digests(tmp_path, **{**files, "package__more": "z = 2"}) != before


def test_modules_that_import_each_other(tmp_path: Path) -> None:
    found = digests(tmp_path, helpers="import package.inner", package__inner="import helpers")
    assert len(found["first"]) == 64


def test_other_modules_do_not_count(tmp_path: Path) -> None:
    before = digests(tmp_path)
    assert digests(tmp_path, unrelated="x = 1") == before
