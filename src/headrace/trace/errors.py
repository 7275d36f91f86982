"""Why something cannot be traced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headrace.errors import HeadraceError, did_you_mean


def key_text(key: Mapping[str, object]) -> str:
    """A key as it is typed: ``a=1,b=2``."""
    return ",".join(f"{name}={value}" for name, value in key.items())


class TraceError(HeadraceError):
    """Base of the errors of the trace."""

    code = "trace_error"


class PredictionNotFoundError(TraceError):
    """No request log holds a prediction of that id."""

    code = "prediction_not_found"
    status = 404

    def __init__(self, prediction_id: str, logs: Sequence[str]) -> None:
        self.prediction_id, self.logs = prediction_id, list(logs)
        super().__init__(
            f'No prediction "{prediction_id}".',
            where=", ".join(self.logs) or "no endpoint has a request log yet",
            why=None if self.logs else "nothing was answered yet",
            next="headrace status shows the endpoints; a row of a table: headrace trace TABLE KEY",
        )


class InvalidKeyError(TraceError):
    """The key of a row does not parse, or does not fit the table."""

    code = "invalid_key"

    def __init__(
        self, table: str, text: str, why: str, columns: Iterable[str] = (), name: str = ""
    ) -> None:
        self.table, self.text, self.columns = table, text, list(columns)
        hint = did_you_mean(name, self.columns) if name else None
        super().__init__(
            f'"{text}" is no key of {table}.',
            where=table,
            why=why + (f"; {hint}" if hint else ""),
            next=f"headrace trace {table} COLUMN=VALUE,COLUMN=VALUE",
        )


class RowNotFoundError(TraceError):
    """The table holds no row of that key."""

    code = "row_not_found"
    status = 404

    def __init__(
        self, table: str, version: int, key: Mapping[str, object], example: Mapping[str, object]
    ) -> None:
        self.table, self.version, self.key, self.example = table, version, dict(key), dict(example)
        super().__init__(
            f"No row {key_text(key)} in {table}.",
            where=f"{table}, version {version}",
            why=f"a row that is there: {key_text(example)}" if example else "the table is empty",
            next=f"SELECT {', '.join(key)} FROM {table} LIMIT 10",
        )


class AmbiguousRowError(TraceError):
    """The key stands for several rows."""

    code = "ambiguous_row"

    def __init__(
        self, table: str, key: Mapping[str, object], rows: int, others: Sequence[str]
    ) -> None:
        self.table, self.key, self.rows, self.others = table, dict(key), rows, list(others)
        super().__init__(
            f"{rows:,} rows of {table} have {key_text(key)}.",
            where=table,
            why="a trace follows one row",
            next=f"headrace trace {table} {key_text(key)},COLUMN=VALUE with one of: "
            + ", ".join(others),
        )


class NoLineageError(TraceError):
    """Nothing is recorded of how the table was written."""

    code = "no_lineage"

    def __init__(self, table: str, version: int) -> None:
        self.table, self.version = table, version
        super().__init__(
            f"Nothing is recorded of how {table} was written.",
            where=f"{table}, version {version}",
            why="lineage is recorded when a table is written through headrace.spark() or a pipeline",
            next=f"write it through headrace.spark(): "
            f'spark.table("{table}").write.mode("overwrite").saveAsTable("{table}")',
        )


class UnknownObjectError(TraceError):
    """Nothing of that name has a lineage."""

    code = "unknown_object"
    status = 404

    def __init__(self, text: str, known: Iterable[str]) -> None:
        self.text, self.known = text, list(known)
        hint = did_you_mean(text, self.known)
        super().__init__(
            f'Nothing called "{text}" has a lineage.',
            why=hint or "no table, model or endpoint has the name, and no such path was read",
            next="headrace status shows tables, models and endpoints",
        )


class UnknownColumnError(TraceError):
    """The table has no such column."""

    code = "unknown_column"
    status = 404

    def __init__(self, table: str, column: str, columns: Sequence[str]) -> None:
        self.table, self.column, self.columns = table, column, list(columns)
        hint = did_you_mean(column, self.columns)
        super().__init__(
            f'{table} has no column "{column}".',
            where=table,
            why=hint or f"its columns: {', '.join(self.columns)}",
            next=f"headrace lineage {table}",
        )


class NotAModelVersionError(TraceError):
    """The model has no such version or alias."""

    code = "not_a_model_version"
    status = 404

    def __init__(self, text: str, cause: HeadraceError) -> None:
        self.text = text
        name = text.partition("@")[0].rpartition("/")[0] or text.partition("@")[0]
        super().__init__(
            cause.what, where=cause.where, why=cause.why, next=f"headrace lineage {name}"
        )


class ViewHasNoLineageError(TraceError):
    """A view holds no rows of its own."""

    code = "view_has_no_lineage"

    def __init__(self, name: str, definition: str) -> None:
        self.name, self.definition = name, definition
        super().__init__(
            f"{name} is a view.",
            where=name,
            why="what reads it is recorded as a read of the tables in its definition: "
            + " ".join(definition.split())[:200],
            next="headrace lineage of one of these tables",
        )
