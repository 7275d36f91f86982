"""A test hook: end the process, as ``kill -9`` would, at a named point.

``HEADRACE_CRASH_AT=name`` ends the process at the first ``crash_point("name")`` it reaches.
Tests use it to prove that a rerun finishes what a killed process began.
"""

from __future__ import annotations

import os


def crash_point(name: str) -> None:
    """End the process at once with status 137 if the environment asks for it here."""
    if os.environ.get("HEADRACE_CRASH_AT") == name:
        os._exit(137)
