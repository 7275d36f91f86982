"""Names, operations, what they read and wrote, and raw files."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Create the tables of the catalog and of the lineage."""
    metadata = MetaData()
    _catalog(metadata)
    _lineage(metadata)
    metadata.create_all(connection)


def _catalog(metadata: MetaData) -> None:
    Table(
        "headrace_entries",
        metadata,
        Column("catalog", String(255), primary_key=True),
        Column("schema", String(255), primary_key=True),
        Column("name", String(255), primary_key=True),
        Column("kind", String(16), nullable=False),
        Column("location", Text, unique=True),
        Column("definition", Text),
        Column("comment", Text),
        Column("managed", Boolean, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
    )


def _lineage(metadata: MetaData) -> None:
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
        Index("ix_headrace_operations_subject", "subject", "finished_at"),
        Index("ix_headrace_operations_session", "session_id", "finished_at"),
        Index("ix_headrace_operations_run", "run_id", "finished_at"),
        Index("ix_headrace_operations_finished", "finished_at"),
    )
    Table(
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
        Index("ix_headrace_accesses_name", "name", "direction", "version"),
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
    )
    Table(
        "headrace_operation_files",
        metadata,
        Column("operation_id", ForeignKey(operations.c.id, ondelete="CASCADE"), primary_key=True),
        Column("file_id", ForeignKey(files.c.id), primary_key=True),
        Column("position", Integer, nullable=False),
        Index("ix_headrace_operation_files_file", "file_id"),
    )
