"""Where the scoring plane of a project is: binding its port, and finding it again."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.endpoints.errors import AddressUnavailableError, PlaneRunningError, PortInUseError
from headrace.settings import setting

if TYPE_CHECKING:
    from headrace.settings import Paths

_LOOKS: Final = 10
_LISTEN: Final = "0A"  # TCP_LISTEN in /proc/net/tcp


@dataclass(frozen=True)
class PlaneInfo:
    """A running plane, as ``.headrace/plane.json`` tells it."""

    url: str
    host: str
    port: int
    pid: int
    supervisor: int
    started_at: str


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises:
        PortInUseError: names the process that listens there, if it can be told.
        AddressUnavailableError: the host is none of this machine's, or there is no such port.
    """
    if not 0 <= port <= 65535:
        raise AddressUnavailableError(host, port, "a port is a number from 0 to 65535")
    if not host:
        # The system takes it for every address of the machine.
        raise AddressUnavailableError(host, port, "the host is empty")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AddressUnavailableError(host, port, reason) from error
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = _free_port(host, port, family)
            raise PortInUseError(host, port, _listener(port), free) from error
        raise AddressUnavailableError(host, port, error.strerror or str(error)) from error


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket as a URL: https with a certificate in the settings."""
    scheme = "https" if setting("HEADRACE_TLS_CERT") else "http"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def write_plane(paths: Paths, info: PlaneInfo) -> None:
    """Tell other processes where the plane is, atomically."""
    file = _file(paths)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(info), indent=1))
    fresh.replace(file)


def read_plane(paths: Paths) -> PlaneInfo | None:
    """The plane that serves the project now, or ``None``."""
    if not _is_held(paths):
        return None
    try:
        return PlaneInfo(**json.loads(_file(paths).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # it is not ready yet, is ending just now, or another version's


def hold(paths: Paths) -> int:
    """Take the right to serve the project; the descriptor holds it until it is closed.

    Raises:
        PlaneRunningError: another process has it.
    """
    paths.make()
    descriptor = os.open(_lock(paths), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _taken(descriptor):
        os.close(descriptor)
        running = read_plane(paths)
        raise PlaneRunningError(
            running.url if running else None, running.supervisor if running else None
        )
    _file(paths).unlink(missing_ok=True)
    return descriptor


def release(paths: Paths, descriptor: int) -> None:
    """Give the right back."""
    _file(paths).unlink(missing_ok=True)
    os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Whether the lock could be taken; one that only looks who holds it is waited for."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False


def _is_held(paths: Paths) -> bool:
    if not _lock(paths).exists():
        return False
    descriptor = os.open(_lock(paths), os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _file(paths: Paths) -> Path:
    return paths.state / "plane.json"


def _lock(paths: Paths) -> Path:
    return paths.state / "plane.lock"


def _free_port(host: str, port: int, family: socket.AddressFamily) -> int:
    """A port near this one that is free now."""
    for candidate in range(port + 1, min(port + 50, 65536)):
        with suppress(OSError), socket.create_server((host, candidate), family=family):
            return candidate
    return 0


def _listener(port: int) -> int | None:
    """The process that listens on a port, where /proc tells it to this user."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        if any(_link(entry) in inodes for entry in _descriptors(process)):
            return int(process.name)
    return None


def _descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:
        return []  # it ended meanwhile, or belongs to another user


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""  # closed meanwhile
