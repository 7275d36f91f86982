"""Comparisons of what was made again with what was recorded."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headrace.reproduce import compare
from headrace.reproduce.files import compare_files, digest
from headrace.reproduce.reproduction import Finding, Reproduction

RUNTIME: dict[str, Any] = {
    "python": "3.11.7",
    "processor": "one",
    "cpus": 2,
    "hash_seed": 0,
    "thread_pools": [{"internal_api": "openblas", "version": "0.3", "architecture": "Haswell"}],
}


def frame(*scores: float, labels: list[Any] | None = None) -> pd.DataFrame:
    found = pd.DataFrame({"score": list(scores)})
    return found if labels is None else found.assign(label=labels)


def finding(then: pd.DataFrame, here: pd.DataFrame, now: pd.DataFrame) -> Finding:
    return compare.of_predictions(compare.answers(then, now), compare.answers(here, now), 1e-9)


def test_equal_to_the_last_bit_is_the_same() -> None:
    then = frame(0.1, float("nan"), labels=[True, False])
    found = finding(then, then, then.copy())
    assert (found.state, found.text) == ("same", "2 on the hold-out agree to the last bit")


def test_one_bit_is_close_and_more_than_the_tolerance_is_different() -> None:
    then = frame(0.5, 0.25)
    bit = frame(float(np.nextafter(0.5, 1)), 0.25)
    assert finding(then, then, bit).state == "close"
    assert "1 of 2 scores differ" in finding(then, then, bit).text
    assert finding(then, then, frame(0.5, 0.25 + 2e-9)).state == "different"
    assert finding(then, then, frame(0.5, float("nan"))).state == "different"
    zeros = compare.answers(frame(0.0), frame(-0.0))
    assert zeros is not None
    assert (zeros.differing, zeros.largest) == (1, 0.0)


def test_distances_are_relative_to_large_scores() -> None:
    found = compare.answers(frame(1e6), frame(1e6 + 1e-4))
    assert found is not None
    assert found.largest == pytest.approx(1e-10, rel=1e-3)


def test_a_label_that_differs_is_never_close() -> None:
    then = frame(0.5, labels=["bad"])
    found = finding(then, then, frame(0.5, labels=["good"]))
    assert found.state == "different"
    assert "1 label differs" in found.text


def test_the_registered_model_on_this_machine_counts_too() -> None:
    then, here = frame(0.5), frame(0.5 + 1e-7)
    found = finding(then, here, here.copy())
    assert found.state == "same"
    assert "on this machine" in found.text
    (note,) = compare.of_registered(compare.answers(then, here))
    assert note.state == "note"
    assert list(compare.of_registered(compare.answers(then, then))) == []


def test_registered_files_that_the_training_does_not_make_are_different() -> None:
    then, swapped = frame(0.5, labels=[True]), frame(0.9, labels=[True])
    found = finding(then, swapped, then.copy())
    assert found.state == "different"
    assert "the registered files are others" in found.text


def test_labels_on_one_side_only_are_different() -> None:
    assert finding(frame(0.5), frame(0.5), frame(0.5, labels=[True])).state == "different"


def test_another_number_of_rows_is_different() -> None:
    assert finding(frame(0.5), frame(0.5), frame(0.5, 0.5)).state == "different"


def test_metrics_are_compared_by_name() -> None:
    then = {"holdout_f1": 0.5, "holdout_recall": 0.25, "train_f1": 0.9, "training_seconds": 3.0}
    assert compare.of_metrics(then, {"f1": 0.5, "recall": 0.25}).state == "same"
    found = compare.of_metrics(then, {"f1": 0.6, "brier": 0.1})
    assert found.state == "different"
    assert "f1 0.5 then, 0.6 now" in found.text
    assert "brier on one side only; recall on one side only" in found.text


def test_a_metric_that_is_no_number_equals_only_itself() -> None:
    nan = float("nan")
    assert compare.of_metrics({"holdout_f1": nan}, {"f1": nan}).state == "same"
    assert compare.of_metrics({"holdout_f1": 0.5}, {"f1": nan}).state == "different"
    assert compare.of_metrics({"holdout_f1": nan}, {"f1": 0.5}).state == "different"


def test_circumstances_that_differ_are_notes() -> None:
    assert list(compare.of_circumstances(RUNTIME, RUNTIME)) == []
    other = {
        **RUNTIME,
        "python": "3.11.9",
        "cpus": 8,
        "thread_pools": [{"internal_api": "openblas", "version": "0.3", "architecture": "Zen"}],
    }
    found = list(compare.of_circumstances(RUNTIME, other))
    assert [each.name for each in found] == ["python", "cpus", "BLAS"]
    assert {each.state for each in found} == {"note"}


def test_an_unknown_hash_seed_is_told_where_it_can_matter() -> None:
    equal = compare.answers(frame(0.5), frame(0.5))
    other = compare.answers(frame(0.5), frame(0.6))
    chance = {**RUNTIME, "hash_seed": None}
    assert [each.name for each in compare.of_hash_seed([other, None], chance)] == ["hash seed"]
    assert list(compare.of_hash_seed([other, equal], chance)) == []
    assert list(compare.of_hash_seed([other, other], RUNTIME)) == []


def test_the_verdict_is_the_worst_of_the_findings() -> None:
    def of(*states: Any) -> str:
        return compare.verdict(Finding("x", state, "") for state in states)

    assert of("same", "note") == "same"
    assert of("same", "close", "note") == "close"
    assert of("close", "different") == "different"
    assert of("different", "missing") == "impossible"
    codes = {
        verdict: Reproduction("m", 1, None, verdict, ()).exit_code
        for verdict in ("same", "close", "different", "impossible")
    }
    assert codes == {"same": 0, "close": 0, "different": 1, "impossible": 2}


def skops(*, addresses: tuple[int, int], value: float = 1.0) -> bytes:
    """A file as skops writes it: objects and arrays are named by their addresses."""
    array = io.BytesIO()
    np.save(array, np.array([value]))
    schema = {
        "__class__": "Forest",
        "__id__": addresses[0],
        "content": [{"__id__": addresses[1], "type": "numpy", "file": f"{addresses[1]}.npy"}],
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        moment = (2000 + addresses[0] % 20, 1, 1, 0, 0, 0)
        archive.writestr(zipfile.ZipInfo(f"{addresses[1]}.npy", moment), array.getvalue())
        archive.writestr(zipfile.ZipInfo("schema.json", moment), json.dumps(schema))
    return target.getvalue()


def test_addresses_and_times_in_a_skops_file_do_not_count(tmp_path: Path) -> None:
    def of(data: bytes) -> str:
        path = tmp_path / "model.skops"
        path.write_bytes(data)
        return digest(path)

    first = of(skops(addresses=(11, 12)))
    assert of(skops(addresses=(21, 29))) == first
    assert of(skops(addresses=(11, 12), value=1.5)) != first


def test_only_files_that_hold_the_model_are_compared(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for home in (one, two):
        (home / "kernel").mkdir(parents=True)
        (home / "MLmodel").write_text(home.name)
        (home / "kernel" / "model.onnx").write_text(home.name)
        (home / "model.pkl").write_bytes(b"1")
    found = compare_files(one, two)
    assert (found.same, found.different, found.missing) == (("model.pkl",), (), ())
    assert compare.of_files(found).state == "same"
    (two / "model.pkl").write_bytes(b"2")
    (two / "extra.bin").write_bytes(b"3")
    found = compare_files(one, two)
    assert (found.different, found.missing) == (("model.pkl",), ("extra.bin",))
    assert compare.of_files(found) == Finding("files", "note", "model.pkl, extra.bin differ")
