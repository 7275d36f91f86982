"""docs/requestlog.md names every column and every key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from headrace.endpoints import EndpointSpec
from headrace.requestlog.errors import InvalidGroundTruthError
from headrace.requestlog.ground_truth import MOST_LABELS, read_ground_truth
from headrace.requestlog.policy import LogPolicy
from headrace.requestlog.process import SHIP_SECONDS
from headrace.requestlog.tables import labelled_query, request_rows, truth_rows
from headrace.requestlog.upkeep import EVERY_COMMITS

PAGE = (Path(__file__).parents[2] / "docs" / "requestlog.md").read_text()


@pytest.mark.parametrize(
    "column", [*request_rows([]).column_names, *truth_rows([]).column_names, "label_value"]
)
def test_each_column_is_documented(column: str) -> None:
    assert f"`{column}`" in PAGE


def test_the_view_has_the_columns_that_are_documented() -> None:
    assert "t.value AS label_value, t.labelled_at" in labelled_query("scores")


@pytest.mark.parametrize("key", LogPolicy.model_fields)
def test_each_key_of_a_policy_is_documented(key: str) -> None:
    assert f"| `{key}` |" in PAGE


def test_the_figures_are_those_of_the_code() -> None:
    assert f"to Delta every {SHIP_SECONDS:g} s" in PAGE
    assert f"Every {EVERY_COMMITS} commits" in PAGE
    assert f"up to {MOST_LABELS:,} labels" in PAGE
    assert f"`{InvalidGroundTruthError.code}`" in PAGE


def test_the_example_of_a_policy_is_valid() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    [(name, entry)] = yaml.safe_load(example[1])["endpoints"].items()
    assert EndpointSpec(name=name, **entry).log.sample == 0.1


def test_the_example_of_ground_truth_is_accepted() -> None:
    sent = re.search(r"-d '(\{.*?\})'", PAGE, re.DOTALL)
    answer = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert sent
    assert answer
    record = read_ground_truth("device-failure", sent[1].encode())
    assert json.loads(answer[1]) == {"accepted": len(record["labels"])}
