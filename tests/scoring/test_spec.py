from __future__ import annotations

import pytest
from pydantic import ValidationError

from headrace.scoring import RECORD_COLUMNS, PredictionSpec


def spec(**changes: object) -> PredictionSpec:
    fields = {"table": "gold.p", "model": "m@production", "input": "gold.f", "key": ["id"]}
    return PredictionSpec.model_validate(fields | changes)


@pytest.mark.parametrize("model", ["m@production", "m/3", "device_failure@champion", "a.b-c/12"])
def test_a_model_is_named_with_an_alias_or_a_version(model: str) -> None:
    assert spec(model=model).model == model


@pytest.mark.parametrize("model", ["m", "m@", "@a", "m/", "m/x", "m/0", "models:/m/1", "m@a/1", ""])
def test_other_model_references_are_refused(model: str) -> None:
    with pytest.raises(ValidationError, match="neither name@alias nor name/version"):
        spec(model=model)


def test_a_column_is_named_once() -> None:
    with pytest.raises(ValidationError, match=r"more than once.*\['id'\]"):
        spec(key=["id", "day"], columns=["id"])


@pytest.mark.parametrize("column", RECORD_COLUMNS)
def test_columns_that_scoring_writes_are_refused(column: str) -> None:
    with pytest.raises(ValidationError, match=column):
        spec(columns=[column])


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        spec(models="m@production")


def test_the_digest_tells_specs_apart() -> None:
    digests = {
        spec().digest(),
        spec(model="m/3").digest(),
        spec(key=["id", "day"]).digest(),
        spec(columns=["site"]).digest(),
    }
    assert len(digests) == 4
    assert spec().digest() == spec().digest()
