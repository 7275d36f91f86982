"""Whatever is sent to the HTTP edge, no answer is a 5xx."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .edges import BODY, SCORES, Edge
from .edges import edge as edge
from .edges import make_edge as make_edge

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(
    body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode),
    content_type=st.sampled_from(["application/json", "text/csv", "text/plain", ""])
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)
def test_no_body_is_ever_a_5xx(edge: Edge, body: bytes, content_type: str) -> None:
    reply = edge.score(body, **{"content-type": content_type})
    assert reply.status_code < 500, reply.text
    assert reply.headers["content-type"] == "application/json"


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=5)
            | st.sampled_from(["a", "n", "columns", "data"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["a", "n", "device", "columns", "data", "index"])
                    | st.text(max_size=3),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=10,
        ),
        min_size=1,
        max_size=2,
    )
)
def test_no_document_is_ever_a_5xx(edge: Edge, document: dict[str, Any]) -> None:
    reply = edge.score(json.dumps(document).encode())
    assert reply.status_code < 500, reply.text
    json.loads(reply.text, parse_constant=lambda name: pytest.fail(f"{name} in an answer"))


@FUZZ
@given(key=st.binary(max_size=60).filter(lambda b: not set(b) & set(b"\r\n\x00")))
def test_no_key_is_ever_a_5xx(edge: Edge, key: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-headrace-key", key)]
    reply = edge.ask("POST", SCORES, content=BODY, headers=headers)
    assert reply.status_code == 200
