"""The process that the supervisor starts: ``python -m headrace.serving``."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from headrace import logs
from headrace.errors import HeadraceError
from headrace.serving.plane import FATAL, Plane
from headrace.settings import Paths


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the supervisor's child."""
    parser = argparse.ArgumentParser(prog="python -m headrace.serving")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--listener", type=int, required=True, help="descriptor")
    parser.add_argument("--control", type=int, required=True, help="descriptor")
    options = parser.parse_args(arguments)
    control = socket.socket(fileno=options.control)
    try:
        logs.configure()
        plane = Plane(Paths(options.root), socket.socket(fileno=options.listener), control)
    except (HeadraceError, OSError) as error:
        control.sendall(b"failed " + str(error).replace("\n", "; ").encode() + b"\n")
        return FATAL
    return plane.run()


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    # Not sys.exit: a prediction that never ends must not keep the process from ending.
    os._exit(status)
