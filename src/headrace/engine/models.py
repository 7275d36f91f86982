"""Finding the models that a Python function applies."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

# The closure of `mlflow.pyfunc.spark_udf` holds the URI as a pickled string. Pickle ends a
# string with an opcode outside this class, or pads its length before it.
_URI: Final = re.compile(rb"models:/[A-Za-z0-9][A-Za-z0-9 _.+%@/-]{0,500}")


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


def forget(uri: str) -> None:
    """Remove the copy of a model that MLflow keeps for this process.

    ``mlflow.pyfunc.spark_udf`` loads a copy by its URI alone. After an alias has moved, or a
    process id has come round, that is the copy of another model. URIs of the form
    ``models:/m-...`` always name the same model.
    """
    if uri.startswith("models:/m-"):
        return
    digest = hashlib.sha1(uri.encode(), usedforsecurity=False).hexdigest()
    kept = Path(tempfile.gettempdir(), "mlflow", digest, str(os.getpid()))
    if kept.exists():
        shutil.rmtree(kept)
