"""Protected aliases, approvals and the audit log; verdicts and moves in the order of a sequence."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    text,
)

from headrace.catalog.store import UtcDateTime


def upgrade(connection: Connection) -> None:
    """Create the tables, and make those of verdicts and moves anew around what they hold."""
    metadata = MetaData()
    _governance(metadata)
    _promotion(metadata)
    for name in ("verdicts", "alias_moves"):
        connection.execute(text(f"DROP INDEX ix_headrace_{name}_model"))
        connection.execute(text(f"ALTER TABLE headrace_{name} RENAME TO headrace_{name}_before"))
    metadata.create_all(connection)
    connection.execute(text(_VERDICTS))
    connection.execute(text(_MOVES))
    for name in ("verdicts", "alias_moves"):
        connection.execute(text(f"DROP TABLE headrace_{name}_before"))
    protected = metadata.tables["headrace_protected_aliases"]
    connection.execute(insert(protected).values(alias="production"))


_VERDICTS = """
INSERT INTO headrace_verdicts
    (id, model, version, champion, alias, promoted, state, gate_digest, body, judged_by, judged_at)
SELECT id, model, version, champion, alias, promoted,
    CASE WHEN promoted THEN 'promoted' ELSE 'refused' END, gate_digest, body, 'unknown', judged_at
FROM headrace_verdicts_before ORDER BY judged_at, id
"""

_MOVES = """
INSERT INTO headrace_alias_moves
    (id, model, alias, from_version, to_version, kind, verdict, reason, moved_by, moved_at)
SELECT id, model, alias, from_version, to_version, 'promoted', verdict, reason, 'unknown', moved_at
FROM headrace_alias_moves_before ORDER BY moved_at, id
"""


def _governance(metadata: MetaData) -> None:
    Table(
        "headrace_protected_aliases",
        metadata,
        Column("alias", String(255), primary_key=True),
    )
    Table("headrace_permits", metadata, Column("object", String(512), primary_key=True))
    Table(
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
    Table(
        "headrace_approvals",
        metadata,
        Column("sequence", Integer, primary_key=True, autoincrement=True),
        Column("model", String(255), nullable=False),
        Column("version", Integer, nullable=False),
        Column("alias", String(255), nullable=False),
        Column("evidence", String(64), nullable=False),
        Column("approver", Text, nullable=False),
        Column("expires", UtcDateTime, nullable=False),
        Column("envelope", Text, nullable=False),
        Column("approved_at", UtcDateTime, nullable=False),
        Index("ix_headrace_approvals_model", "model", "version", "sequence"),
        sqlite_autoincrement=True,
    )


def _promotion(metadata: MetaData) -> None:
    Table(
        "headrace_verdicts",
        metadata,
        Column("sequence", Integer, primary_key=True, autoincrement=True),
        Column("id", String(64), nullable=False),
        Column("model", String(255), nullable=False),
        Column("version", Integer, nullable=False),
        Column("champion", Integer),
        Column("alias", String(255), nullable=False),
        Column("promoted", Boolean, nullable=False),
        Column("state", String(16), nullable=False),
        Column("evidence", String(64)),
        Column("gate_digest", String(64), nullable=False),
        Column("body", JSON, nullable=False),
        Column("judged_by", Text, nullable=False),
        Column("judged_at", UtcDateTime, nullable=False),
        Index("ix_headrace_verdicts_id", "id", unique=True),
        Index("ix_headrace_verdicts_model", "model", "version", "sequence"),
        sqlite_autoincrement=True,
    )
    Table(
        "headrace_alias_moves",
        metadata,
        Column("sequence", Integer, primary_key=True, autoincrement=True),
        Column("id", String(64), nullable=False),
        Column("model", String(255), nullable=False),
        Column("alias", String(255), nullable=False),
        Column("from_version", Integer),
        Column("to_version", Integer),
        Column("model_id", String(64)),
        Column("kind", String(16), nullable=False),
        Column("verdict", String(64)),
        Column("evidence", String(64)),
        Column("reason", Text, nullable=False),
        Column("moved_by", Text, nullable=False),
        Column("moved_at", UtcDateTime, nullable=False),
        Index("ix_headrace_alias_moves_id", "id", unique=True),
        Index("ix_headrace_alias_moves_model", "model", "alias", "sequence"),
        sqlite_autoincrement=True,
    )
