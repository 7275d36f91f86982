"""Signed statements about decisions: in-toto in DSSE envelopes, chained, verifiable offline."""

from __future__ import annotations
