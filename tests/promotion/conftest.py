from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.modelling import make_models as make_models
from tests.modelling import models as models

from headrace.gate.findings import Difference
from headrace.gate.spec import GateSpec
from headrace.ids import new_id
from headrace.promotion import Verdict

if TYPE_CHECKING:
    from headrace.workspace import Workspace

GATE = GateSpec(metric="average_precision", resamples=300)


def add_versions(workspace: Workspace, count: int, name: str = "failure") -> None:
    """Versions of a model that are files and rows: nobody loads them."""
    client = workspace.mlflow()
    client.create_registered_model(name)
    experiment = client.create_experiment(name)
    for number in range(1, count + 1):
        logged = client.create_logged_model(experiment)
        directory = Path(urlsplit(logged.artifact_location).path)
        directory.mkdir(parents=True)
        (directory / "MLmodel").write_text(f"number: {number}\n")
        client.create_model_version(name, logged.artifact_location, model_id=logged.model_id)


def verdict(
    version: int,
    over: int | None,
    promoted: bool = True,
    gate: GateSpec = GATE,
    model: str = "failure",
) -> Verdict:
    """What a gate might have found."""
    difference = None
    if over is not None:
        difference = Difference(
            champion=0.5,
            gain=0.2,
            low=0.1,
            high=0.3,
            confidence=0.95,
            resamples=300,
            units=9,
            support=9,
        )
    return Verdict(
        id=new_id("verdict"),
        model=model,
        version=version,
        champion=over,
        task="binary",
        promoted=promoted,
        reasons=() if promoted else ("recall 0.2 is below 0.5",),
        metric="average_precision",
        candidate=0.7,
        difference=difference,
        bounds=(),
        slices=(),
        rows=100,
        holdout_digest="h",
        gate_digest=gate.digest,
        judged_at=datetime.now(UTC),
    )
