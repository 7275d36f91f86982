from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.tracking.spec import Holdout
from headrace.tracking.split import identities, split, uniform


def rule(**one: Any) -> Holdout:
    return Holdout(**one)


@given(
    days=st.lists(st.integers(0, 50), min_size=1, max_size=60),
    share=st.floats(0.05, 0.95),
)
def test_the_last_rows_are_held_out_whole_moments_at_a_time(days: list[int], share: float) -> None:
    time = pd.Series(pd.Timestamp("2026-01-01") + pd.to_timedelta(days, unit="D"))
    trained, held = split(rule(last=share), time=time, group=None, key=pd.DataFrame())
    assert (trained ^ held).all()
    assert held.sum() >= min(len(days) - np.ceil(len(days) * (1 - share) - 1e-9), 1)
    if trained.any():
        assert time[trained].max() < time[held].min()


def test_after_holds_out_from_that_moment_on() -> None:
    time = pd.Series(pd.to_datetime(["2026-02-28 23:00", "2026-03-01 00:00", "2026-03-02 00:00"]))
    trained, held = split(rule(after="2026-03-01"), time=time, group=None, key=pd.DataFrame())
    assert held.tolist() == [False, True, True]
    assert trained.tolist() == [True, False, False]


def test_an_embargo_leaves_rows_to_neither_part() -> None:
    time = pd.Series(pd.date_range("2026-03-01", periods=48, freq="h"))
    trained, held = split(
        rule(after="2026-03-02"),
        time=time,
        group=None,
        key=pd.DataFrame(),
        embargo=timedelta(hours=6),
    )
    assert (trained.sum(), held.sum()) == (18, 24)


def test_a_group_is_on_one_side() -> None:
    group = pd.Series([f"device-{n % 300}" for n in range(6000)])
    trained, held = split(rule(group="20%"), time=None, group=group, key=pd.DataFrame())
    assert not set(group[trained]) & set(group[held])
    assert len(set(group[held])) == pytest.approx(60, abs=25)


def test_new_rows_do_not_move_old_ones() -> None:
    key = pd.DataFrame({"id": range(1000)})
    _, before = split(rule(hash=0.3), time=None, group=None, key=key.head(500))
    _, after = split(rule(hash=0.3), time=None, group=None, key=key)
    assert (before == after[:500]).all()
    assert after.mean() == pytest.approx(0.3, abs=0.06)


def test_an_identity_depends_on_values_and_not_on_widths() -> None:
    narrow = pd.DataFrame({"a": np.array([1, 2], "int32"), "t": pd.to_datetime(["2026", "2027"])})
    wide = narrow.astype({"a": "int64", "t": "datetime64[ms]"})
    assert (identities(narrow) == identities(wide)).all()
    assert len(set(identities(narrow))) == 2


@pytest.mark.parametrize("seed", ["0", "1"])
def test_identities_are_the_same_in_another_process(seed: str) -> None:
    code = (
        "import pandas as pd; from headrace.tracking.split import identities;"
        "print(*identities(pd.DataFrame({'d': ['a', 'b'], 'n': [1, 2]})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    here = identities(pd.DataFrame({"d": ["a", "b"], "n": [1, 2]}))
    assert done.stdout.split() == [str(value) for value in here]


def test_uniform_numbers_are_uniform() -> None:
    drawn = uniform(pd.DataFrame({"id": range(20_000)}))
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert np.quantile(drawn, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.015)
