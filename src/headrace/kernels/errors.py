"""What goes wrong with kernels, in words."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import HeadraceError


class KernelDamagedError(HeadraceError):
    """A kernel's files are not those that were proven."""

    code = "kernel_damaged"
    status = 500

    def __init__(self, model: Path, why: str) -> None:
        super().__init__(
            "The kernel cannot be used.",
            where=str(model),
            why=why,
            next="train the model again with headrace run --full",
        )
        self.model = model


class NotCompilableError(Exception):
    """Why a model becomes no kernel. Never leaves the package: it becomes a report's reason."""


class NeedsOlderOperatorsError(NotCompilableError):
    """A step needs operators that the newer version of ``ai.onnx.ml`` has no more."""
