from __future__ import annotations

import errno
import inspect
import pkgutil
from importlib import import_module

import pytest

import headrace
from headrace.errors import HeadraceError, did_you_mean, is_disk_full


def every_error() -> list[type[HeadraceError]]:
    for module in pkgutil.walk_packages(headrace.__path__, "headrace."):
        if module.name.rpartition(".")[2] == "errors":
            import_module(module.name)
    found: list[type[HeadraceError]] = []
    pending = [HeadraceError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind.__module__.startswith("headrace.") and kind is not HeadraceError:
            found.append(kind)
    return found


def test_an_error_says_what_where_why_and_next() -> None:
    error = HeadraceError("It broke.", where="a.yaml:3", why="a typo", next="fix it")
    assert str(error) == "It broke.\n  where: a.yaml:3\n  why:   a typo\n  next:  fix it"
    assert error.as_json() == {
        "error_code": "error",
        "message": "It broke.",
        "where": "a.yaml:3",
        "why": "a typo",
        "next": "fix it",
    }


def test_what_is_unknown_is_left_out() -> None:
    assert str(HeadraceError("It broke.")) == "It broke."
    assert HeadraceError("It broke.").as_json() == {"error_code": "error", "message": "It broke."}


def test_did_you_mean_knows_when_to_be_silent() -> None:
    assert did_you_mean("gold.featurs", ["gold.features", "raw"]) == 'did you mean "gold.features"?'
    assert did_you_mean("something", ["else", "raw"]) is None
    assert did_you_mean("x", []) is None


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_of_its_own_and_typed_arguments(kind: type[HeadraceError]) -> None:
    assert kind.__name__.endswith("Error")
    assert kind.__doc__
    assert 400 <= kind.status < 600
    assert kind.exit_code > 0
    arguments = set(inspect.signature(kind.__init__).parameters) - {"self"}
    assert arguments <= set(kind.__init__.__annotations__), "an argument has no type"


def test_no_two_errors_share_a_code() -> None:
    codes: dict[str, str] = {}
    for kind in every_error():
        if "code" in vars(kind):
            assert codes.setdefault(kind.code, kind.__name__) == kind.__name__


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "quota"), True),
        (OSError(errno.ENOENT, "No such file"), False),
        (RuntimeError("Generic error: No space left on device (os error 28)"), True),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), True),
        (RuntimeError("the table is full of rows"), False),
    ],
)
def test_a_full_disk_is_known_by_number_and_by_words(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full
