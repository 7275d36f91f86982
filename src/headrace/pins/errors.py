"""What can go wrong with pins."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.errors import HeadraceError, did_you_mean


class NoPinsError(HeadraceError):
    """A version without pins cannot let any go."""

    code = "no_pins"
    status = 404

    def __init__(self, model: str, version: int, known: Iterable[str]) -> None:
        self.model, self.version = model, version
        name = f"{model}/{version}"
        super().__init__(
            f"{name} has no pins.",
            why=did_you_mean(name, dict.fromkeys(known)),
            next="headrace pins",
        )
