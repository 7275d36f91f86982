"""Names of tables and views, and where the tables lie."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, select, update

from headrace import clock
from headrace.catalog.entry import Entry
from headrace.catalog.errors import LocationTakenError, NameTakenError, TableNotFoundError
from headrace.catalog.names import TableName
from headrace.catalog.store import insert_or_skip
from headrace.catalog.tables import entries
from headrace.ids import new_id

if TYPE_CHECKING:
    from headrace.catalog.store import Store


class Catalog:
    """The names of one project. Every method takes a ``TableName`` or its text.

    Args:
        store: the database.
        warehouse: directory below which managed tables lie.
    """

    def __init__(self, store: Store, warehouse: Path) -> None:
        self._store = store
        self.warehouse = warehouse.absolute()

    def resolve(self, name: TableName | str) -> Entry:
        """The table or view of that name.

        Raises:
            TableNotFoundError: there is none; suggests the closest name.
            InvalidNameError: the text is no name.
        """
        entry = self.find(name)
        if entry is None:
            raise TableNotFoundError(str(name), self._spellings(str(name)))
        return entry

    def find(self, name: TableName | str) -> Entry | None:
        """The table or view of that name, or ``None``."""
        with self._store.reading() as connection:
            return self._find(connection, _name(name))

    def at_location(self, location: str | Path) -> TableName | None:
        """The name of the table whose Delta log lies in that directory, also by way of a link."""
        places = {self._stored(location), self._stored(Path(location).resolve())}
        query = select(entries).where(entries.c.location.in_(places))
        with self._store.reading() as connection:
            row = connection.execute(query).first()
        return self._entry(row).name if row else None

    def location_for(self, name: TableName | str) -> Path:
        """The directory of a managed table of that name, whether or not it exists."""
        name = _name(name)
        return self.warehouse / name.catalog / name.schema / name.name

    def create_table(
        self,
        name: TableName | str,
        location: str | Path | None = None,
        comment: str | None = None,
    ) -> Entry:
        """Register a table. Registering it again changes nothing.

        Args:
            name: the name; a bare one lies in schema ``default``.
            location: directory of an external table; the managed location if not given.
            comment: what a person should know about it.

        Raises:
            NameTakenError: the name is a view, or a table elsewhere.
            LocationTakenError: the location belongs to another name.
        """
        name = _name(name)
        stored = self._stored(location or self.location_for(name))
        values = {
            "kind": "table",
            "location": stored,
            "comment": comment,
            "managed": stored == self._stored(self.location_for(name)),
        }
        with self._store.begin() as connection:
            self._insert(connection, name, values)
            entry = self._find(connection, name)
            if entry is None:
                owner = connection.execute(select(entries).where(entries.c.location == stored))
                raise LocationTakenError(stored, str(name), str(self._entry(owner.one()).name))
        if entry.kind != "table":
            raise NameTakenError(str(name), entry.kind, "table")
        if self._stored(entry.location or "") != stored:
            raise NameTakenError(str(name), f"table in {entry.location}", f"table in {stored}")
        return entry

    def create_view(self, name: TableName | str, sql: str, replace: bool = False) -> Entry:
        """Register a view under its query.

        Raises:
            NameTakenError: the name is a table, or a view and ``replace`` is false.
        """
        name = _name(name)
        with self._store.begin() as connection:
            values = {"kind": "view", "definition": sql, "managed": False}
            made = self._insert(connection, name, values)
            if not made and replace:
                is_view = entries.c.kind == "view"
                connection.execute(update(entries).where(_is(name), is_view).values(definition=sql))
            entry = self._find(connection, name)
        if entry is None or entry.kind != "view" or not (made or replace):
            raise NameTakenError(str(name), entry.kind if entry else "name", "view")
        return entry

    def drop(self, name: TableName | str) -> None:
        """Forget the name; the files of a managed table go with it.

        The directory is moved aside before the name goes, so that a crash leaves either a table
        or a directory that nothing names, never a name without its table.

        Raises:
            TableNotFoundError: there is no such table or view.
        """
        entry = self.resolve(name)
        aside = None
        with self._store.begin() as connection:
            connection.execute(delete(entries).where(_is(entry.name)))
            if entry.managed and entry.location and Path(entry.location).exists():
                location = Path(entry.location)
                aside = location.with_name(f".{new_id('dropped')}")
                location.rename(aside)
        if aside is not None:
            shutil.rmtree(aside)

    def list(self, schema: str | None = None) -> builtins.list[Entry]:
        """Tables and views by name; of one schema (``gold`` or ``main.gold``) if given."""
        query = select(entries).order_by(entries.c.catalog, entries.c.schema, entries.c.name)
        if schema is not None:
            within = TableName.parse(f"{schema}.any")
            query = query.where(
                entries.c.catalog == within.catalog, entries.c.schema == within.schema
            )
        with self._store.reading() as connection:
            return [self._entry(row) for row in connection.execute(query)]

    def schemas(self) -> builtins.list[str]:
        """The schemas that hold something, as ``catalog.schema``."""
        query = select(entries.c.catalog, entries.c.schema).distinct()
        with self._store.reading() as connection:
            return sorted(f"{row.catalog}.{row.schema}" for row in connection.execute(query))

    def _insert(self, connection: Connection, name: TableName, values: dict[str, Any]) -> bool:
        key = {"catalog": name.catalog, "schema": name.schema, "name": name.name}
        return insert_or_skip(connection, entries, key | values | {"created_at": clock.now()})

    def _find(self, connection: Connection, name: TableName) -> Entry | None:
        row = connection.execute(select(entries).where(_is(name))).one_or_none()
        return self._entry(row) if row else None

    def _entry(self, row: Row[Any]) -> Entry:
        kind: Literal["table", "view"] = row.kind
        return Entry(
            name=TableName(row.catalog, row.schema, row.name),
            kind=kind,
            location=None if row.location is None else str(self.warehouse / row.location),
            definition=row.definition,
            comment=row.comment,
            managed=row.managed,
            created_at=row.created_at,
        )

    def _stored(self, location: str | Path) -> str:
        path = Path(location).absolute()
        for place in (path, path.resolve()):  # a link can lead into the warehouse
            for root in (self.warehouse, self.warehouse.resolve()):
                if place.is_relative_to(root):
                    return place.relative_to(root).as_posix()
        return str(path)

    def _spellings(self, name: str) -> builtins.list[str]:
        """Known names, with as many parts as the user typed."""
        parts = min(name.count(".") + 1, 3)
        return [".".join(str(entry.name).split(".")[-parts:]) for entry in self.list()]


def _name(name: TableName | str) -> TableName:
    return name if isinstance(name, TableName) else TableName.parse(name)


def _is(name: TableName) -> ColumnElement[bool]:
    return and_(
        entries.c.catalog == name.catalog,
        entries.c.schema == name.schema,
        entries.c.name == name.name,
    )
