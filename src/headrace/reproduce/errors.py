"""Why a version cannot be made again."""

from __future__ import annotations

from headrace.errors import HeadraceError


class NotReproducibleError(HeadraceError):
    """Something that the version was made of is gone, or cannot be used here.

    Attributes:
        model: the version, ``name/3``.
        missing: what: ``record``, ``code``, ``rows``, ``environment``, ``model`` or ``training``.
    """

    code = "not_reproducible"
    exit_code = 2

    def __init__(
        self, model: str, missing: str, what: str, *, where: str | None, why: str, next: str
    ) -> None:
        self.model, self.missing = model, missing
        super().__init__(what, where=where, why=why, next=next)
