"""The process that the supervisor starts: ``python -m headrace.control``."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from headrace import logs
from headrace.control.server import ControlPlane
from headrace.endpoints.address import bind
from headrace.errors import HeadraceError
from headrace.settings import Paths, port_setting, setting

#: Exit status for a cause that a restart cannot mend.
FATAL = 2
#: Far below the scoring plane's: a prediction goes before a page.
NICENESS = 10


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the supervisor's child; alone, it listens on the port of the settings."""
    parser = argparse.ArgumentParser(prog="python -m headrace.control")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--listener", type=int, help="descriptor of a listening socket")
    parser.add_argument("--control", type=int, help="descriptor; the plane ends when it closes")
    options = parser.parse_args(arguments)
    os.nice(NICENESS)
    try:
        logs.configure()
        listener = (
            bind(setting("HEADRACE_HOST"), port_setting("HEADRACE_CONTROL_PORT"))
            if options.listener is None
            else socket.socket(fileno=options.listener)
        )
        control = None if options.control is None else socket.socket(fileno=options.control)
        return ControlPlane(Paths(options.root.resolve()), listener, control).run()
    except HeadraceError as error:
        sys.stderr.write(f"{error}\n")
        return FATAL


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.exit(status)
