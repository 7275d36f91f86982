"""``headrace parity``, as a person sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from headrace.cli import cli
from headrace.errors import HeadraceError
from headrace.parity import store
from headrace.parity.report import failed
from headrace.promotion.parity_check import check

if TYPE_CHECKING:
    from tests.parity.registered import Registered


@pytest.fixture
def at_home(untouched: Registered, monkeypatch: pytest.MonkeyPatch) -> Registered:
    monkeypatch.chdir(untouched.project.root)
    return untouched


def parity(*words: str) -> Result:
    return CliRunner().invoke(cli, ["parity", *words])


def test_a_version_is_shown_with_its_reports_and_its_environment(at_home: Registered) -> None:
    check(at_home.project.workspace, at_home.version)
    done = parity("failure/1")
    assert done.exit_code == 0, done.output
    assert "failure/1: the training recorded the answers to 256 of 300 rows" in done.output
    assert "batch" in done.output
    assert "The environment that serves (kernel) is the one that trained." in done.output
    told = json.loads(parity("failure", "--json").output)
    assert told["agreed"] is True
    assert [each["route"] for each in told["reports"]] == ["batch"]


def test_again_looks_again(at_home: Registered) -> None:
    workspace, version = at_home.project.workspace, at_home.version
    bad = failed("batch", "it did not answer")
    store.keep(workspace.store, store.Subject(version.name, version.version), [bad])
    assert parity("failure/1").exit_code == 1
    assert "it did not answer" in parity("failure/1").output
    done = parity("failure/1", "--again")
    assert done.exit_code == 0, done.output
    assert "it did not answer" not in done.output


@pytest.mark.parametrize("name", ["failur", "nothing-alike"])
def test_an_unknown_name(at_home: Registered, name: str) -> None:
    error = parity(name).exception
    assert isinstance(error, HeadraceError)
    assert error.code == "parity_target"
    if name == "failur":
        assert error.why == 'did you mean "failure"?'
    else:
        assert error.why == "there are failure/1"


def test_a_span_that_is_none(at_home: Registered) -> None:
    done = parity("failure", "--since", "soon")
    assert done.exit_code == 2
    assert "is no duration" in done.output
