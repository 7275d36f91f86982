"""References to model versions, as a project writes them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

_PINNED: Final = re.compile(r"[^@/\s:]+(@[^@/\s:]+|/[1-9]\d*)")


def _names_a_version(text: str) -> str:
    # A bare name would mean the newest version, whatever the gate said of it.
    if not _PINNED.fullmatch(text):
        raise ValueError(f'"{text}" is neither name@alias nor name/version')
    return text


PinnedModel = Annotated[str, AfterValidator(_names_a_version)]
"""``name@alias`` or ``name/version``."""
