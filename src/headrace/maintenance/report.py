"""What maintenance did to a table, and what its pins cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class PinCost:
    """What one model version keeps of a table that would go otherwise.

    Attributes:
        model, version: the model version.
        table_version: the Delta version that it is pinned to.
        bytes: of files that only pins keep, and this pin is one of them.
        exclusive: bytes that would be freed if this pin alone were released.
    """

    model: str
    version: int
    table_version: int
    bytes: int
    exclusive: int

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


@dataclass(frozen=True)
class TableReport:
    """What became of one table.

    Attributes:
        table: qualified name.
        state: ``done``, ``planned`` (a dry run), ``skipped``, ``busy`` (another process maintains
            it) or ``failed``.
        reason: why it is not done, or what was left out.
        version: the newest version afterwards.
        files_before, bytes_before: data files in the table's directory.
        files_after, bytes_after: the same afterwards.
        freed: bytes of the data and log files that were removed.
        compacted: small files that were merged.
        log_files: files of the log that were removed.
        pinned_bytes: of the files that only pins keep, each counted once.
        pins: what each pin costs.
    """

    table: str
    state: Literal["done", "planned", "skipped", "busy", "failed"]
    reason: str = ""
    version: int | None = None
    files_before: int = 0
    bytes_before: int = 0
    files_after: int = 0
    bytes_after: int = 0
    freed: int = 0
    compacted: int = 0
    log_files: int = 0
    pinned_bytes: int = 0
    pins: tuple[PinCost, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)
