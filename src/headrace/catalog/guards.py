"""Triggers on MLflow's tables: a protected alias moves only in the transaction that says why.

MLflow's stores know nothing of gates. Whoever opens the database through them, by a client or
by a server, meets these triggers; their sentence reaches him in MLflow's own exception.

The conditions look only at our tables and at the row that changes. SQLite cannot rename a table
while a trigger names another that is missing, and that is how MLflow's migrations rebuild them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, insert, inspect, select, text

from headrace import clock
from headrace.catalog import audit
from headrace.catalog.store import UtcDateTime
from headrace.catalog.tables import permits, protected_aliases
from headrace.ids import new_id

if TYPE_CHECKING:
    from headrace.catalog.store import Store

PREFIX: Final = "headrace_guard_"

MOVES: Final = (
    "A protected alias moves only with its evidence: headrace run lets the gate judge a version "
    "and promote it, and headrace override MODEL/VERSION --reason TEXT moves it in an emergency."
)
HOLDS: Final = (
    "What holds a protected alias stays as it is: headrace run promotes a successor, and headrace "
    "override MODEL --none --reason TEXT takes the alias away first."
)
TAGS: Final = (
    "Tags headrace.* are written by the gate alone: headrace run judges a version, and headrace "
    "verify MODEL/VERSION shows its evidence."
)
STAGES: Final = (
    "A stage of a protected name is not given by hand: headrace run lets the gate judge a version "
    "and promote it to the alias, which takes the stage's place."
)
SENTENCES: Final = (MOVES, HOLDS, TAGS, STAGES)

_PROTECTED: Final = "lower({row}.alias) IN (SELECT alias FROM headrace_protected_aliases)"
_NEWEST: Final = (
    "EXISTS (SELECT 1 FROM headrace_alias_moves AS m WHERE m.sequence = (SELECT max(n.sequence) "
    "FROM headrace_alias_moves AS n WHERE n.model = {row}.name AND n.alias = {row}.alias) "
    "AND {row}.workspace = 'default' AND {says})"
)
# The newest move of some protected alias leads to the row.
_HELD: Final = (
    "EXISTS (SELECT 1 FROM headrace_alias_moves AS m JOIN headrace_protected_aliases AS p "
    "ON p.alias = lower(m.alias) WHERE m.sequence = (SELECT max(n.sequence) FROM "
    "headrace_alias_moves AS n WHERE n.model = m.model AND n.alias = m.alias) "
    "AND m.to_version IS NOT NULL AND {at})"
)
_PERMITTED: Final = (
    "EXISTS (SELECT 1 FROM headrace_permits WHERE object = {row}.name || '/' || {row}.version)"
)
_OURS: Final = "substr({row}.key, 1, 9) = 'headrace.'"
_OF_THE_GATE: Final = (
    "({row}.key IN ('headrace.evidence', 'headrace.override') "
    "OR substr({row}.key, 1, 16) = 'headrace.verdict')"
)


def _changes(*columns: str) -> str:
    return "(" + " OR ".join(f"NEW.{each} IS DISTINCT FROM OLD.{each}" for each in columns) + ")"


@dataclass(frozen=True)
class Guard:
    """One trigger.

    Attributes:
        table: of MLflow's.
        event: ``INSERT``, ``UPDATE`` or ``DELETE`` of a row.
        refuses: a condition on ``OLD`` and ``NEW`` in the SQL that SQLite and PostgreSQL share.
        sentence: what whoever is refused reads.
    """

    table: str
    event: str
    refuses: str
    sentence: str

    @cached_property
    def name(self) -> str:
        """Names the content too, so that a trigger of another content is noticed as such."""
        content = f"{self.table} {self.event} {self.refuses} {self.sentence}"
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return f"{PREFIX}{self.table}_{self.event.lower()}_{digest}"

    def create(self, dialect: str) -> list[str]:
        """The statements that make it."""
        sentence = "'" + self.sentence.replace("'", "''") + "'"
        if dialect == "sqlite":
            return [
                f"CREATE TRIGGER {self.name} BEFORE {self.event} ON {self.table} "
                f"WHEN {self.refuses} BEGIN SELECT RAISE(ABORT, {sentence}); END"
            ]
        row = "OLD" if self.event == "DELETE" else "NEW"
        return [
            f"CREATE OR REPLACE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $guard$ "
            f"BEGIN IF {self.refuses} THEN RAISE EXCEPTION USING MESSAGE = {sentence}, "
            f"ERRCODE = '23000'; END IF; RETURN {row}; END $guard$",
            f"CREATE OR REPLACE TRIGGER {self.name} BEFORE {self.event} ON {self.table} "
            f"FOR EACH ROW EXECUTE FUNCTION {self.name}()",
            # One that was turned off is on again, which replacing it leaves as it was.
            f"ALTER TABLE {self.table} ENABLE TRIGGER {self.name}",
        ]


def _says(row: str, before: str, after: str) -> str:
    return _NEWEST.format(row=row, says=f"m.from_version {before} AND m.to_version {after}")


def _alias_guards() -> Iterator[Guard]:
    table = "registered_model_aliases"
    old, new = _PROTECTED.format(row="OLD"), _PROTECTED.format(row="NEW")
    first = _says("NEW", "IS NULL", "= NEW.version")
    yield Guard(table, "INSERT", f"{new} AND NOT {first}", MOVES)
    moved = _says("NEW", "= OLD.version", "= NEW.version")
    kept = "NEW.workspace = OLD.workspace AND NEW.name = OLD.name AND NEW.alias = OLD.alias"
    yield Guard(
        table,
        "UPDATE",
        f"({old} OR {new}) AND {_changes('workspace', 'name', 'alias', 'version')} "
        f"AND NOT ({kept} AND {moved})",
        MOVES,
    )
    gone = _says("OLD", "= OLD.version", "IS NULL")
    yield Guard(table, "DELETE", f"{old} AND NOT {gone}", MOVES)


def _holder_guards() -> Iterator[Guard]:
    model = _HELD.format(at="m.model = OLD.name")
    yield Guard(
        "registered_models", "UPDATE", f"{_changes('workspace', 'name')} AND {model}", HOLDS
    )
    yield Guard("registered_models", "DELETE", model, HOLDS)
    version = _HELD.format(at="m.model = OLD.name AND m.to_version = OLD.version")
    made_of = _changes("workspace", "name", "version", "source", "run_id", "storage_location")
    stage = (
        "(NEW.current_stage <> OLD.current_stage AND lower(NEW.current_stage) IN "
        "(SELECT alias FROM headrace_protected_aliases))"
    )
    yield Guard(
        "model_versions",
        "UPDATE",
        f"({made_of} OR NEW.current_stage = 'Deleted_Internal') AND {version}",
        HOLDS,
    )
    yield Guard("model_versions", "UPDATE", stage, STAGES)
    yield Guard("model_versions", "DELETE", version, HOLDS)
    logged = _HELD.format(at="m.model_id = OLD.model_id")
    yield Guard(
        "logged_models",
        "UPDATE",
        f"{_changes('model_id', 'artifact_location', 'lifecycle_stage')} AND {logged}",
        HOLDS,
    )
    yield Guard("logged_models", "DELETE", logged, HOLDS)


def _tag_guards() -> Iterator[Guard]:
    table = "model_version_tags"
    old, new = _OURS.format(row="OLD"), _OURS.format(row="NEW")
    # What a version was made of is written once, by its maker; the rest by the gate.
    by_gate = _OF_THE_GATE.format(row="NEW")
    yield Guard(table, "INSERT", f"{by_gate} AND NOT {_PERMITTED.format(row='NEW')}", TAGS)
    changes = _changes("version", "key", "value")
    permitted = _PERMITTED.format(row="OLD")
    yield Guard(table, "UPDATE", f"({old} OR {new}) AND {changes} AND NOT {permitted}", TAGS)
    # They go with a model that holds no protected alias.
    held = _HELD.format(at="m.model = OLD.name")
    yield Guard(table, "DELETE", f"{old} AND {held} AND NOT {permitted}", TAGS)


GUARDS: Final = (*_alias_guards(), *_holder_guards(), *_tag_guards())


def install(store: Store) -> bool:
    """Make the triggers that are missing and drop those of another content.

    Safe to call always and from several processes; does nothing before MLflow has its tables.

    Returns:
        Whether anything had to be done.
    """
    wanted = {guard.name for guard in GUARDS}
    with store.reading() as connection:
        if set(_installed(connection)) == wanted or not _has_tables(connection):
            return False
    with store.lock("guards"), store.begin() as connection:
        present = _installed(connection)
        for name, table in present.items():
            if name not in wanted:
                _drop(connection, name, table)
        for guard in GUARDS:
            if guard.name not in present:
                for statement in guard.create(store.dialect):
                    connection.exec_driver_sql(statement)
        _adopt(connection)
    return True


def protect(store: Store, names: Iterable[str], by: str) -> None:
    """Make exactly these aliases the protected ones. A change is audited.

    Moves of an alias to come start from where it is when it becomes protected.
    """
    wanted = {name.lower() for name in names}
    with store.reading() as connection:
        if protected(connection) == wanted:
            return
    with store.begin() as connection:
        before = protected(connection)
        connection.execute(
            delete(protected_aliases).where(protected_aliases.c.alias.in_(before - wanted))
        )
        for name in sorted(wanted - before):
            connection.execute(insert(protected_aliases).values(alias=name))
        if _has_tables(connection):
            _adopt(connection)
        audit.record(
            connection,
            "aliases.protect",
            "project",
            by=by,
            details={"before": sorted(before), "after": sorted(wanted)},
        )


def protected(connection: Connection) -> set[str]:
    """The protected aliases, in lower case."""
    return set(connection.scalars(select(protected_aliases.c.alias)))


@dataclass(frozen=True)
class Override:
    """A protected alias that a person moved, and that the gate has not moved since.

    Attributes:
        version: where it is; ``None`` where it was taken away.
        reason, by, at: why, who and when.
    """

    model: str
    alias: str
    version: int | None
    reason: str
    by: str
    at: datetime

    @property
    def sentence(self) -> str:
        """For every place where it must be seen."""
        now = "is taken away" if self.version is None else f"is version {self.version}"
        when = self.at.strftime("%Y-%m-%d %H:%M UTC")
        return (
            f"{self.model}@{self.alias} {now} by override, without the gate's yes: "
            f"{self.reason} ({self.by}, {when})"
        )

    def as_json(self) -> dict[str, str | int | None]:
        """The override as plain values."""
        return {
            "model": self.model,
            "alias": self.alias,
            "version": self.version,
            "reason": self.reason,
            "by": self.by,
            "at": clock.iso(self.at),
        }


_OVERRIDES: Final = """
SELECT m.model, m.alias, m.to_version AS version, m.reason, m.moved_by AS by_whom, m.moved_at
FROM headrace_alias_moves AS m
WHERE m.kind = 'overridden' AND m.sequence = (SELECT max(n.sequence)
    FROM headrace_alias_moves AS n WHERE n.model = m.model AND n.alias = m.alias)
