"""Which paths and patterns can hold the same files."""

from __future__ import annotations


def meet(one: str, other: str) -> bool:
    """Whether two absolute paths or patterns can stand for some of the same files.

    >>> meet("/raw", "/raw/day=1/a.csv"), meet("/raw/*.csv", "/raw"), meet("/raw", "/rawer")
    (True, True, False)
    """
    shorter, longer = sorted((_stem(one), _stem(other)), key=len)
    return longer.startswith(shorter)


def _stem(path: str) -> str:
    """The path up to its first wildcard; a whole one ends where a directory would."""
    for number, character in enumerate(path):
        if character in "*?[{":
            return path[:number]
    return path.rstrip("/") + "/"
