"""A scorer without MLflow, for tests of everything around the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headrace.clock import now
from headrace.endpoints.records import Deployment, EndpointRecord
from headrace.endpoints.routing import Router, Split
from headrace.endpoints.spec import EndpointSpec
from headrace.payloads.answer import Answers
from headrace.payloads.errors import ModelNotServableError
from headrace.payloads.signature import Field, Signature
from headrace.serving.live import Live, LiveDeployment, LiveEndpoint
from headrace.serving.pool import ThreadPool

if TYPE_CHECKING:
    from headrace.errors import HeadraceError
    from headrace.payloads.inputs import Inputs
    from headrace.serving.scorer import Scorer


class Adder:
    """score = a + offset; misbehaves where ``a`` is one of its trigger values."""

    signature = Signature((Field("a", "double"), Field("n", "string", required=False)))
    kind: Literal["kernel"] = "kernel"
    loop = None

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = 0
        self.closed = False
        self.pool = ThreadPool(2, 2, 30.0)

    def example(self) -> bytes:
        """One row."""
        return b'{"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}'

    def predict_now(self, inputs: Inputs) -> Answers | None:
        """It is awaited."""
        return None

    async def predict(
        self, inputs: Inputs, params: Mapping[str, Any] | None, deadline: float
    ) -> Answers:
        """An array; waits for ``gate`` in a thread where a is -1, raises where it is -2."""
        values = inputs.columns["a"]
        if -1 in values:
            self.waiting += 1
            await self.pool.run(deadline, lambda: self.gate.wait(30))
        if -2 in values:
            raise ZeroDivisionError("the model divides by zero\nat line 2")
        if -3 in values:
            return Answers.of("no list", inputs.rows)
        if -4 in values:
            return Answers.of(np.array([float("nan")] * len(values)), inputs.rows)
        return Answers.of(values + self.offset + float((params or {}).get("more", 0)), inputs.rows)

    def predict_together(self, several: Sequence[Inputs]) -> list[Answers] | None:
        """Each is asked for by itself."""
        return None

    def stats(self) -> Mapping[str, float]:
        """None."""
        return {}

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def deployment(identifier: str = "dep_1", colour: str = "blue", version: int = 1) -> Deployment:
    """A ready deployment."""
    moment = now()
    return Deployment(
        identifier,
        "scores",
        colour,
        "model",
        version,
        f"m-{version}",
        "ready",
        None,
        moment,
        moment,
    )


def live_with(scorers: dict[str, Scorer], shares: dict[str, int], ready: bool = True) -> Live:
    """An endpoint ``scores`` with these colours loaded."""
    deployments = {
        colour: deployment(f"dep_{colour}", colour, number)
        for number, colour in enumerate(scorers, 1)
    }
    split = Split(1, shares, 7)
    spec = EndpointSpec(name="scores", model="model@production", key=["device"])
    record = EndpointRecord(spec, 1, split, tuple(deployments.values()))
    live = Live()
    live.known = True
    live.ready = ready
    live.endpoints = {
        "scores": LiveEndpoint(
            record,
            Router(split),
            {c: LiveDeployment(deployments[c], scorer) for c, scorer in scorers.items()},
        )
    }
    return live


class FakeLoader:
    """Stands for ``loading.Loader``: loads what it was given, in the plane's loader thread."""

    def __init__(self) -> None:
        self.fails: dict[str, str] = {}
        self.held: set[str] = set()
        self.calls: list[tuple[str, Path | None]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(
        self, deployment: Deployment, tracking_uri: str, known: Path | None
    ) -> tuple[Scorer, Path]:
        """The scorer of the deployment's model."""
        self.calls.append((deployment.model_id, known))
        self.gate.wait(30)
        deadline = time.monotonic() + 30
        while deployment.model_id in self.held and time.monotonic() < deadline:
            time.sleep(0.01)
        if deployment.model_id in self.fails:
            error: HeadraceError = ModelNotServableError(
                deployment.model, self.fails[deployment.model_id]
            )
            raise error
        return Adder(deployment.model_version * 100.0), Path("/models") / deployment.model_id
