from __future__ import annotations

import importlib
import multiprocessing
import os
import pkgutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, inspect, select, text
from sqlalchemy.exc import OperationalError

import headrace
from headrace import clock
from headrace.catalog import DatabaseTooNewError, DatabaseUnavailableError, Store, migrations
from headrace.catalog.store import metadata


def _load_every_table() -> None:
    for module in pkgutil.walk_packages(headrace.__path__, "headrace."):
        if module.name.rpartition(".")[2] in ("store", "tables"):
            importlib.import_module(module.name)


def _shape(connection: Connection) -> dict[str, Any]:
    """Tables, columns, keys and indexes, without the order that does not matter."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            ],
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign": sorted(
                (key["constrained_columns"], key["referred_table"], str(key["options"]))
                for key in inspector.get_foreign_keys(table)
            ),
            "unique": sorted(
                key["column_names"] for key in inspector.get_unique_constraints(table)
            ),
            "indexes": sorted(
                (str(index["name"]), index["column_names"], bool(index["unique"]))
                for index in inspector.get_indexes(table)
            ),
        }
        for table in sorted(inspector.get_table_names())
    }


def test_the_migrations_make_the_declared_tables(store: Store, tmp_path: Path) -> None:
    _load_every_table()
    with store.reading() as connection:
        migrated = _shape(connection)
    if store.dialect == "sqlite":
        fresh = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
        with fresh.begin() as connection:
            metadata.create_all(connection)
            declared = _shape(connection)
    else:
        with store.begin() as connection:
            metadata.drop_all(connection)
            metadata.create_all(connection)
            declared = _shape(connection)
    assert migrated == declared


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = [migration.number for migration in migrations.known()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_opening_again_applies_nothing(store: Store) -> None:
    assert migrations.upgrade(store) == []
    with store.reading() as connection:
        applied = connection.execute(select(migrations.applied)).all()
    assert [row.number for row in applied] == [known.number for known in migrations.known()]


def test_a_migration_that_was_left_out_is_made_up_for(store: Store) -> None:
    """A branch may bring migration 4 after another has brought migration 5."""
    last = migrations.known()[-1]
    with store.begin() as connection:
        connection.execute(
            migrations.applied.delete().where(migrations.applied.c.number == last.number)
        )
        known = {name for name in metadata.tables if name.startswith("headrace_")}
        assert known
    with store.reading() as connection:
        assert migrations._pending(connection, store) == [last]


def test_a_newer_database_is_refused(store: Store, url: str) -> None:
    with store.begin() as connection:
        connection.execute(
            insert(migrations.applied).values(number=9999, name="future", applied_at=clock.now())
        )
    with pytest.raises(DatabaseTooNewError) as caught:
        Store.open(url)
    assert caught.value.number == 9999


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    row = {"number": 9998, "name": "half", "applied_at": clock.now()}

    def write_half() -> None:
        with store.begin() as connection:
            connection.execute(insert(migrations.applied).values(**row))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    with store.reading() as connection:
        numbers = set(connection.scalars(select(migrations.applied.c.number)))
    assert 9998 not in numbers


def test_a_failed_migration_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE headrace_half (id INTEGER)"))
        raise RuntimeError("stop")

    real = migrations.known()
    broken = migrations.Migration(9000, "broken", fail)
    monkeypatch.setattr(migrations, "known", lambda: [*real, broken])
    with pytest.raises(RuntimeError, match="stop"):
        Store.open(url)
    monkeypatch.setattr(migrations, "known", lambda: real)
    store = Store.open(url)
    with store.reading() as connection:
        names = inspect(connection).get_table_names()
    store.close()
    assert "headrace_half" not in names
    assert "headrace_entries" in names


def test_moments_keep_their_instant_and_need_a_zone(store: Store) -> None:
    moment = clock.now()
    with store.begin() as connection:
        connection.execute(
            insert(migrations.applied).values(number=9997, name="when", applied_at=moment)
        )
        found = connection.scalar(
            select(migrations.applied.c.applied_at).where(migrations.applied.c.number == 9997)
        )
        assert found == moment
        with pytest.raises(Exception, match="no time zone"):
            connection.execute(
                select(migrations.applied).where(
                    migrations.applied.c.applied_at == moment.replace(tzinfo=None)
                )
            )


def test_sqlite_waits_for_the_writer_and_never_for_readers(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'headrace.db'}")
    with store.begin() as writer:
        writer.execute(text("CREATE TABLE headrace_x (id INTEGER)"))
        with store.reading() as reader:
            assert not inspect(reader).has_table("headrace_x")
        impatient = sqlite3.connect(tmp_path / "headrace.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            impatient.execute("BEGIN IMMEDIATE")
        impatient.close()
    store.close()


def test_sqlite_is_in_wal_mode_with_foreign_keys(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'headrace.db'}")
    with store.reading() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    store.close()


def test_reading_does_not_write(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'headrace.db'}")
    with store.reading() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("CREATE TABLE headrace_x (id INTEGER)"))
    with store.begin() as connection:
        connection.execute(text("CREATE TABLE headrace_x (id INTEGER)"))
    store.close()


def _count_up(url: str, times: int) -> None:
    store = Store.open(url)
    for _ in range(times):
        with store.begin() as connection:
            name = connection.scalar(select(migrations.applied.c.name).with_for_update())
            count = int(str(name)) + 1
            connection.execute(migrations.applied.update().values(name=str(count)))
    store.close()


@pytest.mark.slow
def test_processes_take_turns_from_read_to_write(url: str) -> None:
    """Each transaction reads, then writes what it read: no update is lost, none deadlocks."""
    store = Store.open(url)
    with store.begin() as connection:
        connection.execute(migrations.applied.update().values(name="0"))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count_up, args=(url, 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    with store.reading() as connection:
        assert connection.scalar(select(migrations.applied.c.name).limit(1)) == "60"
    store.close()


def test_a_forked_child_uses_connections_of_its_own(store: Store) -> None:
    with store.begin() as connection:
        connection.execute(migrations.applied.update().values(name="parent"))
    with store.begin() as open_in_the_parent:
        open_in_the_parent.execute(select(migrations.applied)).all()
        child = os.fork()
        if child == 0:
            with store.reading() as connection:
                found = connection.scalar(select(migrations.applied.c.name).limit(1))
            os._exit(0 if found == "parent" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        open_in_the_parent.execute(migrations.applied.update().values(name="still open"))


def _hold(url: str, path: str, worker: int) -> None:
    store = Store.open(url)
    for _ in range(20):
        with store.lock("test"):
            file = Path(path)
            before = file.read_text() if file.exists() else ""
            file.write_text(before + str(worker))
    store.close()


@pytest.mark.slow
def test_a_lock_is_held_by_one_process_at_a_time(url: str, tmp_path: Path) -> None:
    Store.open(url).close()
    context = multiprocessing.get_context("spawn")
    written = tmp_path / "written"
    workers = [context.Process(target=_hold, args=(url, str(written), n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(written.read_text()) == sorted("012" * 20)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nonsense", "parse"),
        ("oracle+nothing://x", "Can't load plugin"),
        ("sqlite:////dev/null/headrace.db", "unable to open"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", "refused"),
    ],
)
def test_a_database_that_cannot_be_opened(address: str, reason: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match=reason) as caught:
        Store.open(address)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "headrace.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(DatabaseUnavailableError, match="not a database"):
        Store.open(f"sqlite:///{tmp_path / 'headrace.db'}")
