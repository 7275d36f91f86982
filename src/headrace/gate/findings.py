"""The numbers that a judgement rests on. Immutable, and the same as JSON.

All that can refuse a candidate is a number here, so that whoever has the rule and these can
decide again (``headrace.gate.rule``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from headrace.gate.metrics import Task

LeakName = Literal["rows", "groups", "label", "times", "horizon"]


class Frozen(BaseModel):
    """A record that does not change; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class Bound(Frozen):
    """One bound on one metric, overall or in a slice.

    Attributes:
        metric: its name.
        bound: at least this, or at most where less is better.
        value: the candidate's.
        met: whether it is.
        column, slice: where; both ``None`` overall.
        rows: rows of that part.
    """

    metric: str
    bound: float
    value: float
    met: bool
    rows: int
    column: str | None = None
    slice: str | None = None


class Pairs(Frozen):
    """Rows on which one of two models is right and the other is wrong.

    Attributes:
        wins: the candidate is right.
        losses: the champion is right.
    """

    wins: int
    losses: int


class SliceTest(Frozen):
    """Whether the candidate is worse than the champion in one slice.

    Attributes:
        gain: positive where the candidate is better.
        p_value: chance of so low a gain if it were no worse, one-sided.
        adjusted: by Holm's method over all slices that were tested.
        worse: whether ``adjusted`` is at most 1 - confidence.
        pairs: what an exact test counts; ``None`` where the test is a bootstrap.
    """

    gain: float
    p_value: float
    adjusted: float
    worse: bool
    pairs: Pairs | None = None


class SliceReport(Frozen):
    """The gate's metric in one slice; bounds are apart.

    Attributes:
        column, slice: which rows.
        rows: how many.
        positives: how many are positive; ``None`` unless there are two classes.
        judged: whether there were enough rows to hold the slice to its bounds.
        candidate, champion: the gate's metric; ``None`` where it has no value.
        test: against the champion; ``None`` without one, and where the slice is not judged.
    """

    column: str
    slice: str
    rows: int
    positives: int | None
    judged: bool
    candidate: float | None
    champion: float | None
    test: SliceTest | None = None


class Difference(Frozen):
    """The paired comparison with the champion.

    Attributes:
        champion: the champion's metric.
        gain: positive where the candidate is better, also for losses.
        low, high: the paired bootstrap interval of the gain.
        confidence: its level.
        resamples: how many resamples had a value.
        units: how many rows, or groups of rows, were resampled.
        support: how many of them carry the comparison: all, or those with the rarer class.
        grouped_by: the column of the groups.
        pairs: what the exact test counts, where it decides and not the interval.
        p_value: of the exact test that the candidate is better, one-sided.
    """

    champion: float
    gain: float
    low: float
    high: float
    confidence: float
    resamples: int
    units: int
    support: int
    grouped_by: str | None = None
    pairs: Pairs | None = None
    p_value: float | None = None


class ReliabilityBin(Frozen):
    """Rows of neighbouring scores.

    Attributes:
        low, high: the lowest and the highest score among them.
        rows: how many.
        score: their mean score.
        share: the share of them that is positive.
    """

    low: float
    high: float
    rows: int
    score: float
    share: float


class Calibration(Frozen):
    """Whether scores are the shares that they claim to be.

    Attributes:
        error: the expected calibration error over these bins.
        bins: by ascending score.
    """

    error: float
    bins: tuple[ReliabilityBin, ...]


class FairnessValue(Frozen):
    """One metric in one group of people or things.

    Attributes:
        slice: the group's value.
        rows: how many rows.
        positives: how many are positive; ``None`` unless there are two classes.
        judged: whether there were enough.
        value: the metric; ``None`` where it has none.
    """

    slice: str
    rows: int
    positives: int | None
    judged: bool
    value: float | None


class Fairness(Frozen):
    """How far a metric lies apart between groups.

    Attributes:
        column, metric: which groups, and what.
        values: by group.
        gap: the largest value less the smallest; ``None`` with fewer than two judged groups.
        ratio: the smallest over the largest; ``None`` likewise, and where the largest is 0.
        met: whether both keep the rule.
    """

    column: str
    metric: str
    values: tuple[FairnessValue, ...]
    gap: float | None
    ratio: float | None
    met: bool


class LeakCheck(Frozen):
    """One look for knowledge that training should not have had.

    Attributes:
        check: which.
        columns: concerned.
        measure: what ``value`` counts, such as ``share of hold-out rows``.
        value: what was found; more is worse. ``None`` where the check does not apply.
        rows: how many rows were looked at.
        of: how many there are; more than ``rows`` where a sample was drawn.
        advisory: it is told and refuses nothing.
        note: why it is advisory or does not apply, or what the numbers rest on.
    """

    check: LeakName
    columns: tuple[str, ...]
    measure: str
    value: float | None
    rows: int
    of: int
    advisory: bool = False
    note: str | None = None


class Latency(Frozen):
    """How long one row takes, without the network.

    Attributes:
        subject: ``kernel`` in this process, or ``worker``: a process in the model's environment.
        p99: seconds; the least of ``rounds``, because other work on the machine only adds.
        p50: seconds; the median of the best round.
        rounds: the 99th percentile of each round, in seconds.
        rows: single rows a round, after a warm-up.
        machine: where it was measured.
    """

    subject: Literal["kernel", "worker"]
    p99: float
    p50: float
    rounds: tuple[float, ...]
    rows: int
    machine: str


class Size(Frozen):
    """The model's files, kernel included.

    Attributes:
        bytes: of all.
        files: how many.
    """

    bytes: int
    files: int


class Parity(Frozen):
    """The training's recorded answers against those of the same rows somewhere else.

    Attributes:
        route: where: ``batch`` on the engine.
        by: what answered, such as ``kernel DIGEST``.
        rows: how many were compared.
        disagreements: of these, how many got another score or label.
        difference: the largest distance of two scores; ``None`` where one is missing.
        tolerance: the distance that counts as equal.
        margin: labels may differ where a row is this close to another label.
        reason: why they do not agree, with the first row and both values.
        record: digest of the record.
        environment: lines of the training's lock that the serving environment does not keep, and
            what is known of each.
    """

    route: str
    by: str | None = None
    rows: int
    disagreements: int
    difference: float | None
    tolerance: float
    margin: float
    reason: str | None = None
    record: str | None = None
    environment: tuple[str, ...] = ()


class Findings(Frozen):
    """All that was measured of a candidate.

    Attributes:
        task: what kind of model.
        champion: the version it was compared with; ``None`` for a first model.
        metric: the gate's metric.
        candidate: the candidate's value of it.
        difference: ``None`` for a first model.
        bounds: every bound with its outcome.
        slices: the metric by slice.
        calibration, champion_calibration: of two classes, where scores are probabilities.
        fairness: one for each rule.
        leaks: one or more for each check that the gate asks for.
        latency, size: where the gate bounds them.
        parity: whether batch scoring answers as the training did.
        rows: rows of the hold-out.
        holdout_digest: which rows.
    """

    task: Task
    champion: int | None
    metric: str
    candidate: float
    difference: Difference | None = None
    bounds: tuple[Bound, ...] = ()
    slices: tuple[SliceReport, ...] = ()
    calibration: Calibration | None = None
    champion_calibration: Calibration | None = None
    fairness: tuple[Fairness, ...] = ()
    leaks: tuple[LeakCheck, ...] = ()
    latency: Latency | None = None
    size: Size | None = None
    parity: Parity | None = None
    rows: int
    holdout_digest: str
