"""Identifiers: unguessable, and sorted by the time they were made."""

from __future__ import annotations

import re
import secrets
import time

_PATTERN = re.compile(r"[a-z]+_[0-9a-f]{12}[0-9a-f]{16}")


def new_id(prefix: str) -> str:
    """A new identifier such as ``pred_019aa3c0d5f84c1e9b2a7d60f3e1``.

    The first 12 hexadecimal digits are milliseconds since 1970, the other 16 are random, so
    that identifiers sort by time and none can be guessed from another.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


def new_ids(prefix: str, count: int) -> list[str]:
    """So many identifiers as ``new_id`` makes them, all of the same millisecond."""
    head = f"{prefix}_{time.time_ns() // 1_000_000:012x}"
    digits = secrets.token_hex(8 * count)
    return [head + digits[at : at + 16] for at in range(0, 16 * count, 16)]


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` has the shape of an identifier made with ``prefix``."""
    return text.startswith(prefix + "_") and _PATTERN.fullmatch(text) is not None
