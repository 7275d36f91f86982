"""All that a table, a path or a model came from, or that came from it, over any distance.

Set-wise: each step of the way is one query for all that it starts from, and what it finds is
grouped by the database, so that a table of a hundred thousand appends counts as one.
"""

from __future__ import annotations

from headrace.catalog.reach.map import Link as Link
from headrace.catalog.reach.map import Map as Map
from headrace.catalog.reach.map import Reached as Reached
from headrace.catalog.reach.map import Thing as Thing
from headrace.catalog.reach.start import downstream as downstream
from headrace.catalog.reach.start import upstream as upstream

__all__ = ["Link", "Map", "Reached", "Thing", "downstream", "upstream"]
