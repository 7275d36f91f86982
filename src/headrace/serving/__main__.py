"""The process that the supervisor starts: ``python -m headrace.serving``."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from headrace.errors import HeadraceError
from headrace.serving.errors import InvalidLogLevelError
from headrace.serving.plane import FATAL, Plane
from headrace.settings import Paths, setting

log = logging.getLogger("headrace.serving")


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the supervisor's child."""
    parser = argparse.ArgumentParser(prog="python -m headrace.serving")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--listener", type=int, required=True, help="descriptor")
    parser.add_argument("--control", type=int, required=True, help="descriptor")
    options = parser.parse_args(arguments)
    control = socket.socket(fileno=options.control)
    try:
        _quiet(setting("HEADRACE_LOG"))
        plane = Plane(Paths(options.root), socket.socket(fileno=options.listener), control)
    except (HeadraceError, OSError) as error:
        control.sendall(b"failed " + str(error).replace("\n", "; ").encode() + b"\n")
        return FATAL
    return plane.run()


def _quiet(level: str) -> None:
    """Log to standard error at a level, and keep the libraries from saying more than that."""
    known = logging.getLevelNamesMapping()
    if level.upper() not in known:
        raise InvalidLogLevelError(level, known)
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Whoever asks for more than warnings also gets those of libraries that models bring along,
    # and of every client that speaks no HTTP.
    for name in ("py.warnings", "uvicorn.error"):
        logging.getLogger(name).setLevel(
            logging.WARNING if log.isEnabledFor(logging.INFO) else logging.ERROR
        )
    logging.captureWarnings(True)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    # Not sys.exit: a prediction that never ends must not keep the process from ending.
    os._exit(status)
