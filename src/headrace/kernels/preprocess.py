"""Scalers, imputers, encoders, and what strings them together."""

from __future__ import annotations
