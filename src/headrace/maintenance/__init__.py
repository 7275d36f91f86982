"""Compaction, vacuum and checkpoints that keep what pins and retention need."""

from __future__ import annotations
