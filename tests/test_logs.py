"""Lines of the log: one shape, and no value of a request."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from headrace import logs
from headrace.errors import HeadraceError
from headrace.settings import InvalidSettingError

MARKER = "marker-7f3a"

SCRIPT = f"""
import logging, warnings
from headrace import logs
logs.configure()
log = logging.getLogger("headrace.some")
log.warning("%s shares", 3, extra={{"endpoint": "scores", "deployment": "dep_1", "other": "x"}})
log.info("too low")
def score(value):
    raise ValueError(value)
try:
    try:
        score("{MARKER}")
    except ValueError as error:
        raise KeyError("{MARKER}") from error
except KeyError:
    log.exception("a defect")
try:
    open("/nowhere/at/all")
except OSError:
    log.exception("a file")
warnings.warn("of a library")
"""


def lines(monkeypatch: pytest.MonkeyPatch, style: str, level: str = "warning") -> list[str]:
    monkeypatch.setenv("HEADRACE_LOG_FORMAT", style)
    monkeypatch.setenv("HEADRACE_LOG", level)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    assert MARKER not in done.stderr.replace(f'score("{MARKER}")', "").replace(
        f'KeyError("{MARKER}")', ""
    )
    return done.stderr.splitlines()


def test_json_lines_hold_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    first, defect, file = [json.loads(line) for line in lines(monkeypatch, "json")]
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first == {
        "level": "warning",
        "logger": "headrace.some",
        "message": "3 shares",
        "endpoint": "scores",
        "deployment": "dep_1",
    }
    assert defect["message"] == "a defect"
    assert "builtins.ValueError\nwhich led to:" in defect["exception"]
    assert defect["exception"].endswith("builtins.KeyError")
    assert "in score" in defect["exception"]
    assert file["exception"].endswith("FileNotFoundError: No such file or directory")


def test_text_lines_are_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines(monkeypatch, "text", "info")
    assert found[0].endswith(" WARNING headrace.some: 3 shares")
    assert found[1].endswith(" INFO headrace.some: too low")
    assert "builtins.KeyError" in found
    assert any("of a library" in line for line in found)


def test_a_format_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG_FORMAT", "jsn")
    with pytest.raises(InvalidSettingError, match="HEADRACE_LOG_FORMAT") as caught:
        logs.configure()
    assert caught.value.why == 'did you mean "json"?'


def test_a_level_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG", "loud")
    with pytest.raises(logs.InvalidLogLevelError):
        logs.configure()


@pytest.mark.parametrize("error", [HeadraceError(MARKER), ZeroDivisionError(MARKER)])
def test_what_an_exception_says_is_not_written(error: Any) -> None:
    told = logs.frames_of((type(error), error, None))
    assert told.endswith(type(error).__qualname__)
    assert MARKER not in told


def test_no_exception_is_no_text() -> None:
    assert logs.frames_of((None, None, None)) == ""
