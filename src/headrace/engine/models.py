"""Finding the models that a Python function applies."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

# The closure of `mlflow.pyfunc.spark_udf` holds the URI as a pickled string. Pickle ends a
# string with an opcode outside this class, or pads its length before it.
_URI: Final = re.compile(rb"models:/[A-Za-z0-9][A-Za-z0-9 _.+%@/-]{0,500}")
_ONE_AT_A_TIME: Final = threading.Lock()


def uris(command: bytes) -> list[str]:
    """Model URIs inside a pickled function, each once, in the order found."""
    return list(dict.fromkeys(match.decode().rstrip("/ ") for match in _URI.findall(command)))


def named(uri: str) -> str:
    """The URI to record: an alias, which can move, as the version it stands for now.

    Asks MLflow where the process has imported it, as one that made the function has.
    """
    name, alias_mark, alias = uri.removeprefix("models:/").partition("@")
    mlflow = sys.modules.get("mlflow")
    if not alias_mark or mlflow is None:
        return uri
    try:
        found = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    except mlflow.exceptions.MlflowException:
        # No such alias: loading the model will say so, in MLflow's words.
        return uri
    return f"models:/{name}/{found.version}"


def keep(uri: str) -> None:
    """Have the model that the URI stands for now where ``mlflow.pyfunc.spark_udf`` looks for it.

    That loads a copy named by the URI and the process alone, and makes one where there is none:
    the parts of a job, which run in this process, would do so all at once and fail. After an
    alias has moved, or a process id has come round, the copy would be another model's.

    A model that is not on this machine's disk is left to MLflow, without such a copy.
    """
    digest = hashlib.sha1(uri.encode(), usedforsecurity=False).hexdigest()
    place = Path(tempfile.gettempdir(), "mlflow", digest, str(os.getpid()))
    with _ONE_AT_A_TIME:
        files = _files(uri)
        if files is not None:
            _link(place, _copy(files, place))
        elif not uri.startswith("models:/m-"):  # which always is the same model
            _remove(place)


def _files(uri: str) -> Path | None:
    """The directory of the model; ``None`` where that is not for this process to know."""
    mlflow = sys.modules.get("mlflow")
    # Without a URI it would make a database where the process stands.
    if mlflow is None or not getattr(mlflow, "is_tracking_uri_set", bool)():
        return None
    name, _, version = named(uri).removeprefix("models:/").rpartition("/")
    try:
        client = mlflow.MlflowClient()
        if name:
            uri = client.get_model_version_download_uri(name, version)
        if uri.startswith("models:/m-"):
            uri = client.get_logged_model(uri.removeprefix("models:/")).artifact_location
    except mlflow.exceptions.MlflowException:
        # No such model: loading it will say so, in MLflow's words.
        return None
    location = urlsplit(uri)
    path = Path(url2pathname(location.path))
    local = location.scheme in ("", "file") and (path / "MLmodel").is_file()
    return path if local else None


def _copy(files: Path, place: Path) -> Path:
    """A copy beside the place, for as long as the process lives: MLflow may write into it."""
    digest = hashlib.sha256(str(files).encode()).hexdigest()[:16]
    made = place.with_name(f"{place.name}-{digest}")
    if not made.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=place.parent))
        try:
            shutil.copytree(files, partial, dirs_exist_ok=True)
            partial.rename(made)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        atexit.register(_forget, place, made)
    return made


def _link(place: Path, target: Path) -> None:
    """At once, for those who load the model meanwhile."""
    if place.is_symlink() and place.readlink() == target:
        return
    if not place.is_symlink():
        _remove(place)
    link = target.with_name(f"{target.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    link.replace(place)


def _forget(place: Path, made: Path) -> None:
    if place.name == str(os.getpid()):  # not in a fork, whose parent still reads it
        _remove(place)
        shutil.rmtree(made, ignore_errors=True)


def _remove(place: Path) -> None:
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
