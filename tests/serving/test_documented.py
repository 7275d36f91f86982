"""docs/endpoints.md names what a client can meet."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

from headrace import endpoints, payloads
from headrace.endpoints import EndpointSpec
from headrace.errors import HeadraceError
from headrace.serving import errors

PAGE = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text()

#: Not met by a client of an endpoint: errors of commands, of HTTP itself, and of our own.
ELSEWHERE = {
    *("address_unavailable", "deployment_not_ready", "invalid_shares", "model_not_servable"),
    *("plane_failed", "plane_running", "port_in_use", "token_unreadable"),
    *("http_error", "internal_error"),
}


def codes() -> dict[str, int]:
    modules = (errors, endpoints.errors, payloads.errors)
    classes = (c for m in modules for _, c in inspect.getmembers(m, inspect.isclass))
    return {c.code: c.status for c in classes if issubclass(c, HeadraceError) and c.code != "error"}


@pytest.mark.parametrize("code", sorted(set(codes()) - ELSEWHERE))
def test_each_error_of_a_request_is_documented_with_its_status(code: str) -> None:
    assert re.search(rf"^\| {codes()[code]} \| `{code}` \|", PAGE, re.MULTILINE)


def test_each_header_is_documented() -> None:
    source = (Path(inspect.getfile(errors)).parent / "service.py").read_text()
    for header in set(re.findall(r"x-headrace-[a-z-]+", source)):
        assert f"`{header}`" in PAGE


def test_the_example_of_a_project_is_valid() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    [(name, entry)] = yaml.safe_load(example[1])["endpoints"].items()
    assert EndpointSpec(name=name, **entry).rollout.steps == [10, 50, 100]
