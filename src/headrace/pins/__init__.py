"""Table versions that registered models need, kept from maintenance and watched."""

from __future__ import annotations
