"""Binding, and finding a plane again."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest
from tests.planes import make_root

from headrace.endpoints.address import (
    PlaneInfo,
    bind,
    hold,
    read_plane,
    release,
    url_of,
    write_plane,
)
from headrace.endpoints.errors import AddressUnavailableError, PlaneRunningError, PortInUseError

INFO = PlaneInfo("http://127.0.0.1:1", "127.0.0.1", 1, 2, 3, "2026-01-31T12:00:00Z")


def test_a_free_port_is_taken() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(PortInUseError) as caught:
            bind("127.0.0.1", port)
    assert caught.value.pid == os.getpid()
    assert f"process {os.getpid()} listens on it" in str(caught.value)
    with bind("127.0.0.1", port):
        pass  # free again at once


def test_a_port_in_use_is_named_with_version_6_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with bind("::1", 0) as listener, pytest.raises(PortInUseError):
        bind("::1", listener.getsockname()[1])


def test_the_next_command_names_a_port_that_is_free() -> None:
    with bind("127.0.0.1", 0) as listener, pytest.raises(PortInUseError) as caught:
        bind("127.0.0.1", listener.getsockname()[1])
    suggested = int((caught.value.next or "").rpartition(" ")[2])
    with socket.create_server(("127.0.0.1", suggested)):
        pass


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 65536),
        ("127.0.0.1", -1),
        ("192.0.2.1", 0),
        ("no.such.invalid", 0),
        ("", 0),
        ("x" * 64, 0),
    ],
)
def test_an_address_that_cannot_be_had_is_named(host: str, port: int) -> None:
    with pytest.raises(AddressUnavailableError) as caught:
        bind(host, port)
    assert caught.value.host == host


def test_one_who_only_looks_does_not_keep_a_plane_from_starting(tmp_path: Path) -> None:
    paths = make_root(tmp_path)
    release(paths, hold(paths))
    looking = os.open(paths.state / "plane.lock", os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.02, os.close, [looking]).start()
    held = hold(paths)
    assert held >= 0
    release(paths, held)


def test_a_plane_is_found_while_it_holds_the_project(tmp_path: Path) -> None:
    paths = make_root(tmp_path)
    assert read_plane(paths) is None
    held = hold(paths)
    assert read_plane(paths) is None
    write_plane(paths, INFO)
    assert read_plane(paths) == INFO
    with pytest.raises(PlaneRunningError) as caught:
        hold(paths)
    assert caught.value.url == INFO.url
    release(paths, held)
    assert read_plane(paths) is None


def test_what_a_killed_supervisor_left_is_not_believed(tmp_path: Path) -> None:
    paths = make_root(tmp_path)
    write_plane(paths, INFO)
    assert read_plane(paths) is None
    release(paths, hold(paths))
    assert not (paths.state / "plane.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "http://127.0.0.1:1"}'])
def test_a_file_that_cannot_be_read_is_no_plane(tmp_path: Path, text: str) -> None:
    paths = make_root(tmp_path)
    held = hold(paths)
    (paths.state / "plane.json").write_text(text)
    assert read_plane(paths) is None
    release(paths, held)
