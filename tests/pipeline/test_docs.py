"""The page about pipelines says what is true."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from headrace.pipeline import Expectations
from headrace.pipeline.properties import check_properties
from headrace.pipeline.streams import StreamSource

if TYPE_CHECKING:
    import pytest

    from .conftest import Project

PAGE = Path(__file__).parents[2] / "docs" / "pipelines.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_examples_run(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, expectations = blocks("yaml")
    definitions, loop = blocks("python")
    project.write("spark-pipeline.yml", spec)
    project.write("transformations/bronze.py", definitions)
    project.parquet("raw/events/1.parquet", id=[1, 1], value=[1.0, 2.0])
    monkeypatch.chdir(project.root)
    exec(compile(loop, str(PAGE), "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "main.bronze.events 0 2 never refreshed",
        "main.gold.totals 0 1 never refreshed",
    ]
    for wanted in yaml.safe_load(expectations)["expectations"].values():
        assert len(Expectations.model_validate(wanted).conditions()) == 3
    assert Path.cwd() == project.root
    assert "SPARK_HOME" not in os.environ


def test_every_read_option_is_documented() -> None:
    source = Path(StreamSource.__module__.replace(".", "/") + ".py")
    text = (PAGE.parents[1] / "src" / source).read_text()
    options = set(re.findall(r'\.(?:option|flag)\("(\w+)"\)', text))
    assert options == set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))


def test_properties_without_delta_are_free() -> None:
    from headrace.pipeline.elements import Location

    check_properties({"quality": "gold"}, Location("tables.py"))
