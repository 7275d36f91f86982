"""uv's configuration from the user's, and what its messages tell."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.environments import uvtool

MESSAGES = {
    "numpy==99.0": """error: No solution found when resolving dependencies
  cause: Because there is no version of numpy==99.0 and you require numpy==99.0, we can conclude
""",
    "Tiny_Missing==1.0": """error: No solution found when resolving dependencies
  cause: Because tiny-missing was not found in the provided package locations and you require
""",
    "badpkg==1.0": """error: Failed to build `badpkg==1.0`
  cause: The build backend returned an error

         [stderr]
         Traceback (most recent call last):
         RuntimeError: no compiler

hint: Build failures usually indicate a problem with the package
""",
    "six": """error: Request failed after 3 retries in 8.3s
  cause: Failed to fetch: `https://user:hunter2@127.0.0.1:9/simple/six/`
  cause: error sending request for url (https://user:hunter2@127.0.0.1:9/simple/six/)
""",
}


@pytest.mark.parametrize("requirement", MESSAGES)
def test_the_requirement_is_found_in_the_message(requirement: str) -> None:
    told = uvtool.failure(MESSAGES[requirement], MESSAGES)
    assert told.requirement == requirement
    assert "hunter2" not in told.reason
    assert "\n" not in told.reason


def test_the_last_line_of_a_build_is_the_reason() -> None:
    told = uvtool.failure(MESSAGES["badpkg==1.0"], MESSAGES)
    assert told.reason.endswith("RuntimeError: no compiler")


def test_a_message_of_another_form_is_given_whole() -> None:
    assert uvtool.failure("segmentation fault", ["six"]) == uvtool.Failure(
        None, "segmentation fault"
    )


HANGS = """
import uv
uv.find_uv_bin = lambda: "/bin/sleep"
from headrace.environments import uvtool
uvtool.run(["600"], "/", 600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere uv ends its work by itself")
def test_uv_ends_with_the_process_that_called_it() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGS]) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")

        def called() -> list[str]:
            return [pid for pid in children.read_text().split() if command(pid) == "/bin/sleep"]

        wait_for(lambda: bool(called()))
        (child,) = called()
        parent.kill()
    wait_for(lambda: not command(child))
    assert not command(child)


def command(pid: str) -> str:
    """The program of a process; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_for(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without any configuration."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("text", ["index-url = here", "[global\n", "\xff"])
def test_a_pip_conf_that_cannot_be_read_is_told(home: Path, text: str) -> None:
    file = home / "pip.conf"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(uvtool.UvFailedError, match="configuration of pip cannot be read"):
        uvtool.variables({"PIP_CONFIG_FILE": str(file), "HOME": str(home)})


def test_a_file_of_uv_that_cannot_be_read_is_left_to_uv(home: Path) -> None:
    file = home / "uv.toml"
    file.write_text("[[index\n")
    given = {"UV_CONFIG_FILE": str(file), "PIP_INDEX_URL": "https://example.com/simple"}
    assert "UV_DEFAULT_INDEX" not in uvtool.variables(given)


def test_pip_s_index_is_passed_on_where_uv_has_none(home: Path) -> None:
    found = uvtool.variables(
        {"PIP_INDEX_URL": "https://index", "PIP_FIND_LINKS": "/a /b", "VIRTUAL_ENV": "/v"}
    )
    assert found["UV_DEFAULT_INDEX"] == "https://index"
    assert found["UV_FIND_LINKS"] == "/a,/b"
    assert "VIRTUAL_ENV" not in found


def test_pip_s_file_is_read_and_its_variables_win(home: Path) -> None:
    file = home / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text("[global]\nindex-url = https://file%20name\nextra-index-url =\n  https://x\n")
    assert uvtool.variables({})["UV_DEFAULT_INDEX"] == "https://file%20name"
    assert uvtool.variables({})["UV_INDEX"] == "https://x"
    found = uvtool.variables({"PIP_INDEX_URL": "https://variable"})
    assert found["UV_DEFAULT_INDEX"] == "https://variable"


def test_uv_s_own_index_is_left_alone(home: Path) -> None:
    found = uvtool.variables({"PIP_INDEX_URL": "https://pip", "UV_INDEX_URL": "https://uv"})
    assert "UV_DEFAULT_INDEX" not in found
    file = home / ".config" / "uv" / "uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[pip]\nindex-url = "https://uv"\n')
    assert "UV_DEFAULT_INDEX" not in uvtool.variables({"PIP_INDEX_URL": "https://pip"})
