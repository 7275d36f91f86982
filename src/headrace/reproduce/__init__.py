"""A registered version made again from what it recorded, and compared.

::

    found = reproduce(workspace, "device_failure@production")
    found.verdict        # same, close, different or impossible
    found.findings       # rows, code, environment, predictions, metrics, files
"""

from __future__ import annotations

from headrace.reproduce.errors import NotReproducibleError as NotReproducibleError
from headrace.reproduce.reproduce import KeepDirectoryError as KeepDirectoryError
from headrace.reproduce.reproduce import reproduce as reproduce
from headrace.reproduce.reproduction import Finding as Finding
from headrace.reproduce.reproduction import Reproduction as Reproduction

__all__ = [
    "Finding",
    "KeepDirectoryError",
    "NotReproducibleError",
    "Reproduction",
    "reproduce",
]
