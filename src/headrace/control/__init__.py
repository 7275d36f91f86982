"""The control plane: MLflow's server behind a guard, in a process of its own."""

from __future__ import annotations
