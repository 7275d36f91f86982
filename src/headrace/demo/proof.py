"""The demo's last chapter: the evidence of the model in production, in files to hand over."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.endpoints.records import model_directory
from headrace.evidence import Keys, verify
from headrace.evidence.keys import read_public
from headrace.promotion.proof import prove
from headrace.registry import resolve

if TYPE_CHECKING:
    from headrace.evidence import Verification
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Proof:
    """Evidence as another machine would get it.

    Attributes:
        envelope: file of the signed statement.
        key: file of the public key.
        model: directory of the model's files, below the project; ``None`` if on another machine.
        verification: what was found from these three alone.
    """

    envelope: Path
    key: Path
    model: Path | None
    verification: Verification


def hand_over(workspace: Workspace, reference: str) -> Proof:
    """Write the evidence and the public key below ``evidence/``, and verify what was written.

    Raises:
        NoEvidenceError: there is no statement on the version.
    """
    version = resolve(workspace, reference)
    directory = workspace.paths.root / "evidence"
    directory.mkdir(exist_ok=True)
    envelope = directory / f"{version.name}-{version.version}.json"
    key = directory / "public-key.pem"
    evidence, _ = prove(workspace, reference)
    envelope.write_bytes(evidence.envelope)
    key.write_text("".join(each.pem for each in Keys(workspace.paths).public()))
    model = model_directory(workspace.store, version.model_id)
    found = verify(envelope.read_bytes(), read_public(key), model=model)
    shown = None if model is None else Path(os.path.relpath(model, workspace.paths.root))
    return Proof(envelope, key, shown, found)
