"""What can go wrong between a plan and the tables it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.errors import HeadraceError, did_you_mean


class EngineUnavailableError(HeadraceError):
    """The Spark Connect engine does not start or does not answer."""

    code = "engine_unavailable"
    status = 503

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(
            "The Spark Connect engine is not available.",
            where=address,
            why=reason,
            next="check HEADRACE_ENGINE: `sail`, or the sc:// address of a running server",
        )


class UnsupportedStatementError(HeadraceError):
    """A statement or a call that the engine does not do, or cannot do safely.

    Args:
        statement: its name as the user knows it, such as ``RESTORE`` or ``bucketBy``.
        reason: why it is refused.
        instead: what does the same.
    """

    code = "unsupported_statement"

    def __init__(self, statement: str, reason: str, instead: str) -> None:
        self.statement = statement
        self.reason = reason
        self.instead = instead
        super().__init__(f"{statement} is not supported.", why=reason, next=instead)


class SqlSyntaxError(HeadraceError):
    """SQL text that cannot be read, so that its tables are unknown."""

    code = "sql_syntax_error"

    def __init__(self, sql: str, reason: str) -> None:
        self.sql = sql
        self.reason = reason
        super().__init__(
            "The SQL text cannot be read.",
            where=_shortened(sql),
            why=reason,
            next="correct the text, or write the query with the DataFrame API",
        )


class TableExistsError(HeadraceError):
    """A table is to be created that is there already."""

    code = "table_exists"
    status = 409

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f'The table "{name}" exists already.',
            why="the mode is `error`, which creates a table and never replaces one",
            next='.mode("overwrite"), .mode("append"), or CREATE OR REPLACE TABLE',
        )


class NotATableError(HeadraceError):
    """Rows are to be written to something that holds none."""

    code = "not_a_table"

    def __init__(self, name: str, kind: str, action: str) -> None:
        self.name = name
        self.kind = kind
        self.action = action
        super().__init__(
            f'"{name}" is a {kind}; {action} needs a table.',
            next="write to the table that the view reads",
        )


class SchemaNotFoundError(HeadraceError):
    """There is no schema of that name."""

    code = "schema_not_found"
    status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(
            f'There is no schema "{name}".',
            why=did_you_mean(name.rpartition(".")[2], self.known),
            next="SHOW SCHEMAS",
        )


class SchemaNotEmptyError(HeadraceError):
    """A schema is to be dropped that holds tables or views."""

    code = "schema_not_empty"
    status = 409

    def __init__(self, name: str, held: Sequence[str]) -> None:
        self.name = name
        self.held = tuple(held)
        super().__init__(
            f'The schema "{name}" is not empty.',
            why=f"it holds {', '.join(held)}",
            next=f"DROP SCHEMA {name} CASCADE    # drops them too",
        )


class TableFilesGoneError(HeadraceError):
    """The catalog has the table, and no Delta log lies where it should."""

    code = "table_files_gone"
    status = 404

    def __init__(self, name: str, location: str) -> None:
        self.name = name
        self.location = location
        super().__init__(
            f"The files of {name} are gone.",
            where=location,
            why="the directory was deleted or moved, and the catalog still has the name",
            next=f"put it back; or type headrace run, which makes a table of the pipeline again; "
            f"or forget the name with DROP TABLE {name}",
        )


class LocationHoldsTableError(HeadraceError):
    """A new table is to lie where a Delta table lies that has no name."""

    code = "location_holds_table"
    status = 409

    def __init__(self, location: str, name: str) -> None:
        self.location = location
        self.name = name
        super().__init__(
            f"{name} would replace a Delta table that is there already.",
            where=location,
            why="rows that the catalog has no name for are not removed unasked",
            next=f"CREATE TABLE {name} USING delta LOCATION '{location}' takes the table as it is; "
            "CREATE OR REPLACE TABLE, or mode overwrite, replaces it",
        )


class SchemaMismatchError(HeadraceError):
    """The columns to be written are not the table's."""

    code = "schema_mismatch"

    def __init__(
        self,
        table: str,
        *,
        missing: Sequence[str] = (),
        extra: Sequence[str] = (),
        changed: Sequence[str] = (),
        next: str,
    ) -> None:
        self.table = table
        self.missing = tuple(missing)
        self.extra = tuple(extra)
        self.changed = tuple(changed)
        parts = [
            f"{label}: {', '.join(names)}"
            for label, names in (
                ("not in the rows", missing),
                ("not in the table", extra),
                ("of another type", changed),
            )
            if names
        ]
        super().__init__(
            "The rows do not have the table's columns.",
            where=table,
            why="; ".join(parts) or "the number of columns differs",
            next=next,
        )


