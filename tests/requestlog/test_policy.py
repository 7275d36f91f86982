"""What a policy drops never comes to the disk; what it keeps stays as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.requestlog.records import served

from headrace.ids import new_id
from headrace.requestlog.counts import counts_of
from headrace.requestlog.policy import REDACTED, LogPolicy
from headrace.requestlog.spool import SpoolWriter, segments
from headrace.requestlog.tables import request_rows

SECRET = "123-45-6789"


def policy(**fields: Any) -> LogPolicy:
    return LogPolicy.model_validate(fields)


def record(**inputs: Any) -> dict[str, Any]:
    """One request in JSON text, and the same in values."""
    made = served(1)
    made["params"] = {"ssn": SECRET, "other": 1}
    made["rows"] = [
        {
            "id": "pred_1",
            "key": "k-1",
            "request": json.dumps(inputs),
            "prediction": json.dumps({"score": 1.5, "ssn": SECRET}),
            "score": 1.5,
        },
        {
            "id": "pred_2",
            "key": "k-2",
            "inputs": inputs,
            "output": {"score": 1.5, "ssn": SECRET},
            "score": 1.5,
        },
    ]
    return made


def test_without_a_policy_a_record_is_the_same_object() -> None:
    made = served(1)
    assert LogPolicy().apply(made, ["a"]) is made


@pytest.mark.parametrize("sample", ["0%", "10%", "62.5%", "100%"])
def test_the_share_that_is_kept_is_the_one_asked_for(sample: str) -> None:
    rule = policy(sample=sample)
    ids = [new_id("req") for _ in range(4000)]
    kept = [rule.keeps(identifier) for identifier in ids]
    share = float(sample.rstrip("%")) / 100
    assert abs(sum(kept) / len(ids) - share) <= 5 * (share * (1 - share) / len(ids)) ** 0.5
    assert kept == [rule.keeps(identifier) for identifier in ids]


def test_a_larger_sample_holds_the_smaller_one() -> None:
    ids = [new_id("req") for _ in range(500)]
    small = {i for i in ids if policy(sample="20%").keeps(i)}
    assert small < {i for i in ids if policy(sample="60%").keeps(i)}


def test_a_request_that_is_not_sampled_is_counted_and_no_more() -> None:
    made = record(ssn=SECRET)
    dropped = policy(sample="0%").apply(made)
    assert set(dropped) == {"kind", "endpoint", "deployment", "scored_rows"}
    [counted], [kept] = counts_of([dropped]).values(), counts_of([made]).values()
    assert kept.pop("logged") == 1
    assert counted == kept


def test_redacted_columns_stand_in_no_file(tmp_path: Path) -> None:
    rule = policy(redact=["ssn"])
    with SpoolWriter(tmp_path) as writer:
        writer.append(rule.apply(record(ssn=SECRET, a=1.5), ["a"]))
    [segment] = segments(tmp_path)
    assert SECRET.encode() not in segment.path.read_bytes()
    rows = request_rows(segment.records()).to_pylist()
    assert [json.loads(row["request"]) for row in rows] == [{"ssn": REDACTED, "a": 1.5}] * 2
    assert [json.loads(row["prediction"])["ssn"] for row in rows] == [REDACTED] * 2
    assert json.loads(rows[0]["params"]) == {"ssn": REDACTED, "other": 1}
    assert [row["key"] for row in rows] == ["k-1", "k-2"]


def test_a_key_made_of_a_redacted_column_is_not_kept() -> None:
    kept = policy(redact=["ssn"]).apply(record(ssn=SECRET), ["device", "ssn"])
    assert [row["key"] for row in kept["rows"]] == [None, None]


def test_inputs_without_names_are_redacted_as_a_whole() -> None:
    made = served(1)
    made["rows"][0]["request"] = json.dumps([SECRET, 1])
    [row] = policy(redact=["ssn"]).apply(made)["rows"]
    assert json.loads(row["request"]) == REDACTED


def test_the_score_can_be_redacted() -> None:
    [row, _] = policy(redact=["score"]).apply(record(a=1))["rows"]
    assert row["score"] is None
    assert json.loads(row["prediction"])["score"] == REDACTED


def test_a_record_is_not_changed_in_place() -> None:
    made = record(ssn=SECRET)
    before = json.dumps(made)
    policy(redact=["ssn"]).apply(made, ["ssn"])
    assert json.dumps(made) == before


@given(
    st.dictionaries(
        st.text(min_size=1), st.none() | st.booleans() | st.integers() | st.text(), min_size=1
    )
)
def test_other_columns_keep_their_values(inputs: dict[str, Any]) -> None:
    name = next(iter(inputs))
    [in_json, in_values] = policy(redact=[name]).apply(record(**inputs))["rows"]
    expected = {**inputs, name: REDACTED}
    assert json.loads(in_json["request"]) == expected
    assert in_values["inputs"] == expected


@pytest.mark.parametrize(
    "fields",
    [{"sample": 0.1}, {"sample": "101%"}, {"sample": "many"}, {"redact": [""]}, {"mask": ["a"]}],
)
def test_a_policy_that_says_nothing_clear_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**fields)


def test_a_policy_survives_json() -> None:
    rule = policy(sample="12.5%", redact=["a"])
    assert LogPolicy.model_validate_json(rule.model_dump_json()) == rule
