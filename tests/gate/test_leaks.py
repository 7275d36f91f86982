"""The pure part of the check for leaks: what it must find, and what it must leave alone."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from headrace.gate.leaks import (
    COPIES,
    coincidences,
    column_hash,
    horizon_of,
    shared_rows,
    told_by,
)
from headrace.gate.spec import LeakRules

RNG = np.random.default_rng(0)
ROWS = 4000
LATENT = RNG.normal(size=ROWS)
BINARY = (LATENT > 1.2).astype(float)
CLASSES = np.digitize(LATENT, [-0.5, 0.8]).astype(float)
SURE = LeakRules().max_label
SUSPECT = LeakRules().suspect_label


def label_column(kind: str) -> np.ndarray:
    return {"binary": BINARY, "multiclass": CLASSES, "regression": LATENT}[kind]


@pytest.mark.parametrize(
    ("kind", "feature"),
    [
        ("binary", BINARY),
        ("binary", -BINARY),
        ("binary", LATENT),
        ("binary", np.where(BINARY == 1, np.nan, 1.0)),
        ("binary", np.where(BINARY == 1, "yes", "no").astype(object)),
        # No order of the values, each of which says it: a code per class of failure.
        ("binary", np.where(BINARY == 1, RNG.choice([1, 3, 5], ROWS), RNG.choice([0, 2, 4], ROWS))),
        ("multiclass", CLASSES),
        ("multiclass", np.array(["good", "fair", "bad"], object)[CLASSES.astype(int)]),
        ("regression", LATENT * 3.6 + 32),
        ("regression", -LATENT),
    ],
)
def test_a_feature_that_is_the_label_is_found(kind: str, feature: np.ndarray) -> None:
    assert told_by(feature, label_column(kind), kind) > SURE  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(
    "feature",
    [
        LATENT + 0.5 * RNG.normal(size=ROWS),  # correlated 0.9 with what makes the label
        RNG.normal(size=ROWS),
        np.arange(ROWS, dtype=float),
        np.array([f"id{number}" for number in range(ROWS)], object),  # says it, row by row
        np.full(ROWS, np.nan),
        np.zeros(ROWS),
    ],
    ids=["strong", "noise", "number", "key", "null", "constant"],
)
def test_a_legitimate_feature_is_left_alone(kind: str, feature: np.ndarray) -> None:
    assert told_by(feature, label_column(kind), kind) < SUSPECT  # type: ignore[arg-type]


def test_a_strong_feature_beside_a_rare_label_is_left_alone() -> None:
    rng = np.random.default_rng(1)
    rare = (rng.random(50_000) < 0.005).astype(float)
    # Two and a half standard deviations apart, an area of 0.96.
    assert 0.9 < told_by(rng.normal(size=50_000) + 2.5 * rare, rare, "binary") < SUSPECT


def test_a_label_with_a_few_errors_is_told_but_not_sure() -> None:
    wrong = RNG.random(ROWS) < 0.005
    assert SUSPECT < told_by(np.where(wrong, 1 - BINARY, BINARY), BINARY, "binary") < SURE


def hashed(*columns: np.ndarray) -> list[np.ndarray]:
    return [column_hash(column, place) for place, column in enumerate(columns)]


def added(hashes: list[np.ndarray]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(np.sum(hashes, axis=0, dtype=np.uint64))


def test_copies_of_rows_are_counted() -> None:
    heat, shake = RNG.normal(size=(2, 1000))
    rows = added(hashed(heat, shake))
    copied = np.r_[rows[800:], rows[:50]]
    assert shared_rows(rows[:800], rows[800:]) == 0
    assert shared_rows(rows[:800], copied) == pytest.approx(50 / 250)
    assert shared_rows(rows[:800], rows[:0]) == 0


def test_a_state_that_many_rows_are_in_is_no_copy() -> None:
    rows = added(hashed(np.zeros(100), np.zeros(100)))
    assert shared_rows(rows[:80], rows[80:]) == 0
    few = COPIES - 1
    assert shared_rows(rows[:few], rows[:1]) == 1


def test_coarse_columns_agree_by_coincidence_and_copies_do_not() -> None:
    rng = np.random.default_rng(2)
    trained = np.arange(5000) < 4000
    coarse = hashed(*(rng.integers(0, 20, 5000).astype(float) for _ in range(3)))
    whole = added(coarse)
    exact = shared_rows(whole[trained], whole[~trained])
    assert exact > 0.1
    assert coincidences(whole, coarse, trained, exact) > 1.5 * exact
    fine = rng.normal(size=(3, 5000))
    fine[:, 4000:4100] = fine[:, :100]
    copies = hashed(*fine)
    whole = added(copies)
    exact = shared_rows(whole[trained], whole[~trained])
    assert exact == pytest.approx(0.1)
    assert coincidences(whole, copies, trained, exact) == pytest.approx(exact)


def test_values_hash_by_what_they_are() -> None:
    assert (
        column_hash(np.array([0.0, np.nan]), 0) == column_hash(np.array([-0.0, -np.nan]), 0)
    ).all()
    assert column_hash(np.array([1.0]), 0) != column_hash(np.array([1.0]), 1)
    one, other = hashed(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    assert len(set(added([one, other]).tolist())) == 2
    texts = np.array(["a", None, "b"], object)
    assert len(set(column_hash(texts, 0).tolist())) == 3


@pytest.mark.parametrize(
    ("label", "ahead"),
    [
        ("fails_within_24h", timedelta(hours=24)),
        ("churn_next_30_days", timedelta(days=30)),
        ("down_in_15min", timedelta(minutes=15)),
        ("load_ahead_2w", timedelta(weeks=2)),
        ("fails", None),
        ("model_in_2024", None),
        ("within_5_hands", None),
    ],
)
def test_a_horizon_is_read_from_a_label_s_name(label: str, ahead: timedelta | None) -> None:
    assert horizon_of(label) == ahead
