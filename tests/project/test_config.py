"""The project file: what is wrong is named with its line, and with what was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from headrace.project.config import InvalidProjectError, configuration, json_schema, load_project
from headrace.project.yaml_lines import MalformedYamlError, load
from headrace.settings import InvalidSettingError, Paths

Make = Callable[..., Any]


def line_of(path: Path, text: str) -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_the_small_project_is_valid(make_project: Make) -> None:
    project = load_project(Paths(make_project(days=0).root))
    assert project.name == "small"
    assert project.models["failure"].name == "failure"
    assert project.endpoints["failure"].model == "failure@production"
    (spec,) = project.prediction_specs()
    assert (spec.table, spec.input) == ("gold.failure_predictions", "gold.latest")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("label: fails", "lable: fails", 'did you mean "label"?'),
        ("holdout: {last: 25%}", "holdout: {lst: 25%}", "models.failure.holdout"),
        ("gate: {metric: roc_auc", "gate: {metrc: roc_auc", 'did you mean "metric"?'),
        ("key: [device_id, hour]\n    time", "key: device_id\n    time", "models.failure.key"),
        ("training/failure.py:train", "training/nope.py:train", "does not exist"),
        ("training/failure.py:train", "training/failure.py:trian", 'did you mean "train"?'),
        ("model: failure@production, key", "model: failur@production, key", "no model"),
        ("pipeline: spark-pipeline.yml", "pipeline: spark.yml", "does not exist"),
        ("failure: {model: failure@production, key", "failure: {model: failure, key", "neither"),
        ("failure: {model: failure@production, key", "Fail/it: {model: failure/1, key", "form"),
        (
            "failure_predictions: {model: failure@production,",
            "failure_predictions: {model: failure@,",
            "neither name@alias nor name/version",
        ),
        ("gold.failure_predictions:", '"gold..x":', "not a table name"),
        ("table: gold.features", "table: a.b.c.d", "not a table name"),
        ("key: [device_id, hour]}", "key: [hour], columns: [hour]}", "more than once"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    make_project: Make, old: str, new: str, said: str
) -> None:
    small = make_project(days=0)
    small.edit("headrace.yaml", old, new)
    with pytest.raises(InvalidProjectError) as raised:
        load_project(Paths(small.root))
    assert said in str(raised.value)
    changed = line_of(small.root / "headrace.yaml", new.splitlines()[0])
    assert changed in [line for line, _ in raised.value.problems]
    assert raised.value.next


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: a\n  b: c\n", 2, "not allowed here"),
        ("name: a\nname: b\n", 2, "stands twice"),
        ("name: [a\n", 2, "expected"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("", 1, "must be a mapping"),
        ("name: *nothing\n", 1, "undefined alias"),
        ("name: x\n\tb: 1\n", 2, "cannot start any token"),
        ("name: x\n? [a, b]\n: c\n", 2, "unhashable key"),
        ("name: !!python/name:os.system x\n", 1, "could not determine a constructor"),
        ("name: &x {y: *x}\n", 1, "inside its own anchor"),
        ("name: 2026-13-45\n", None, "a value cannot be read"),
    ],
)
def test_malformed_yaml_is_named_with_its_line(
    tmp_path: Path, text: str, line: int | None, said: str
) -> None:
    path = tmp_path / "headrace.yaml"
    path.write_text(text)
    with pytest.raises(MalformedYamlError) as raised:
        load(path)
    assert raised.value.line == line
    assert said in str(raised.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "headrace.yaml"
    path.write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(MalformedYamlError, match="not a valid project file"):
        load(path)


def test_every_mistake_is_reported_at_once(make_project: Make) -> None:
    small = make_project(days=0)
    small.edit("headrace.yaml", "name: small", "name: Small Project\nextra: 1")
    small.edit("headrace.yaml", "label: fails", "lable: fails")
    with pytest.raises(InvalidProjectError) as raised:
        load_project(Paths(small.root))
    assert len(raised.value.problems) >= 3
    assert raised.value.problems == sorted(raised.value.problems, key=lambda p: p[0] or 0)


def test_configuration_comes_from_the_file_then_the_environment_then_the_command_line(
    make_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make_project(days=0)
    small.edit("headrace.yaml", "name: small\n", "name: small\nconfiguration: {a: 1, b: 2, c: 3}\n")
    monkeypatch.setenv("HEADRACE_CONF", "b=20;c=30")
    merged = configuration(load_project(Paths(small.root)), {"c": "300"})
    assert merged == {"a": "1", "b": "20", "c": "300"}


@pytest.mark.parametrize("text", ["raw", "=x", "a=1;raw"])
def test_an_environment_that_is_no_list_of_pairs_is_refused(
    make_project: Make, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    project = load_project(Paths(make_project(days=0).root))
    monkeypatch.setenv("HEADRACE_CONF", text)
    with pytest.raises(InvalidSettingError, match="HEADRACE_CONF"):
        configuration(project)


def test_the_schema_that_editors_read_accepts_the_template_and_refuses_a_typo() -> None:
    import yaml

    template = Path(__file__).parents[2] / "src/headrace/project/templates/device-health"
    document = yaml.safe_load((template / "headrace.yaml").read_text())
    validator = Draft202012Validator(json_schema())
    assert list(validator.iter_errors(document)) == []
    document["models"]["device_failure"]["lable"] = "x"
    assert [error.validator for error in validator.iter_errors(document)] == [
        "additionalProperties"
    ]
