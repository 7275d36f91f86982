"""What was made again against what was recorded: one finding each. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.kernels.proof import distances
from headrace.reproduce.reproduction import Finding, Outcome

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from headrace.reproduce.files import FileComparison

#: Metrics are sums over many rows, which libraries may add up in another order.
_METRIC: float = 1e-9


@dataclass(frozen=True)
class Answers:
    """Predictions of two models on the same rows.

    Attributes:
        largest: distance of two scores, relative to scores above 1.
        differing: scores that are not equal to the last bit.
        labels: that differ.
        rows: compared.
    """

    largest: float
    differing: int
    labels: int
    rows: int

    @property
    def same(self) -> bool:
        """All agree to the last bit."""
        return not self.differing and not self.labels


def answers(then: pd.DataFrame, now: pd.DataFrame) -> Answers | None:
    """Compare ``score`` and ``label``; ``None`` for another number of rows."""
    if len(then) != len(now):
        return None
    old, new = _scores(then), _scores(now)
    apart = distances(old, new)
    labels = 0
    if ("label" in then) != ("label" in now):
        labels = len(then)
    elif "label" in then:
        labels = int((then["label"].to_numpy() != now["label"].to_numpy()).sum())
    # By their bits, so that a NaN equals itself and 0.0 is not -0.0.
    differing = int((old.view("int64") != new.view("int64")).sum())
    return Answers(float(apart.max(initial=0.0)), differing, labels, len(then))


def of_predictions(recorded: Answers | None, here: Answers | None, tolerance: float) -> Finding:
    """What the predictions on the hold-out say: those of the registered model decide.

    Args:
        recorded: those of the training then, against the model that was trained now.
        here: those of the registered model here and now, against the same.
        tolerance: within which scores are close.
    """
    name = "predictions"
    if recorded is None or here is None:
        return Finding(name, "different", "there is another number of rows to predict")
    if here.same:
        text = f"{here.rows:,} on the hold-out agree to the last bit"
        if not recorded.same:
            text += " with the registered model's on this machine"
        return Finding(name, "same", text)
    text = f"{here.differing:,} of {here.rows:,} scores differ, the most by {here.largest:.3g}"
    if here.labels:
        text += f"; {here.labels:,} label{'s differ' if here.labels > 1 else ' differs'}"
    if recorded.same:
        text += "; the training recorded what it gives now, so the registered files are others"
    close = here.largest <= tolerance and not here.labels
    return Finding(name, "close" if close else "different", text)


def of_registered(then: Answers | None) -> Iterable[Finding]:
    """A note where the registered model itself answers differently here than it did then."""
    if then is not None and not then.same:
        yield Finding(
            "machine",
            "note",
            f"the registered model itself answers differently here than when it was trained: "
            f"{then.differing:,} scores, the most by {then.largest:.3g}",
        )


def of_metrics(then: Mapping[str, float], now: Mapping[str, float]) -> Finding:
    """Metrics on the hold-out, by their names without ``holdout_``."""
    old = {
        name.removeprefix("holdout_"): value
        for name, value in then.items()
        if name.startswith("holdout_")
    }
    apart = {
        name: 0.0
        if math.isnan(value) and math.isnan(now[name])
        # A NaN on one side only is no distance, and not within any.
        else abs(now[name] - value) / max(1.0, abs(value))
        for name, value in old.items()
        if name in now
    }
    lost = sorted(set(old) ^ set(now))
    differ = [name for name, distance in apart.items() if not distance <= _METRIC]
    if lost or differ:
        shown = [f"{name} {old[name]:.6g} then, {now[name]:.6g} now" for name in differ]
        shown += [f"{name} on one side only" for name in lost]
        return Finding("metrics", "different", "; ".join(shown))
    return Finding("metrics", "same", f"{len(apart)} on the hold-out are equal")


def of_rows(part: str, then: str, now: str, count: int) -> Finding:
    """A part of the rows by its digest."""
    if then == now:
        return Finding(f"{part} rows", "same", f"{count:,} rows, sha256 {now[:12]}")
    text = f"{count:,} rows of sha256 {now[:12]}, it was {then[:12]}"
    return Finding(f"{part} rows", "different", text)


def of_code(digest: str, same: bool | None) -> Finding:
    """The recorded source by its digest."""
    if same is None:
        return Finding("code", "same", "the recorded files, to the byte")
    if same:
        return Finding("code", "same", f"the recorded source, sha256 {digest[:12]}")
    return Finding("code", "different", f"the recorded source is not of sha256 {digest[:12]}")


def of_files(found: FileComparison) -> Finding:
    """The files that hold the model. They can differ where predictions do not."""
    differ = [*found.different, *found.missing]
    if differ:
        text = f"{', '.join(differ)} differ"
        text += f", {', '.join(found.same)} do not" if found.same else ""
        return Finding("files", "note", text)
    return Finding("files", "same", f"{', '.join(found.same)}: what they hold is equal")


def of_circumstances(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[Finding]:
    """What differs between the process then and the one now, and can change numbers."""
    if then["python"] != now["python"]:
        yield Finding("python", "note", f"{then['python']} then, {now['python']} now")
    for key in ("processor", "cpus"):
        if key in now and then[key] != now[key]:
            yield Finding(key, "note", f"{then[key]} then, {now[key]} now")
    old, new = _architectures(then), _architectures(now)
    if old != new and new:
        text = f"{', '.join(sorted(old)) or 'none'} then, {', '.join(sorted(new))} now"
        yield Finding("BLAS", "note", text)


def of_hash_seed(found: Iterable[Answers | None], then: Mapping[str, Any]) -> Iterable[Finding]:
    """A note where the training answers otherwise, and the order of sets cannot be what it was."""
    if then["hash_seed"] is None and not any(each and each.same for each in found):
        yield Finding(
            "hash seed",
            "note",
            "drawn by chance then: a training that depends on the order of a set of texts "
            "comes out different; PYTHONHASHSEED=0 headrace run fixes it",
        )


def verdict(findings: Iterable[Finding]) -> Outcome:
    """The worst of the findings."""
    states = {each.state for each in findings}
    if "missing" in states:
        return "impossible"
    if "different" in states:
        return "different"
    return "close" if "close" in states else "same"


def _scores(frame: pd.DataFrame) -> NDArray[np.float64]:
    import numpy as np

    return np.ascontiguousarray(frame["score"].to_numpy(np.float64))


def _architectures(runtime: Mapping[str, Any]) -> set[str]:
    return {
        f"{pool['internal_api']} {pool.get('version', '')} on {pool['architecture']}"
        for pool in runtime["thread_pools"]
        if pool.get("architecture")
    }
