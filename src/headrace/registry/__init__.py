"""Model versions: what they were made of, and which one an alias means.

::

    version = register(workspace, spec, trained)
    version.tags["headrace.table_version"]
    resolve(workspace, "device_failure@production").model_uri    # models:/m-...
"""

from __future__ import annotations

from headrace.registry.errors import AliasNotFoundError as AliasNotFoundError
from headrace.registry.errors import InvalidReferenceError as InvalidReferenceError
from headrace.registry.errors import ModelIdUnknownError as ModelIdUnknownError
from headrace.registry.errors import ModelNotFoundError as ModelNotFoundError
from headrace.registry.errors import ModelVersionNotFoundError as ModelVersionNotFoundError
from headrace.registry.errors import RegistryError as RegistryError
from headrace.registry.register import register as register
from headrace.registry.versions import PRODUCTION as PRODUCTION
from headrace.registry.versions import ModelVersion as ModelVersion
from headrace.registry.versions import champion as champion
from headrace.registry.versions import resolve as resolve
from headrace.registry.versions import version_of_run as version_of_run
from headrace.registry.versions import versions as versions

__all__ = [
    "PRODUCTION",
    "AliasNotFoundError",
    "InvalidReferenceError",
    "ModelIdUnknownError",
    "ModelNotFoundError",
    "ModelVersion",
    "ModelVersionNotFoundError",
    "RegistryError",
    "champion",
    "register",
    "resolve",
    "version_of_run",
    "versions",
]
