"""Environments: built by uv from a lock, cached by the hash of the lock."""

from __future__ import annotations

from headrace.environments.environment import Environment as Environment

__all__ = ["Environment"]
