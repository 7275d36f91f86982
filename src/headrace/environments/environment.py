"""An interpreter with the libraries of a lock."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """Where a model can be loaded.

    Attributes:
        python: its interpreter.
        digest: of the lock it was built from.
        current: it is the interpreter of this process.
    """

    python: Path
    digest: str
    current: bool = False

    @classmethod
    def running(cls, digest: str = "") -> Environment:
        """The interpreter of this process, which the lock of that digest does not differ from."""
        return cls(Path(sys.executable), digest, current=True)
