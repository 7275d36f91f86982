"""What the demo did, as plain values."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from headrace.project.config import load_project
from headrace.project.status import Status, status

if TYPE_CHECKING:
    from headrace.demo.story import Story
    from headrace.project import Run


def facts(story: Story) -> dict[str, Any]:
    """The demo's outcome as plain values."""
    tally = story.traffic
    return {
        "seconds": round(story.seconds, 1),
        "telemetry": {
            "rows": story.simulation.rows,
            "files": story.simulation.files,
            "failures": story.simulation.failures,
            "defects": dict(story.simulation.defects),
        },
        "runs": [_run(story.first), _run(story.second)],
        "traffic": {
            "served": tally.served,
            "failed": tally.failed,
            "versions": dict(tally.versions),
            "shares": list(story.shares),
            "median_ms": round(statistics.median(tally.milliseconds), 2),
            "problem": tally.problem,
        },
        "prediction": tally.last_prediction,
        "trace": story.trace.as_json(),
        "evidence": story.proof.verification.as_json(),
        "status": now(story).as_json(),
    }


def now(story: Story) -> Status:
    """The project after the story."""
    return status(story.workspace, load_project(story.workspace.paths))


def _run(run: Run) -> dict[str, Any]:
    return {
        "seconds": round(run.seconds, 2),
        "steps": {outcome.step.id: round(outcome.seconds, 2) for outcome in run.outcomes},
    }
