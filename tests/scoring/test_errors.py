"""What is wrong with an input, a key or a model is named, before anything runs."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from headrace.catalog import TableNotFoundError
from headrace.scoring import score
from headrace.scoring.errors import (
    DuplicateKeyError,
    InputNotTableError,
    KeyTypeError,
    MissingColumnsError,
    NoKeyError,
    NoSignatureError,
    NotPredictionsError,
    NullKeyError,
    PredictionColumnsError,
    ScoringFailedError,
)

from .conftest import MLFLOW_WARNINGS, Scored, rows

pytestmark = MLFLOW_WARNINGS


def nothing_was_written(scored: Scored) -> bool:
    return scored.workspace.catalog.find(scored.spec.table) is None


def test_duplicate_keys_show_one(scored: Scored) -> None:
    scored.write_input(pd.concat([rows(10), rows(1, start=3), rows(2, start=3)]))
    with pytest.raises(DuplicateKeyError) as caught:
        score(scored.workspace, scored.spec)
    error = caught.value
    assert error.keys == 2
    assert (error.example, error.copies) in [({"id": 3}, 3), ({"id": 4}, 2)]
    assert "2 keys" in error.what
    assert nothing_was_written(scored)


def test_null_keys_are_counted(scored: Scored) -> None:
    frame = rows(4)
    frame["id"] = pd.array([1, None, None, 4], dtype="Int64")
    scored.write_input(frame)
    with pytest.raises(NullKeyError, match=r"2 rows of .* have no value in the key"):
        score(scored.workspace, scored.spec)
    assert nothing_was_written(scored)


def test_a_missing_model_input_is_named_with_a_suggestion(scored: Scored) -> None:
    scored.write_input(rows(4).rename(columns={"b": "bb"}))
    with pytest.raises(MissingColumnsError, match=r"has no column b\.") as caught:
        score(scored.workspace, scored.spec)
    assert (caught.value.role, caught.value.missing) == ("model", ["b"])
    assert 'did you mean "bb"?' in str(caught.value)


@pytest.mark.parametrize("field", ["key", "columns"])
def test_a_missing_key_or_carried_column_is_named(scored: Scored, field: str) -> None:
    spec = scored.spec.model_copy(update={field: ["idd"]})
    with pytest.raises(MissingColumnsError, match="has no column idd"):
        score(scored.workspace, spec)


def test_a_floating_point_key_is_refused(scored: Scored) -> None:
    spec = scored.spec.model_copy(update={"key": ["a"]})
    with pytest.raises(KeyTypeError, match='"a" of type double'):
        score(scored.workspace, spec)


def test_no_key_anywhere_lists_the_columns(scored: Scored) -> None:
    spec = scored.spec.model_copy(update={"key": []})
    with pytest.raises(NoKeyError, match="id, a, b, site"):
        score(scored.workspace, spec)


def test_an_unknown_input_table_gets_a_suggestion(scored: Scored) -> None:
    spec = scored.spec.model_copy(update={"input": scored.spec.input + "x"})
    with pytest.raises(TableNotFoundError, match=f'did you mean "{scored.spec.input}"'):
        score(scored.workspace, spec)


def test_a_view_has_no_version_to_score(scored: Scored) -> None:
    view = f"gold.{scored.name}_view"
    scored.workspace.catalog.create_view(view, f"SELECT * FROM {scored.spec.input}")
    with pytest.raises(InputNotTableError, match="is a view"):
        score(scored.workspace, scored.spec.model_copy(update={"input": view}))


def test_a_table_is_not_scored_into_itself(scored: Scored) -> None:
    with pytest.raises(InputNotTableError, match="overwrite what it reads"):
        score(scored.workspace, scored.spec.model_copy(update={"table": scored.spec.input}))


def test_a_table_of_something_else_is_not_overwritten(scored: Scored) -> None:
    other = Scored(scored.workspace, f"{scored.name}_predictions", scored.model)
    other.write_input(rows(3))
    with pytest.raises(NotPredictionsError, match="is not a table of predictions"):
        score(scored.workspace, scored.spec)


def test_a_model_without_a_signature_is_refused(
    scored: Scored, log_model: Callable[..., int]
) -> None:
    scored.promote(log_model(scored.model, "model_input['a']", signature=False))
    with pytest.raises(NoSignatureError, match="logged without a signature"):
        score(scored.workspace, scored.spec)


def test_a_prediction_named_like_the_key_is_refused(
    scored: Scored, log_model: Callable[..., int]
) -> None:
    outputs = pd.DataFrame({"id": [1.0]})
    scored.promote(log_model(scored.model, "model_input[['a']]", outputs=outputs))
    with pytest.raises(PredictionColumnsError, match="names are taken: id"):
        score(scored.workspace, scored.spec)


def test_a_model_that_breaks_its_signature_is_named(
    scored: Scored, log_model: Callable[..., int]
) -> None:
    scored.promote(log_model(scored.model, "model_input[['a']]"))
    with pytest.raises(ScoringFailedError, match='returned no column "score"'):
        score(scored.workspace, scored.spec)
    assert nothing_was_written(scored)


def test_nulls_for_an_integer_input_are_named(
    scored: Scored, log_model: Callable[..., int]
) -> None:
    inputs = pd.DataFrame({"id": [1, 2], "n": [3, 4]})
    frame = rows(3)
    frame["n"] = pd.array([1, None, 3], dtype="Int64")
    scored.write_input(frame)
    with pytest.warns(UserWarning, match="integer column"):
        scored.promote(log_model(scored.model, "model_input[['n']] * 1.0", inputs))
    with pytest.raises(ScoringFailedError, match='"n" holds 1 nulls'):
        score(scored.workspace, scored.spec)
