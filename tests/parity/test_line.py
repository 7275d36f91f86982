"""Parity of a deployment in one line."""

from __future__ import annotations

import pytest

from headrace import clock
from headrace.parity import ParityReport
from headrace.parity.line import line_of
from headrace.parity.report import failed, unrecorded
from headrace.parity.store import Kept, Subject


@pytest.mark.parametrize(
    ("reports", "line"),
    [
        ([], None),
        ([unrecorded("live")], "not compared: the training recorded no answers"),
        (
            [ParityReport("live, Arrow", 256, True, 1e-12), ParityReport("live, JSON", 250, True)],
            "256 rows as at training (JSON, Arrow), within 1.0e-12",
        ),
        ([ParityReport("live, JSON", 3, True)], "3 rows as at training (JSON), equal"),
        (
            [ParityReport("live, JSON", 3, True), failed("live, Arrow", "it is refused")],
            "not as at training, live, Arrow: it is refused",
        ),
    ],
)
def test_the_line(reports: list[ParityReport], line: str | None) -> None:
    subject = Subject("model", 1, "scores", "dep")
    assert line_of([Kept(subject, report, clock.now()) for report in reports]) == line