class ColumnNotFoundError(HeadraceError):
    """A statement names a column that its table lacks."""

    code = "column_not_found"

    def __init__(self, column: str, table: str, known: Iterable[str]) -> None:
        self.column = column
        self.table = table
        self.known = list(known)
        super().__init__(
            f'The table has no column "{column}".',
            where=table,
            why=did_you_mean(column, self.known) or f"its columns are {', '.join(self.known)}",
            next=f"DESCRIBE {table}",
        )


class RowsOutsideError(HeadraceError):
    """Rows are to replace a part of a table and do not all belong to that part."""

    code = "rows_outside"

    def __init__(self, table: str, condition: str) -> None:
        self.table = table
        self.condition = condition
        super().__init__(
            "A row lies outside of the part of the table that it is to replace.",
            where=table,
            why=f"replaceWhere is {condition}",
            next="filter the rows by the same condition",
        )


class PathNotFoundError(HeadraceError):
    """A path is read that holds no file. The engine itself would answer with no rows."""

    code = "path_not_found"
    status = 404

    def __init__(self, path: str, resolved: str, reason: str = "no such file or directory") -> None:
        self.path = path
        self.resolved = resolved
        super().__init__(
            f'There is nothing to read at "{path}".',
            where=resolved,
            why=reason,
            next="check the path; a relative one starts at the project directory",
        )


class UnreadableFileError(HeadraceError):
    """One of the files of a read is not what its format says."""

    code = "unreadable_file"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            "A file cannot be read.",
            where=path,
            why=reason,
            next="restore the file, or move it out of the directory",
        )


class InvalidTimestampError(HeadraceError):
    """Text after ``TIMESTAMP AS OF`` that is no moment."""

    code = "invalid_timestamp"

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f'"{text}" is not a timestamp.',
            next="write 2026-01-31 or 2026-01-31 12:00:00, in UTC unless it ends in a zone",
        )


class InvalidVersionError(HeadraceError):
    """The read option ``versionAsOf`` holds no version."""

    code = "invalid_version"

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f'versionAsOf "{text}" is no Delta version.',
            next="write a number such as 3; DESCRIBE HISTORY lists them",
        )


class StreamOutsidePipelineError(HeadraceError):
    """A streaming read was executed like a batch."""

    code = "stream_outside_pipeline"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            "A streaming read runs only in a pipeline.",
            where=name,
            why="outside one, nothing remembers which rows were read already",
            next="use spark.read here, or define a streaming table in transformations/",
        )


class AnalysisOnlyError(HeadraceError):
    """Something was to be written while definitions were only being read."""

    code = "analysis_only"

    def __init__(self, action: str) -> None:
        self.action = action
        super().__init__(
            f"{action} cannot run while the pipeline's definitions are read.",
            why="a definition returns a DataFrame; the pipeline decides when its rows are written",
            next="return the DataFrame, or move the write into a script of its own",
        )


class ViewCycleError(HeadraceError):
    """A view reads itself."""

    code = "view_cycle"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(
            "A view reads itself.",
            where=" -> ".join(names),
            next="CREATE OR REPLACE VIEW one of them over tables",
        )


def _shortened(sql: str) -> str:
    line = " ".join(sql.split())
    return line if len(line) <= 200 else line[:197] + "..."
