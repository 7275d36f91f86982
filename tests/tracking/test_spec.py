from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from headrace.tracking.spec import Holdout, TrainingSpec


def spec(**changes: Any) -> TrainingSpec:
    fields: dict[str, Any] = {
        "name": "failure",
        "train": "training/failure.py:train",
        "table": "gold.features",
        "label": "fails",
        "holdout": {"hash": "20%"},
    }
    return TrainingSpec(**(fields | changes))


def test_the_key_is_the_group_and_the_time_if_not_given() -> None:
    assert spec(time="at", group="device").key == ["device", "at"]
    assert spec(time="at", group="device", key=["id"]).key == ["id"]
    assert spec().key == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("15m", 900), ("24h", 86400), ("1d12h", 129600), ("2w", 1209600), ("1.5h", 5400)],
)
def test_durations(text: str, expected: int) -> None:
    assert spec(lookback=text).lookback == timedelta(seconds=expected)


@pytest.mark.parametrize("text", ["24", "h", "-1h", "0s", "1y", "1h foo", ""])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValidationError):
        spec(lookback=text)


@pytest.mark.parametrize("share", ["0%", "100%", "twenty", "20", 0, 1, -0.5])
def test_what_is_no_share(share: object) -> None:
    with pytest.raises(ValidationError):
        Holdout(hash=share)


def test_a_share_is_a_percentage_or_a_fraction() -> None:
    assert spec(holdout={"hash": "12.5%"}) == spec(holdout={"hash": 0.125})


@pytest.mark.parametrize(
    "after", ["2015-03-01", date(2015, 3, 1), datetime(2015, 3, 1), "2015-03-01T01:00:00+01:00"]
)
def test_a_moment_is_in_utc(after: Any) -> None:
    assert Holdout(after=after).cutoff == datetime(2015, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": {}}, "exactly one"),
        ({"holdout": {"last": "20%", "hash": "20%"}, "time": "at"}, "exactly one"),
        ({"holdout": {"last": "20%"}}, "needs `time`"),
        ({"holdout": {"after": "2026-01-01"}}, "needs `time`"),
        ({"holdout": {"group": "20%"}}, "needs `group`"),
        ({"embargo": "1h"}, "needs a hold-out by time"),
        ({"features": ["a", "fails"]}, "label"),
        ({"train": "training/failure.py"}, "pattern"),
        ({"seed": -1}, "greater than or equal"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_what_a_spec_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**changes)


def test_the_digest_follows_what_is_trained() -> None:
    assert spec().digest == spec().digest
    assert spec(params={"trees": 10}).digest != spec().digest


def test_the_digest_of_an_entry_leaves_its_other_settings_out() -> None:
    class Entry(TrainingSpec):
        gate: str

    entry = Entry(**spec().model_dump(), gate="strict")
    assert entry.digest == spec().digest


def test_a_spec_survives_json() -> None:
    whole = spec(
        time="at", holdout={"after": "2026-03-01"}, embargo="6h", lookback="20d", positive="yes"
    )
    assert TrainingSpec.model_validate_json(whole.canonical()) == whole


def test_the_rule_reads_well() -> None:
    assert str(Holdout(last="20%")) == "last 0.2"
    assert str(Holdout(after="2015-03-01")) == "after 2015-03-01 00:00"
