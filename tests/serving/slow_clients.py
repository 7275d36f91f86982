"""Opens connections that never finish a request, and says how many the server has closed.

``python slow_clients.py HOST PORT COUNT``: prints ``open`` once all are connected, then, when the
server has closed every one of them, ``closed``.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys


def main(host: str, port: int, count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = selectors.DefaultSelector()
    for _ in range(count):
        connection = socket.create_connection((host, port), timeout=60)
        connection.sendall(b"POST /endpoints/scores/invocations HTTP/1.1\r\nhost: slow\r\n")
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
    print("open", flush=True)
    while selector.get_map():
        for key, _ in selector.select():
            waiting = key.fileobj
            assert isinstance(waiting, socket.socket)
            try:
                ended = not waiting.recv(4096)
            except ConnectionResetError:
                ended = True
            if ended:
                selector.unregister(waiting)
                waiting.close()
    print("closed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
