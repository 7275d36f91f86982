"""One contract suite, run against SQLite and against a PostgreSQL started for the test run."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headrace.catalog import Access, Catalog, Lineage, Operation, RawFile, Store, TableName
from headrace.ids import new_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

MakeOperation = Callable[..., Operation]


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    if found:
        return found[0].parent
    return Path(on_path).resolve().parent if on_path else None


def _as_user(command: list[str]) -> list[str]:
    # PostgreSQL refuses to run as root.
    root = getpass.getuser() == "root" or os.geteuid() == 0
    return ["runuser", "-u", "postgres", "--", *command] if root else command


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of this test run alone."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's binaries are not on this machine: the team store is NOT tested")
    home = tmp_path_factory.mktemp("postgresql")
    data = home / "data"
    if os.geteuid() == 0:
        # The server's user must reach its directory through ours.
        for parent in (home, *home.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o055)
        shutil.chown(home, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = {"check": True, "timeout": 120, "capture_output": True, "cwd": home}
    subprocess.run(
        _as_user(
            [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "headrace", "-N"]
        ),
        **run,
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    control = [str(binaries / "pg_ctl"), "-D", str(data), "-w"]
    log = str(home / "log")
    # With the pipes of a captured run the server would keep them open, and the run would wait.
    quiet = {"check": True, "timeout": 120, "cwd": home, "stdout": subprocess.DEVNULL}
    subprocess.run(_as_user([*control, "-l", log, "-o", options, "start"]), **quiet)
    try:
        yield f"postgresql://headrace@127.0.0.1:{port}"
    finally:
        subprocess.run(_as_user([*control, "-m", "immediate", "stop"]), **quiet)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database that does not hold anything yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'headrace.db'}"
    import psycopg

    server = request.getfixturevalue("postgresql")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server}/{name}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store.open(url)
    yield store
    store.close()


@pytest.fixture
def catalog(store: Store, tmp_path: Path) -> Catalog:
    return Catalog(store, tmp_path / "warehouse")


@pytest.fixture
def lineage(store: Store) -> Lineage:
    return Lineage(store)


@pytest.fixture
def make_operation() -> MakeOperation:
    """An operation that writes one version of a table, at noon plus so many minutes."""

    def make(
        table: str,
        version: int,
        mode: str = "append",
        *,
        minute: int | None = None,
        reads: tuple[Access, ...] = (),
        files: tuple[RawFile, ...] = (),
        run_id: str | None = None,
    ) -> Operation:
        name = str(TableName.parse(table))
        at = NOON + timedelta(minutes=version if minute is None else minute)
        return Operation(
            id=new_id("op"),
            kind="write",
            subject=name,
            session_id="session",
            run_id=run_id,
            started_at=at,
            finished_at=at + timedelta(seconds=10),
            reads=reads,
            writes=(Access("table", name, version, ("a", "b"), f"/warehouse/{name}"),),
            mode=mode,
            files=files,
            source="notebook.py:12",
        )

    return make
