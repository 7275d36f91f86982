"""Which deployment answers a request: a pure function of the traffic split and the key."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headrace.endpoints.errors import InvalidSharesError

COLOURS: Final = ("blue", "green")


def other(colour: str) -> str:
    """The colour beside this one."""
    return "green" if colour == "blue" else "blue"


def check_shares(shares: Mapping[str, int]) -> dict[str, int]:
    """The split with both colours present.

    Raises:
        InvalidSharesError: another colour, no whole percent, or a sum other than 100.
    """
    full = {colour: shares.get(colour, 0) for colour in COLOURS}
    whole = all(type(share) is int and 0 <= share <= 100 for share in full.values())
    if set(shares) - set(COLOURS) or not whole or sum(full.values()) != 100:
        raise InvalidSharesError(dict(shares))
    return full


@dataclass(frozen=True)
class Split:
    """A traffic split.

    Attributes:
        revision: rises with each shift of the endpoint.
        shares: percent of each colour.
        seed: keeps a key in its place for as long as the seed stays.
    """

    revision: int
    shares: Mapping[str, int]
    seed: int

    def colour_at(self, position: float) -> str:
        """The colour that holds a position in [0, 100).

        Blue holds the low end and green the rest, so that a growing share of either colour
        only ever adds positions to it.
        """
        return "blue" if position < self.shares.get("blue", 0) else "green"

    def colour_of(self, key: str) -> str:
        """The colour of a request key: the same for each request until a shift moves it."""
        return self.colour_at(position(key, self.seed))


def position(key: str, seed: int) -> float:
    """Where a key stands in [0, 100): BLAKE2b of the key, keyed with the seed."""
    salt = seed.to_bytes(8, "big", signed=True)
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salt)
    return int.from_bytes(digest.digest(), "big") / 2**64 * 100


@dataclass
class Router:
    """Routes the requests of one endpoint; those without a key by a generator of its own."""

    split: Split
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Not for secrets: the seed makes a traffic split repeatable.
        self._random = random.Random(f"{self.split.seed}/{self.split.revision}")  # noqa: S311

    def route(self, key: str | None) -> str:
        """The colour that answers a request with this key, or without one."""
        if key is None:
            return self.split.colour_at(self._random.random() * 100)
        return self.split.colour_of(key)
