"""Whether a model must be trained again, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace import lakehouse
from headrace.environments import project_lock
from headrace.freshness import Freshness
from headrace.tracking import environment, store
from headrace.tracking.code import read_source

if TYPE_CHECKING:
    from headrace.tracking.spec import TrainingSpec
    from headrace.workspace import Workspace


def training_freshness(workspace: Workspace, spec: TrainingSpec) -> Freshness:
    """Compare the spec, the source, the table and the environment with the last training.

    Reads no rows and imports nothing of the project.

    Raises:
        TrainingSourceError: the training file is missing or no Python.
    """
    record = store.last(workspace.store, spec.name)
    if record is None:
        return Freshness(True, "never trained")
    entry = workspace.catalog.find(spec.table)
    if not (entry and entry.location and lakehouse.exists(entry.location)):
        return Freshness(True, f"table {spec.table} is not there yet")
    name, newest = str(entry.name), lakehouse.last_change(entry.location)
    if name == record.table_name and newest.version > record.table_version:
        return Freshness(
            True, f"table {name} moved from version {record.table_version} to {newest.version}"
        )
    if newest.timestamp > record.started_at:
        return Freshness(True, f"table {name} was dropped and made again")
    if spec.digest != record.spec_digest:
        old, new = json.loads(record.spec), json.loads(spec.canonical())
        changed = sorted(key for key in new if new[key] != old.get(key))
        return Freshness(True, f"settings changed: {', '.join(changed) or 'fields were removed'}")
    if read_source(workspace.paths.root, spec).digest != record.code_digest:
        return Freshness(True, f"code of {spec.file} or of a module that it imports changed")
    if environment.installed_digest(workspace.paths.root) != record.environment_digest:
        locked = project_lock(workspace.paths.root) is not None
        what = "the lock, or what is installed of it," if locked else "installed packages"
        return Freshness(True, f"{what} changed")
    return Freshness(False, f"trained on {name} version {record.table_version}")
