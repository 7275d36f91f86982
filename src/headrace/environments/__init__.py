"""Environments: built by uv from a lock, cached by the hash of the lock.

lock = lock_of(model)
differences(lock)             # [] where this interpreter can load the model
ensure(lock).python           # an interpreter that can
"""

from __future__ import annotations

from headrace.environments.build import ensure as ensure
from headrace.environments.compare import differences as differences
from headrace.environments.environment import Environment as Environment
from headrace.environments.errors import EnvironmentBuildError as EnvironmentBuildError
from headrace.environments.errors import LockNotFoundError as LockNotFoundError
from headrace.environments.lock import LOCK_FILE as LOCK_FILE
from headrace.environments.lock import WORKER_NEEDS as WORKER_NEEDS
from headrace.environments.lock import Lock as Lock
from headrace.environments.lock import closure as closure
from headrace.environments.lock import lock_of as lock_of

__all__ = [
    "LOCK_FILE",
    "WORKER_NEEDS",
    "Environment",
    "EnvironmentBuildError",
    "Lock",
    "LockNotFoundError",
    "closure",
    "differences",
    "ensure",
    "lock_of",
]
