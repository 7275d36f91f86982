"""Errors a person can act on: what happened, where, why, and the next command to type."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import Final

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS: Final = (
    "no space left on device", "disk quota exceeded", "file too large", "disk is full",
)  # fmt: skip


class HeadraceError(Exception):
    """Base of every error caused by input, configuration or the outside world.

    Subclasses take the facts as typed arguments, keep them as attributes and word the message
    themselves. The command line prints the message without a stack trace and exits with
    ``exit_code``; the HTTP edges answer ``status`` with ``as_json()``.

    Args:
        what: what happened, one sentence.
        where: the file, table, column or address it concerns.
        why: the cause, as far as it is known.
        next: the command or edit that gets the user further.
    """

    code: str = "error"
    status: int = 400
    exit_code: int = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        next: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.next = next

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("where", self.where), ("why", self.why), ("next", self.next)):
            if text:
                lines.append(f"  {label + ':':<7}{text}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, str]:
        """The one JSON shape of an error: ``error_code`` and ``message``, then what is known."""
        known = {"where": self.where, "why": self.why, "next": self.next}
        return {
            "error_code": self.code,
            "message": self.what,
            **{label: text for label, text in known.items() if text},
        }


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A suggestion for a name that the user typed, or ``None`` when nothing is close.

    >>> did_you_mean("gold.featurs", ["gold.features", "raw.events"])
    'did you mean "gold.features"?'
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that no space is left: by its number, or in a library's words."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    text = str(error).lower()
    return any(words in text for words in _FULL_WORDS)
