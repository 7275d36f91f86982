"""The lineage of tables, files, models and endpoints, as a tree, a chart and a drawing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from rich.console import Console

from headrace import clock
from headrace.catalog import Access, ColumnFlow, Operation
from headrace.cli.lineage import command
from headrace.ids import new_id
from headrace.trace.errors import UnknownColumnError, UnknownObjectError, ViewHasNoLineageError
from headrace.trace.lineage import Picture, find, lineage, mermaid, print_picture, svg
from headrace.trace.lineage.layout import arrange
from headrace.trace.lineage.picture import Arrow, Box
from headrace.workspace import Workspace, open_workspace

from .conftest import MLFLOW_WARNINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.catalog import RawFile

    from .conftest import Loop

pytestmark = MLFLOW_WARNINGS


def titles(picture: Picture, side: str) -> list[str]:
    return [box.title for box in picture.boxes if box.side == side]


def text_of(picture: Picture) -> str:
    out = io.StringIO()
    print_picture(picture, Console(file=out))
    return out.getvalue()


def test_a_table_has_causes_and_effects(loop: Loop) -> None:
    picture = lineage(loop.workspace, "gold.features")
    up = titles(picture, "up")
    assert up == ["main.silver.telemetry", "raw/devices.csv", "raw/telemetry/*"]
    down = [(box.kind, box.title, box.detail) for box in picture.boxes if box.side == "down"]
    assert ("model", "failure", "version 1") in down
    assert any(kind == "table" and title.endswith("predictions") for kind, title, _ in down)
    files = picture.box(f"path:{loop.root / 'raw' / 'telemetry'}/*")
    assert files.facts["files"] == 6
    assert files.detail.startswith("6 files, ")


def test_the_tree_names_each_thing_once(loop: Loop) -> None:
    text = text_of(lineage(loop.workspace, "gold.features"))
    lines = text.splitlines()
    assert lines[0].startswith("main.gold.features")
    assert lines.index("came from") < lines.index("went into")
    assert text.count("raw/telemetry/*  ") == 1


def test_a_model_an_endpoint_and_a_file_are_subjects(loop: Loop) -> None:
    workspace = loop.workspace
    model = lineage(workspace, "failure/1")
    assert "main.gold.features" in titles(model, "up")
    raw = next((workspace.paths.root / "raw" / "telemetry").iterdir())
    one = lineage(workspace, str(raw))
    assert one.boxes[0].detail.startswith("1 file")
    assert {"main.silver.telemetry", "failure"} <= set(titles(one, "down"))
    assert titles(one, "up") == []
    with workspace.store.begin() as connection:
        from headrace.endpoints.store import deployments

        version = workspace.mlflow().get_model_version("failure", "1")
        now = clock.now()
        connection.execute(
            deployments.insert().values(
                id="deployment", endpoint="failing", colour="blue", model_name="failure",
                model_version=1, model_id=version.source.removeprefix("models:/"), state="ready",
                created_at=now, updated_at=now,
            )
        )  # fmt: skip
        connection.exec_driver_sql(
            "INSERT INTO headrace_endpoints (name, model, key_columns, revision, created_at)"
            " VALUES ('failing', 'failure/1', '[]', 1, '2026-01-01 00:00:00.000000')"
        )
    endpoint = lineage(workspace, "failing")
    assert titles(endpoint, "up")[:2] == ["failure", "main.gold.features"]
    assert "failing" in titles(lineage(workspace, "gold.features"), "down")


def test_one_column(loop: Loop) -> None:
    picture = lineage(loop.workspace, "silver.telemetry", column="temperature")
    boxes = {box.title: box for box in picture.boxes}
    assert boxes["raw/telemetry/*"].columns["temperature"] == "direct"
    assert "ts" not in {
        column for column, how in boxes["raw/telemetry/*"].columns.items() if how == "direct"
    }
    assert boxes["failure"].columns == {"*": "direct"}
    assert "columns: as it is by value" in text_of(picture)
    again = lineage(loop.workspace, "silver.telemetry.TEMPERATURE")
    assert again.as_json() == picture.as_json()


def test_depth(loop: Loop) -> None:
    picture = lineage(loop.workspace, "gold.features", up=1, down=0)
    assert picture.cut == ("up",)
    assert {box.distance for box in picture.boxes} == {0, 1}
    assert "raise --up" in text_of(picture)
    assert "went into" not in text_of(picture)


def test_what_is_not_known_is_said(loop: Loop) -> None:
    with pytest.raises(UnknownObjectError, match=r"gold\.featurs") as unknown:
        find(loop.workspace, "gold.featurs")
    assert 'did you mean "gold.features"?' in str(unknown.value)
    with pytest.raises(UnknownColumnError) as column:
        find(loop.workspace, "silver.telemetry", "temperatures")
    assert 'did you mean "temperature"?' in str(column.value)
    loop.workspace.spark().sql("CREATE OR REPLACE VIEW gold.seen AS SELECT * FROM gold.features")
    with pytest.raises(ViewHasNoLineageError):
        find(loop.workspace, "gold.seen")


def test_json_and_drawings_hold_the_same(loop: Loop) -> None:
    picture = lineage(loop.workspace, "gold.features")
    found = json.loads(json.dumps(picture.as_json()))
    ids = {box["id"] for box in found["boxes"]}
    assert found["subject"] in ids
    assert {end for arrow in found["arrows"] for end in (arrow["source"], arrow["target"])} <= ids
    root = ElementTree.fromstring(svg(picture))  # our own
    drawn = {"".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {box.title for box in picture.boxes} <= drawn
    chart = mermaid(picture)
    assert chart.startswith("flowchart LR\n")
    assert chart.count("-->") == len(picture.arrows)


def test_the_command(loop: Loop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(loop.workspace.paths.root)
    drawing = tmp_path / "lineage.svg"
    made = CliRunner().invoke(command, ["gold.features", "--svg", str(drawing)])
    assert (made.exit_code, made.output) == (0, f"drew {drawing}\n")
    assert drawing.read_text().startswith("<svg")
    assert [each.name for each in tmp_path.iterdir()] == ["lineage.svg"]
    shown = CliRunner().invoke(command, ["gold.features", "--json"])
    assert json.loads(shown.output)["subject"] == "table:main.gold.features"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A project in which nothing has run."""
    (tmp_path / "headrace.yaml").write_text("name: lineage\n")
    opened = open_workspace(tmp_path)
    yield opened
    opened.close()


