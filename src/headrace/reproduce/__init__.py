"""A registered version built again from what it recorded, and compared."""

from __future__ import annotations
