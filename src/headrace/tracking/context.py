"""Tags on every MLflow run that is started inside a project."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class SessionContext:
    """An MLflow run context provider: says which project and which Spark session a run is of.

    MLflow asks it at the start of every run of any program in this environment, so it looks
    only at what this process has already opened: no import, no file, no network.
    """

    def in_context(self) -> bool:
        """Whether this process has opened a project."""
        return bool(self.tags())

    def tags(self) -> dict[str, str]:
        """``headrace.project`` and, once Spark was started, ``headrace.session_id``."""
        module = sys.modules.get("headrace.workspace")
        opened = dict(getattr(module, "_open", {}))
        mine = [workspace for (pid, _), workspace in opened.items() if pid == os.getpid()]
        if len(mine) != 1:
            # Of several projects the run's tracking URI tells which; a guess would be wrong.
            uri = os.environ.get("MLFLOW_TRACKING_URI")
            mine = [workspace for workspace in mine if workspace.tracking_uri == uri]
        if not mine:
            return {}
        tags = {"headrace.project": Path(mine[0].paths.root).name}
        session = getattr(mine[0].__dict__.get("engine"), "session_id", None)
        if isinstance(session, str):
            tags["headrace.session_id"] = session
        return tags
