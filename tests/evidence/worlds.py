"""A project with a model's files, in which decisions are stated without training anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.gate.cases import RULE, findings

from headrace.catalog import Store
from headrace.evidence import Decision, Evidence, Keys, PublicKey, append, digests_of
from headrace.gate.rule import decide
from headrace.settings import Paths

if TYPE_CHECKING:
    from headrace.gate import GateSpec


@dataclass
class World:
    """One workspace."""

    paths: Paths
    store: Store

    @property
    def keys(self) -> Keys:
        """Opened anew, as another process would."""
        return Keys(self.paths)

    @property
    def public(self) -> list[PublicKey]:
        """The newest first."""
        return self.keys.public()

    @property
    def model(self) -> Path:
        """The model's directory."""
        return self.paths.artifacts / "model"

    def decision(
        self, kind: Any = "promoted", version: int = 2, rule: GateSpec = RULE, **changes: Any
    ) -> Decision:
        """What the gate would state of a good candidate; ``changes`` replace its findings."""
        verdict = decide(rule, findings(**changes), model="failure", version=version)
        predicate = {
            "model": {"model_id": "m-1", "run_id": "run"},
            "champion": {"version": 1, "model_id": "m-0", "evidence": None},
            "inputs": [{"kind": "table", "name": "main.gold.features", "version": 4}],
            "holdout": {"digest": verdict.holdout_digest, "rows": verdict.rows},
            "rule": rule.model_dump(mode="json"),
            "verdict": verdict.as_json(),
            "override": {"reason": "the old one is wrong"} if kind == "overridden" else None,
        }
        return Decision(kind, "failure", version, digests_of(self.model), predicate)

    def append(self, decision: Decision | None = None, **options: Any) -> Evidence:
        """State a decision in a transaction of its own."""
        with self.store.begin() as connection:
            return append(connection, self.keys, decision or self.decision(**options))


def write_model(directory: Path) -> None:
    """Files as a model with a kernel has them."""
    for name, text in {
        "MLmodel": "model_id: m-1\n",
        "model.skops": "weights",
        "kernel/kernel.json": json.dumps({"status": "proven"}),
        "kernel/model.onnx": "graph",
    }.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make_world(root: Path, url: str | None = None) -> World:
    """A workspace below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "headrace.yaml").write_text("name: proof\n")
    paths = Paths(root)
    paths.make()
    world = World(paths, Store.open(url or paths.database_url))
    write_model(world.model)
    return world
