"""One contract suite, run against SQLite and against a PostgreSQL started for the test run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
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


def _run(home: Path, *command: str) -> None:
    # PostgreSQL refuses to run as root. Its output does not go to a pipe: the server would keep
    # that open, and this would wait for it.
    user = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
    subprocess.run([*user, *command], check=True, timeout=120, cwd=home, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Address of a server of this test run alone."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's binaries are not on this machine: the team store is NOT tested")
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name, socket.socket() as free:
        home = Path(name)
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        data = str(home / "data")
        _run(home, str(binaries / "initdb"), "-D", data, "-A", "trust", "-U", "headrace", "-N")
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        )
        control = (str(binaries / "pg_ctl"), "-D", data, "-w", "-l", str(home / "log"))
        _run(home, *control, "-o", options, "start")
        try:
            yield f"postgresql://headrace@127.0.0.1:{port}"
        finally:
            _run(home, *control, "-m", "immediate", "stop")


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
