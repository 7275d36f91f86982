"""Environments: built by uv from a lock, cached by the hash of the lock.

lock = lock_of(model)
differences(lock)             # [] where this interpreter can load the model
ensure(lock).python           # an interpreter that can

write_lock(root, resolve(root))   # a project's requirements.lock
check_lock(root).drift            # [] where this environment is that lock
"""

from __future__ import annotations

from headrace.environments.build import built as built
from headrace.environments.build import ensure as ensure
from headrace.environments.compare import differences as differences
from headrace.environments.environment import Environment as Environment
from headrace.environments.errors import EnvironmentBuildError as EnvironmentBuildError
from headrace.environments.errors import LockNotFoundError as LockNotFoundError
from headrace.environments.errors import LockResolutionError as LockResolutionError
from headrace.environments.errors import NotInstalledError as NotInstalledError
from headrace.environments.errors import ProjectLockNotFoundError as ProjectLockNotFoundError
from headrace.environments.errors import RequirementsNotFoundError as RequirementsNotFoundError
from headrace.environments.lock import LOCK_FILE as LOCK_FILE
from headrace.environments.lock import WORKER_NEEDS as WORKER_NEEDS
from headrace.environments.lock import Lock as Lock
from headrace.environments.lock import closure as closure
from headrace.environments.lock import lock_of as lock_of
from headrace.environments.project_lock import NO_LOCK as NO_LOCK
from headrace.environments.project_lock import PROJECT_LOCK as PROJECT_LOCK
from headrace.environments.project_lock import LockCheck as LockCheck
from headrace.environments.project_lock import check_lock as check_lock
from headrace.environments.project_lock import locked_versions as locked_versions
from headrace.environments.project_lock import project_lock as project_lock
from headrace.environments.project_lock import write_lock as write_lock
from headrace.environments.requirements import read_requirements as read_requirements
from headrace.environments.resolve import from_environment as from_environment
from headrace.environments.resolve import resolve as resolve

__all__ = [
    "LOCK_FILE",
    "NO_LOCK",
    "PROJECT_LOCK",
    "WORKER_NEEDS",
    "Environment",
    "EnvironmentBuildError",
    "Lock",
    "LockCheck",
    "LockNotFoundError",
    "LockResolutionError",
    "NotInstalledError",
    "ProjectLockNotFoundError",
    "RequirementsNotFoundError",
    "built",
    "check_lock",
    "closure",
    "differences",
    "ensure",
    "from_environment",
    "lock_of",
    "locked_versions",
    "project_lock",
    "read_requirements",
    "resolve",
    "write_lock",
]
