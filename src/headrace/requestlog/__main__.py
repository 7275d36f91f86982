"""The process that the supervisor starts: ``python -m headrace.requestlog``."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from headrace import logs
from headrace.errors import HeadraceError
from headrace.requestlog.process import ShipperProcess
from headrace.settings import Paths

#: Below the plane's: an answer goes before its log. Not far below: the log has ten seconds.
NICENESS = 5


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the supervisor's child."""
    parser = argparse.ArgumentParser(prog="python -m headrace.requestlog")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--control", type=int, required=True, help="descriptor")
    options = parser.parse_args(arguments)
    os.nice(NICENESS)
    control = socket.socket(fileno=options.control)
    try:
        logs.configure()
    except HeadraceError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return ShipperProcess(Paths(options.root), control).run()


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # Not sys.exit: a write that hangs in a thread must not keep the process from ending.
    os._exit(status)
