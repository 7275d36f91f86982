"""PySpark under ``python -c``."""

from __future__ import annotations

import sys


def prepare() -> None:
    """Let PySpark's Connect client load in a process whose code came from ``python -c``.

    PySpark takes a main module without a file and without a prompt for its own doctests, looks
    for a Spark distribution to run them, and ends the process when it finds none. The file is
    lent for the first import only: ``multiprocessing`` would try to run it.
    """
    main = sys.modules["__main__"]
    if main.__spec__ is not None or hasattr(main, "__file__") or hasattr(sys, "ps1"):
        return
    main.__file__ = "<string>"
    try:
        from pyspark.sql.connect import utils
    finally:
        del main.__file__
    utils.check_dependencies = lambda: None
