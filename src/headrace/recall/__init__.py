"""From a bad file or table version forward to all that it reached."""

from __future__ import annotations
