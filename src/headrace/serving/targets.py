"""Paths that score: which endpoint, in which protocol."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """What a path to score asks for."""

    path: str
    endpoint: str
    protocol: str
    version: int | None = None


def target_of(path: str) -> Target | None:
    """The endpoint and the protocol of a path; ``None`` for paths that do not score."""
    parts = path.split("/")
    match parts:
        case ["", "endpoints", name, "invocations" | "score" as protocol]:
            return Target(path, name, protocol)
        case ["", "v2", "models", name, "infer"]:
            return Target(path, name, "infer")
        case ["", "v2", "models", name, "versions", version, "infer"]:
            number = int(version) if version.isdecimal() and len(version) < 10 else -1
            return Target(path, name, "infer", number)
    return None
