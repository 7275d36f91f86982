"""Models made of models."""

from __future__ import annotations