ORDER BY m.model, m.alias
"""


def overrides(store: Store) -> list[Override]:
    """Every override that is in force."""
    query = text(_OVERRIDES).columns(moved_at=UtcDateTime())
    with store.reading() as connection:
        return [
            Override(row.model, row.alias, row.version, row.reason, row.by_whom, row.moved_at)
            for row in connection.execute(query)
        ]


@contextmanager
def permitted(connection: Connection, model: str, version: int) -> Iterator[None]:
    """Let this transaction write ``headrace.*`` tags of a version, and no other."""
    name = f"{model}/{version}"
    connection.execute(insert(permits).values(object=name))
    yield
    connection.execute(delete(permits).where(permits.c.object == name))


def sentence_in(message: str) -> str | None:
    """The sentence of a guard, if the message holds one."""
    return next((sentence for sentence in SENTENCES if sentence in message), None)


_UNRECORDED: Final = """
SELECT a.name, a.alias, a.version AS at, m.to_version AS before, v.source, v.storage_location
FROM registered_model_aliases AS a
JOIN model_versions AS v ON v.workspace = a.workspace AND v.name = a.name AND v.version = a.version
LEFT JOIN headrace_alias_moves AS m ON m.sequence = (SELECT max(n.sequence)
    FROM headrace_alias_moves AS n WHERE n.model = a.name AND n.alias = a.alias)
