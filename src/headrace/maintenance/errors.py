"""What can go wrong before a table is maintained."""

from __future__ import annotations

from headrace.errors import HeadraceError


class NothingToMaintainError(HeadraceError):
    """A view has no files."""

    code = "nothing_to_maintain"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name} is a view, and has no files.",
            next="name the tables that it reads, or none for all: headrace maintain",
        )
