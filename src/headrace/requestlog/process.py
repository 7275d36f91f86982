"""The shipper's process. It runs beside the scoring plane, so that neither waits for the other.

The supervisor starts it with one end of a control socket. When the other end is closed, whether
the supervisor is ending or has been killed, the shipper waits for the plane to drain, ships what
it has left, and ends. SIGTERM ends it after a last round, without regard to planes.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from headrace.catalog import Catalog, Store
from headrace.errors import HeadraceError
from headrace.requestlog.shipper import Shipper
from headrace.requestlog.spool import adopt, segments, writers

if TYPE_CHECKING:
    from headrace.settings import Paths

log = logging.getLogger(__name__)

#: From round to round. With a second for the segment and one for the commit, half of the ten
#: seconds are left for a machine that is busy.
SHIP_SECONDS: Final = 3.0
LEAST_SECONDS: Final = 0.5
#: How long a plane may take to drain when the supervisor is gone.
DRAIN_SECONDS: Final = 45.0
#: What is left to ship at the end may take so long; the next start ships the rest.
LAST_SECONDS: Final = 20.0


class ShipperProcess:
    """Ships until it is told to end.

    Args:
        paths: the project.
        control: the socket to the supervisor, if there is one.
    """

    def __init__(self, paths: Paths, control: socket.socket | None = None) -> None:
        self.paths = paths
        self.control = control
        self._stop = threading.Event()
        self._ending = threading.Event()
        self._store: Store | None = None
        self._shipper: Shipper | None = None
        self._problem = ""

    def run(self) -> int:
        """Ship every few seconds until SIGTERM, or until supervisor and plane are gone."""
        signal.signal(signal.SIGTERM, self._told_to_stop)
        if self.control is not None:
            threading.Thread(target=self._await_supervisor, daemon=True).start()
        while not self._ending.is_set():
            begun = time.monotonic()
            self._round()
            # What a round takes on a busy machine is part of the interval.
            self._ending.wait(max(SHIP_SECONDS - (time.monotonic() - begun), LEAST_SECONDS))
        self._await_planes()
        deadline = time.monotonic() + LAST_SECONDS
        while self._round() and time.monotonic() < deadline:
            pass
        if self._store is not None:
            self._store.close()
        return 0

    def _round(self) -> int:
        """Ship what is finished; the number of segments. Problems wait for the next round."""
        if not writers(self.paths.spool):
            return 0
        try:
            shipped = self._opened().ship()
        except (HeadraceError, SQLAlchemyError, OSError) as error:
            self._say(f"the request log waits in the spool: {error}")
            return 0
        self._problem = ""
        return shipped

    def _opened(self) -> Shipper:
        if self._shipper is None:
            url = make_url(self.paths.database_url)
            file = url.database if url.get_backend_name() == "sqlite" else None
            if file and not Path(file).exists():
                # Opening it would make an empty one, in which no endpoint exists.
                raise FileNotFoundError(f"{file} is not there")
            self._store = Store.open(self.paths.database_url)
            catalog = Catalog(self._store, self.paths.warehouse)
            self._shipper = Shipper(self.paths.spool, self._store, catalog)
        return self._shipper

    def _say(self, problem: str) -> None:
        # Once, not in every round.
        if problem != self._problem:
            self._problem = problem
            log.warning("%s", problem)

    def _await_planes(self) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS
        while not self._stop.is_set() and _living(self.paths.spool):
            if time.monotonic() > deadline:
                log.warning("a plane writes to the spool still; its requests wait there")
                return
            self._round()
            self._stop.wait(LEAST_SECONDS)

    def _await_supervisor(self) -> None:
        assert self.control is not None  # noqa: S101  # the thread is started only with one
        try:
            while self.control.recv(64):
                pass
        except OSError as error:
            log.info("lost the supervisor: %s", error)
        self._ending.set()
        # Whatever a round is stuck in, nothing may outlive the supervisor for long.
        time.sleep(DRAIN_SECONDS + LAST_SECONDS)
        os._exit(1)

    def _told_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        self._ending.set()


def _living(spool: Path) -> bool:
    """Whether a process writes to the spool."""
    for directory in writers(spool):
        try:
            lock = adopt(directory)
        except FileNotFoundError:
            continue  # another shipper has just removed it
        if lock is None:
            return True
        os.close(lock)
    return False


def left_in(spool: Path) -> int:
    """Bytes that wait in the spool."""
    total = 0
    for segment in segments(spool):
        try:
            total += segment.path.stat().st_size
        except FileNotFoundError:
            continue  # shipped meanwhile
    return total
