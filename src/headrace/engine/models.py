"""Finding the models that a Python function applies."""

from __future__ import annotations

import re
from typing import Final

# The closure of `mlflow.pyfunc.spark_udf` holds the URI as a pickled string. Pickle ends a
# string with an opcode outside this class, or pads its length before it.
_URI: Final = re.compile(rb"models:/[A-Za-z0-9][A-Za-z0-9 _.+%@/-]{0,500}")


def uris(command: bytes) -> list[str]:
    """Model URIs inside a pickled function, each once, in the order found."""
    return list(dict.fromkeys(match.decode().rstrip("/ ") for match in _URI.findall(command)))
