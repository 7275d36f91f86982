"""Tables of the catalog and of the lineage."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from headrace.catalog.store import UtcDateTime, metadata

entries = Table(
    "headrace_entries",
    metadata,
    Column("catalog", String(255), primary_key=True),
    Column("schema", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("kind", String(16), nullable=False),
    # Relative to the warehouse where it lies inside, so that a project can move.
    Column("location", Text, unique=True),
    Column("definition", Text),
    Column("comment", Text),
    Column("managed", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

flow_sets = Table(
    "headrace_flow_sets",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    # Of the flows: each refresh of a table by the same query has the same ones.
    Column("digest", String(64), nullable=False, unique=True),
    # A list of column, position of the read, its column, and how.
    Column("flows", Text, nullable=False),
)

operations = Table(
    "headrace_operations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", Text),
    Column("session_id", String(64)),
    Column("run_id", String(64)),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime, nullable=False),
    Column("mode", String(32)),
    Column("source", Text),
    Column("flow_set", ForeignKey(flow_sets.c.id)),
    Index("ix_headrace_operations_subject", "subject", "finished_at"),
    Index("ix_headrace_operations_session", "session_id", "finished_at"),
    Index("ix_headrace_operations_run", "run_id", "finished_at"),
    Index("ix_headrace_operations_finished", "finished_at"),
)

accesses = Table(
    "headrace_accesses",
    metadata,
    Column("operation_id", ForeignKey(operations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("direction", String(8), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("version", BigInteger),
    Column("columns", JSON(none_as_null=True)),
    Column("location", Text),
    # Of a write: whether it left none of the rows that were there before.
    Column("replaces", Boolean),
    Index("ix_headrace_accesses_name", "name", "direction", "version"),
    Index("ix_headrace_accesses_location", "location", "name"),
)

#: The condition of the index of such writes, in the form in which SQLite sees that it is met.
replacing = text("headrace_accesses.replaces")

Index(
    "ix_headrace_accesses_replaces",
    accesses.c.name,
    accesses.c.version,
    sqlite_where=accesses.c.replaces,
    postgresql_where=accesses.c.replaces,
)

files = Table(
    "headrace_files",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("modified", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    UniqueConstraint("path", "size", "modified", "sha256", name="uq_headrace_files"),
    Index("ix_headrace_files_sha256", "sha256"),
)

operation_files = Table(
    "headrace_operation_files",
    metadata,
    Column("operation_id", ForeignKey(operations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("file_id", ForeignKey(files.c.id), primary_key=True),
    Column("position", Integer, nullable=False),
    Index("ix_headrace_operation_files_file", "file_id"),
)

protected_aliases = Table(
    "headrace_protected_aliases",
    metadata,
    # In lower case: an alias that differs by case alone would be taken for it.
    Column("alias", String(255), primary_key=True),
)

permits = Table(
    "headrace_permits",
    metadata,
    # Rows exist only inside the transaction that needs them.
    Column("object", String(512), primary_key=True),
)

audit = Table(
    "headrace_audit",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(512), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("by", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Index("ix_headrace_audit_object", "object", "sequence"),
    sqlite_autoincrement=True,
)