WHERE a.workspace = 'default' AND lower(a.alias) IN (SELECT alias FROM headrace_protected_aliases)
    AND (m.to_version IS NULL OR m.to_version <> a.version OR (m.model_id IS NULL AND m.kind <> 'found'))
"""
_RECORD: Final = """
INSERT INTO headrace_alias_moves
    (id, model, alias, from_version, to_version, model_id, kind, reason, moved_by, moved_at)
VALUES (:id, :model, :alias, :before, :at, :model_id, 'found',
    'the alias was here when its protection began', 'unknown', :moved_at)
"""


def _adopt(connection: Connection) -> None:
    """Record where protected aliases are that nobody recorded: the guards start from there."""
    for row in connection.execute(text(_UNRECORDED)).mappings().all():
        found = re.search(r"\bm-[0-9a-f]{32}\b", f"{row['source']} {row['storage_location']}")
        values = {
            "id": new_id("move"),
            "model": row["name"],
            "alias": row["alias"],
            "before": row["before"],
            "at": row["at"],
            "model_id": found[0] if found else None,
            "moved_at": clock.now(),
        }
        typed = text(_RECORD).bindparams(bindparam("moved_at", type_=UtcDateTime()))
        connection.execute(typed, values)


def _has_tables(connection: Connection) -> bool:
    return set(inspect(connection).get_table_names()) >= {guard.table for guard in GUARDS}


def _installed(connection: Connection) -> dict[str, str]:
    """Our triggers by name, and the tables that they are on."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = (
            "SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace "
            "AND t.tgenabled <> 'D'"
        )
    rows = connection.execute(text(query))
    return {name: table for name, table in rows if name.startswith(PREFIX)}


def _drop(connection: Connection, name: str, table: str) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    else:
        connection.exec_driver_sql(f"DROP TRIGGER {name} ON {table}")
        connection.exec_driver_sql(f"DROP FUNCTION {name}()")
