"""The control plane: MLflow's server and its pages in a process of their own, guarded.

``headrace up`` starts it beside the scoring plane; ``MLFLOW_TRACKING_URI`` of any MLflow client
can be its address, and ``MLFLOW_TRACKING_TOKEN`` the project's token. Routes that are not on the
list of ``routes`` do not exist, and aliases move only as they do without it.
"""

from __future__ import annotations

from headrace.control.address import ControlInfo as ControlInfo
from headrace.control.address import read_control as read_control

__all__ = ["ControlInfo", "read_control"]
