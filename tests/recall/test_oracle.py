"""A recall against brute force: whatever data truly reached is found, on thousands of histories."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import select, text
from tests.catalog.conftest import postgresql as postgresql  # the server of the catalog's tests
from tests.recall.worlds import COLUMNS, Atoms, Cells, Table, World, make_world

from headrace.catalog import Lineage, Store
from headrace.catalog.tables import files as files_table
from headrace.recall.closure import Closure
from headrace.recall.find import first_reads
from headrace.recall.marks import ROWS, Certainty, Column
from headrace.recall.nodes import FilesOf, ModelOf, Node, RowsOf
from headrace.recall.origin import Origin, OriginFile
from headrace.recall.records import Records

if TYPE_CHECKING:
    from sqlalchemy import Connection

WORLDS = {"sqlite": 200, "postgresql": 40}


class _OneTransaction:
    """A store whose transactions are all the same one: thousands of records in a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        yield self._connection

    reading = begin


@dataclass(frozen=True)
class Recorded:
    """Worlds in one database."""

    store: Store
    worlds: list[World]
    keys: dict[tuple[str, str], int]


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A database of a person, and one of a team."""
    url = f"sqlite:///{tmp_path_factory.mktemp('oracle') / 'lineage.db'}"
    if request.param == "postgresql":
        server, name = request.getfixturevalue("postgresql"), f"oracle_{uuid.uuid4().hex}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        url = f"{server}/{name}"
    opened = Store.open(url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def recorded(store: Store) -> Recorded:
    """Many histories, recorded as the engine records them; fewer where each look takes longer."""
    worlds = [make_world(number) for number in range(WORLDS[store.dialect])]
    with store.begin() as connection:
        one: Any = _OneTransaction(connection)
        lineage = Lineage(one)
        for world in worlds:
            for operation in world.operations:
                lineage.record(operation)
        _log_models(connection, [model for world in worlds for model in world.models])
    with store.reading() as connection:
        rows = connection.execute(select(files_table)).all()
    return Recorded(store, worlds, {(row.path, row.sha256): row.id for row in rows})


def _log_models(connection: Connection, ids: list[str]) -> None:
    """What MLflow would know of the models: the run that logged each."""
    connection.execute(text("CREATE TABLE logged_models (model_id TEXT, source_run_id TEXT)"))
    connection.execute(
        text("INSERT INTO logged_models VALUES (:model, :run)"),
        [{"model": each, "run": each.removeprefix("m-")} for each in ids],
    )


@dataclass(frozen=True)
class Walk:
    """A recall of one file of a world, or of one column of it, and the pieces that it is of."""

    world: World
    column: Column
    pieces: Atoms
    closure: Closure
    label: str


@pytest.fixture(scope="module")
def walks(recorded: Recorded) -> list[Walk]:
    """Every file of every world, as a whole and by one column."""
    return [walk for world in recorded.worlds for walk in _walks(recorded, world)]


def _walks(recorded: Recorded, world: World) -> Iterator[Walk]:
    records = Records(recorded.store, Path(world.root), logs=False)
    for path, sha256 in world.raw:
        key = recorded.keys.get((path, sha256))
        if key is None:
            continue  # it was drawn for a query that was not made in the end
        origin = Origin(path, path, (OriginFile(path, 10, sha256, (key,), "unchanged"),))
        reads = first_reads(records, origin)
        for column in (ROWS, "a"):
            names = (None, *COLUMNS) if column is ROWS else (column,)
            closure = Closure(records)
            closure.begin_at_files(path, reads, [column])
            closure.walk()
            pieces = frozenset((path, sha256, name) for name in names)
            yield Walk(world, column, pieces, closure, f"{world.number} {path} {column}")


def _found(closure: Closure, table: Table, version: int) -> dict[Column, Certainty]:
    """What a recall says of one version: the columns, and ``None`` for its rows."""
    found: dict[Column, Certainty] = {}
    life = _life(closure, table)
    key = _key(table)
    for span in closure.spans().get((key, life), ()):
        if span.rows.version <= version and (span.until is None or version < span.until):
            for column, certainty in span.columns.items():
                found[column] = max(certainty, found.get(column, certainty))
    return found


def _key(table: Table) -> str:
    """Managed tables are known by where they lie in the warehouse, others by where they lie."""
    elsewhere = table.location.startswith("/elsewhere")
    return table.location if elsewhere else table.name.replace(".", "/")


def _life(closure: Closure, table: Table) -> int:
    key = _key(table)
    lives = closure.lives(key)
    first = table.first
    return next(n for n, life in enumerate(lives) if any(w.operation == first for w in life.writes))


def _hit(cells: Cells, column: Column, wanted: Atoms) -> bool:
    of = cells.every if column is ROWS else cells.column(str(column))
    return bool(of & wanted)


def test_no_table_is_missed_and_only_opaque_code_is_possible(walks: list[Walk]) -> None:
    checked = certain = possible = 0
    for walk in walks:
        for table in walk.world.tables:
            for version, content in enumerate(table.versions):
                found = _found(walk.closure, table, version)
                for name in (ROWS, *COLUMNS):
                    said = max(found.values() if name is ROWS else _of(found, name), default=None)
                    where = f"{walk.label}: {table.name}@{version}.{name}"
                    if _hit(content.real, name, walk.pieces):
                        assert said is not None, f"missed: {where}"
                    if said is Certainty.CERTAIN:
                        assert _hit(content.sure, name, walk.pieces), f"not certain: {where}"
                    elif said is Certainty.POSSIBLE:
                        assert _hit(content.may, name, walk.pieces), f"not even possible: {where}"
                    checked += 1
                    certain += said is Certainty.CERTAIN
                    possible += said is Certainty.POSSIBLE
    assert certain > checked / 20
    assert possible > checked / 100


def _of(found: dict[Column, Certainty], name: str) -> list[Certainty]:
    return [certainty for column, certainty in found.items() if column in (ROWS, name)]


def test_no_model_is_missed(walks: list[Walk]) -> None:
    reached = 0
    for walk in walks:
        for model_id, (sure, real, may) in walk.world.models.items():
            said = walk.closure.certainty(ModelOf(model_id))
            where = f"{walk.label}: {model_id}"
            assert said is not None or not real & walk.pieces, f"missed: {where}"
            assert said is not Certainty.CERTAIN or sure & walk.pieces, f"not certain: {where}"
            assert said is None or may & walk.pieces, f"not even possible: {where}"
            reached += said is not None
    assert reached > 20


def test_no_plain_file_is_missed(walks: list[Walk]) -> None:
    reached = 0
    for walk in walks:
        written = {node.path for node in walk.closure.marks if isinstance(node, FilesOf)}
        for place, content in walk.world.plain.items():
            if content.real.every & walk.pieces:
                assert place in written, f"missed: {walk.label}: {place}"
        reached += len(written)
    assert reached > 20


def test_the_way_to_a_thing_is_made_of_operations_that_lead_there(walks: list[Walk]) -> None:
    ways = 0
    for walk in walks:
        known = {operation.id: operation for operation in walk.world.operations}
        for node in walk.closure.marks:
            way = walk.closure.way(node)
            before: Node | None = None
            for hop, reached in way:
                assert before is None or hop.source == before
                if hop.operation is not None and isinstance(reached, RowsOf):
                    operation = known[hop.operation]
                    written = [walk.closure.written(operation, each) for each in operation.writes]
                    assert reached in written
                before = reached
            ways += bool(way)
    assert ways > 100
