"""A trace as a tree, as JSON and as a chart."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from headrace.trace import Trace, mermaid
from headrace.trace.graph import Builder, Node
from headrace.trace.render import print_trace, size_text

FILES = {
    "directory": "raw",
    "count": 12,
    "bytes": 3 * 1024 * 1024,
    "left_out": 3,
    "narrowed": True,
    "how": "rows of device_id=7",
    "status": {"unchanged": 11, "gone": 1},
    "files": [
        {
            "path": f"raw/{i}.parquet",
            "size": 2048,
            "sha256": f"{i:064}",
            "modified": "2026-01-01T00:00:00.000Z",
            "status": "gone" if i == 0 else "unchanged",
            "rows": 1 + i,
        }
        for i in range(12)
    ],
}


@pytest.fixture
def trace() -> Trace:
    """A prediction, its model, and a table that both branches reach."""
    graph = Builder()
    graph.add(Node("p", "prediction", "subject", "pred_1", {"score": 0.25}))
    graph.add(Node("m", "model", "model", 'failure/3 "<b>', {"model_id": "m-1"}))
    graph.link("p", "m", "scored by")
    graph.add(Node("t1", "table", "training", "gold.f@1", {"rows": 10}))
    graph.link("m", "t1", "trained on")
    graph.add(Node("t2", "table", "scoring", "gold.f@2", {"rows": 1}))
    graph.link("p", "t2", "scored on")
    graph.add(Node("a", "table", "scoring", "silver.a@1", {}))
    graph.add(Node("b", "table", "scoring", "silver.b@1", {}))
    graph.link("t2", "a", "derived from")
    graph.link("t2", "b", "derived from")
    graph.add(Node("f", "files", "scoring", "raw: 12 of 15 files", FILES))
    graph.link("a", "f", "read")
    graph.link("b", "f", "read")
    graph.link("b", "f", "read")
    return graph.build("p")


def rendered(trace: Trace) -> str:
    out = io.StringIO()
    print_trace(trace, Console(file=out, force_terminal=False))
    return out.getvalue()


def test_a_pipe_gets_plain_lines(trace: Trace) -> None:
    text = rendered(trace)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "pred_1  score 0.25"
    assert "trained on gold.f@1  10 rows  (the data that the model was trained on)" in text
    assert "scored on gold.f@2  1 row  (the data that this row was scored on)" in text
    assert f"1.parquet  2.0 KiB  2 rows  sha256 {1:064}  unchanged" in text
    assert "3.0 MiB, 11 unchanged, 1 gone; rows of device_id=7" in text
    assert "and 2 more; --json lists all" in text


def test_what_two_tables_read_is_shown_once_and_named_twice(trace: Trace) -> None:
    text = rendered(trace)
    assert text.count("raw: 12 of 15 files") == 2
    assert text.count("raw: 12 of 15 files  (see above)") == 1
    assert text.count("0.parquet") == 1


def test_a_terminal_gets_colours(trace: Trace) -> None:
    out = io.StringIO()
    print_trace(trace, Console(file=out, force_terminal=True, width=120))
    assert "\x1b[" in out.getvalue()


def test_json_has_a_stable_shape(trace: Trace) -> None:
    body = json.loads(trace.to_json())
    assert list(body) == ["version", "root", "nodes", "edges"]
    assert (body["version"], body["root"]) == (1, "p")
    assert {tuple(node) for node in body["nodes"]} == {("id", "kind", "branch", "title", "facts")}
    assert body["edges"][0] == {"source": "p", "target": "m", "relation": "scored by"}
    assert len(body["edges"]) == len({tuple(edge.items()) for edge in body["edges"]})
    known = {node["id"] for node in body["nodes"]}
    assert all(edge["source"] in known and edge["target"] in known for edge in body["edges"])


def test_a_chart_keeps_the_branches_apart(trace: Trace) -> None:
    chart = mermaid(trace)
    assert chart.startswith("flowchart RL\n")
    training, scoring = chart.index("subgraph training"), chart.index("subgraph scoring")
    assert training < chart.index("gold.f@1") < scoring < chart.index("gold.f@2")
    assert 'failure/3 #34;#60;b#62;"' in chart
    assert chart.count("subgraph") == chart.count("\n  end\n") == 2
    assert chart.count("-->") == len(trace.edges)


def test_raw_files_are_those_of_the_row_where_there_are_any(trace: Trace) -> None:
    assert len(trace.raw_files) == 12
    with pytest.raises(KeyError):
        trace.node("nothing")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**30, "5.0 GiB")]
)
def test_sizes_read_well(size: int, text: str) -> None:
    assert size_text(size) == text
