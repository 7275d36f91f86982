"""What a request would change: seen before MLflow is asked, and told to the audit log.

The truth about protected aliases is the database's, whose guards refuse whatever comes by any
way. Here is what a person should read instead of MLflow's wording, and what only the edge can
see: files.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sqlalchemy import inspect, text

from headrace.catalog import guards
from headrace.control.errors import ControlError, OutsideArtifactsError, ProtectedError

if TYPE_CHECKING:
    from headrace.catalog import Store

FILES: Final = (
    "The files of a registered version stay as they are: its evidence names them. headrace run "
    "trains and registers another version."
)
_MODEL_ID: Final = re.compile(r"(?<![0-9a-z])m-[0-9a-f]{32}(?![0-9a-z])")
_OF_THE_GATE: Final = ("headrace.verdict", "headrace.evidence", "headrace.override")


def parsed(body: bytes, query: dict[str, str]) -> dict[str, Any]:
    """The arguments of a request, as far as they are a JSON object or a query.

    MLflow reads an object that was encoded twice, as its first clients sent it.
    """
    try:
        found = json.loads(body) if body else {}
        if isinstance(found, str):
            found = json.loads(found)
    except (ValueError, RecursionError):
        found = {}  # MLflow says what it thinks of it
    return {**query, **found} if isinstance(found, dict) else dict(query)


def refusal(path: str, arguments: dict[str, Any]) -> ControlError | None:
    """Why a request is refused by what it says."""
    if path.endswith(("/model-versions/set-tag", "/model-versions/delete-tag")):
        if str(arguments.get("key", "")).startswith("headrace."):
            return ProtectedError(guards.TAGS)
    elif path.endswith("/model-versions/create"):
        tags = arguments.get("tags")
        for tag in tags if isinstance(tags, list) else []:
            if isinstance(tag, dict) and str(tag.get("key", "")).startswith(_OF_THE_GATE):
                return ProtectedError(guards.TAGS)
    elif path.endswith("/experiments/create"):
        location = arguments.get("artifact_location", arguments.get("artifactLocation"))
        if location and not str(location).startswith("mlflow-artifacts:"):
            return OutsideArtifactsError(str(location))
    elif "/traces/" in path and arguments.get("key") == "mlflow.artifactLocation":
        # MLflow reads the files of a trace from wherever this tag says.
        return OutsideArtifactsError(str(arguments.get("value")))
    return None


def file_refusal(store: Store, method: str, path: str) -> ControlError | None:
    """Why a file cannot be written, or a file or directory deleted: a version's is among them.

    Args:
        store: the project's database.
        method: ``PUT`` or ``DELETE``.
        path: of the request, percent-encoded as often as whoever sent it liked.
    """
    where = _artifact(path)
    if where is None:
        return None
    patterns = [f"%{model_id}%" for model_id in _MODEL_ID.findall(where)]
    if method == "DELETE":
        for text_of in (where, quote(where)):  # MLflow keeps places as URIs, or as they were given
            inner = re.sub(r"([%_!])", r"!\1", text_of)
            patterns.append("%" if where == "." else f"%/{inner}/%")
    query = text(
        "SELECT 1 FROM model_versions "
        "WHERE source LIKE :like ESCAPE '!' OR storage_location LIKE :like ESCAPE '!'"
    )
    with store.reading() as connection:
        if not inspect(connection).has_table("model_versions"):
            return None
        for pattern in patterns:
            if connection.execute(query, {"like": pattern}).first() is not None:
                return ProtectedError(FILES)
    return None


def _artifact(path: str) -> str | None:
    """The path below the artifacts that MLflow makes of a request's; ``None`` if it refuses it."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.uri import validate_path_is_safe

    try:
        found: str = validate_path_is_safe(path.partition("/mlflow-artifacts/artifacts/")[2])
    except (MlflowException, ValueError):
        return None
    return posixpath.normpath(found)


def object_of(arguments: dict[str, Any]) -> str:
    """What a request is about, as the audit log names it."""
    name = str(arguments.get("name", "unknown"))[:255]
    if arguments.get("alias"):
        return f"{name}@{str(arguments['alias'])[:255]}"
    return f"{name}/{str(arguments['version'])[:20]}" if arguments.get("version") else name
