"""docs/serving.md names what a client can meet; docs/endpoints.md shows a valid project."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

from headrace import endpoints, payloads, requestlog, workers
from headrace.endpoints import EndpointSpec
from headrace.errors import HeadraceError
from headrace.payloads import azure, openapi
from headrace.payloads.columnar import FORMS
from headrace.serving import errors

from .fakes import Adder

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "serving.md").read_text()

#: Not met by a client of an endpoint: errors of commands, of HTTP itself, and of our own.
ELSEWHERE = {
    *("address_unavailable", "deployment_not_ready", "invalid_shares", "model_not_servable"),
    *("no_rollout", "nothing_to_go_back_to"),
    *("plane_failed", "plane_running", "port_in_use", "token_unreadable", "worker_start_failed"),
    "http_error",
}


def codes() -> dict[str, int]:
    modules = (errors, endpoints.errors, payloads.errors, requestlog.errors, workers.errors)
    classes = (c for m in modules for _, c in inspect.getmembers(m, inspect.isclass))
    return {c.code: c.status for c in classes if issubclass(c, HeadraceError) and c.code != "error"}


@pytest.mark.parametrize("code", sorted(set(codes()) - ELSEWHERE))
def test_each_error_of_a_request_is_documented_with_its_status(code: str) -> None:
    assert re.search(rf"^\| {codes()[code]} \| `{code}` \|", PAGE, re.MULTILINE)


def test_each_header_is_documented() -> None:
    sources = [p.read_text() for p in Path(inspect.getfile(errors)).parent.glob("*.py")]
    headers = set(re.findall(r"x-headrace-[a-z-]*[a-z]", "".join(sources)))
    assert len(headers) >= 6
    for header in headers | {azure.DEPLOYMENT_HEADER, azure.CLIENT_ID_HEADER}:
        assert f"`{header}`" in PAGE


@pytest.mark.parametrize("media", FORMS)
def test_each_media_type_of_a_table_is_documented(media: str) -> None:
    assert f"`{media}`" in PAGE


def test_each_route_is_documented() -> None:
    paths = openapi.document("NAME", Adder.signature, model="model", version=1)["paths"]
    for path, methods in paths.items():
        for method in methods:
            route = f"{method.upper()} {path}"
            assert route in PAGE or path.removeprefix("/v2/models/NAME") in PAGE, route


def test_the_example_of_a_project_is_valid() -> None:
    page = (DOCS / "endpoints.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example
    [(name, entry)] = yaml.safe_load(example[1])["endpoints"].items()
    assert EndpointSpec(name=name, **entry).rollout.steps == [10, 50, 100]
