from __future__ import annotations

import time

import pytest

from headrace.ids import is_id, new_id


def id_millis(identifier: str) -> int:
    return int(identifier.rpartition("_")[2][:12], 16)


def test_an_id_tells_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id("pred")
    after = time.time_ns() // 1_000_000
    assert before <= id_millis(made) <= after
    assert is_id(made, "pred")


def test_ids_sort_by_time_and_do_not_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1_700_000_000_000_000_000 + 1_000_000 * step for step in range(100)])
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    made = [new_id("op") for _ in range(100)]
    assert made == sorted(made)
    assert len(set(made)) == 100


def test_ids_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    made = {new_id("op") for _ in range(1000)}
    assert len(made) == 1000
    assert {id_millis(each) for each in made} == {1_700_000_000_000}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pred_",
        "pred",
        "op_019aa3c0d5f84c1e9b2a7d60f3e1",
        "pred_019aa3c0d5f84c1e9b2a7d60f3e",
        "pred_019aa3c0d5f84c1e9b2a7d60f3e11",
        "pred_019AA3c0d5f84c1e9b2a7d60f3e1",
        "pred_019aa3c0d5f84c1e9b2a7d60f3e1\n",
        "pred_019aa3c0d5f84c1e9b2a7d60f3eg",
    ],
)
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text, "pred")