def operation(number: int, reads: tuple[Access, ...], files: tuple[RawFile, ...] = ()) -> Operation:
    at = clock.now() + timedelta(seconds=number)
    return Operation(
        id=new_id("op"),
        kind="write",
        subject=None,
        session_id=None,
        run_id=None,
        started_at=at,
        finished_at=at,
        reads=reads,
        writes=(Access("table", "main.gold.many", number),),
        mode="append",
        files=files,
    )


def test_places_beside_each_other_are_one_box(workspace: Workspace) -> None:
    for number in range(5):
        place = workspace.paths.root / "landing" / f"day={number}"
        place.mkdir(parents=True)
        (place / "a.csv").write_text(f"{number}\n")
        files = workspace.lineage.fingerprints([place / "a.csv"])
        workspace.lineage.record(operation(number, (Access("path", str(place)),), tuple(files)))
    picture = lineage(workspace, "gold.many")
    (box,) = [each for each in picture.boxes if each.side == "up"]
    assert (box.title, box.detail) == ("landing/*", "5 files, 10 B")
    assert len(picture.arrows) == 1


def test_what_is_only_possible_is_marked(workspace: Workspace) -> None:
    made = operation(0, (Access("table", "main.gold.source", 0),))
    flow = ColumnFlow("a", 0, "x", "indirect")
    workspace.lineage.record(replace(made, flows=(flow,)))
    picture = lineage(workspace, "gold.many.a")
    (arrow,) = picture.arrows
    assert arrow.how == "indirect"
    assert "-.->" in mermaid(picture)
    assert 'class="arrow indirect"' in svg(picture)
    assert "main.gold.source  version 0, 1 write  ~x" in text_of(picture)


def ladder(count: int) -> Picture:
    """So many boxes, each of which feeds the next two and one far away."""
    boxes = tuple(
        Box(f"table:{number}", "table", f"main.gold.table_{number:03}", "down", number)
        for number in range(count)
    )
    arrows = tuple(
        Arrow(f"table:{number}", f"table:{target}", "1 refresh")
        for number in range(count)
        for target in (number + 1, number + 2, number * 3 + 1)
        if target < count and target != number
    )
    return Picture("table:0", "ladder", None, boxes, arrows)


def test_boxes_of_a_layer_do_not_touch() -> None:
    picture = ladder(100)
    arrows = [(each.source, each.target) for each in picture.arrows]
    layout = arrange([box.id for box in picture.boxes], arrows)
    for layer in layout.layers:
        rows = [layout.rows[place] for place in layer if isinstance(place, str)]
        assert all(after - before >= 0.999 for before, after in pairwise(rows))
    assert all(layout.of[source] < layout.of[target] for source, target in arrows)
    assert svg(picture).count("<rect class=") == 101


def test_a_circle_is_drawn_with_one_arrow_back() -> None:
    layout = arrange(["a", "b", "c"], [("a", "b"), ("b", "c"), ("c", "a"), ("c", "c")])
    back = [each for each in layout.ways if layout.of[each[0]] > layout.of[each[1]]]
    assert back == [("c", "a")]
