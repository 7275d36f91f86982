"""The same rows give the same answers: in training, in batch, and at the endpoint."""

from __future__ import annotations
