"""What can go wrong between an input table and its predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headrace.errors import HeadraceError, did_you_mean


def row_text(row: Mapping[str, object]) -> str:
    """A row's key as ``a=1,b=2``, the form that ``headrace trace`` takes."""
    return ",".join(f"{name}={value}" for name, value in row.items())


class ScoringError(HeadraceError):
    """Base of the errors of batch scoring; each knows the table of predictions it concerns."""

    code = "scoring_error"


class NoKeyError(ScoringError):
    """Neither the project nor the model says what identifies a row."""

    code = "no_key"

    def __init__(self, table: str, model: str, columns: Sequence[str]) -> None:
        self.table, self.model, self.columns = table, model, list(columns)
        super().__init__(
            f"No key for the predictions {table}.",
            where=f'headrace.yaml, predictions, "{table}"',
            why=f"the model {model} records no key either",
            next=f"add `key: [...]` with columns of the input: {', '.join(columns)}",
        )


class MissingColumnsError(ScoringError):
    """The input table lacks columns that the key, the model or the project names."""

    code = "missing_columns"

    def __init__(
        self, table: str, input_table: str, role: str, missing: Sequence[str], known: Iterable[str]
    ) -> None:
        self.table, self.input_table, self.role = table, input_table, role
        self.missing, self.known = list(missing), list(known)
        hints = filter(None, (did_you_mean(name, self.known) for name in self.missing))
        super().__init__(
            f"{input_table} has no column {', '.join(self.missing)}.",
            where=f"predictions {table}",
            why=f"the {role} needs it" + "".join(f"; {hint}" for hint in hints),
            next=f"DESCRIBE {input_table} shows its columns; refresh it, or score another table",
        )


class KeyTypeError(ScoringError):
    """A key column whose type cannot identify a row."""

    code = "key_type"

    def __init__(self, table: str, column: str, type_name: str) -> None:
        self.table, self.column, self.type_name = table, column, type_name
        super().__init__(
            f'"{column}" of type {type_name} cannot be part of a key.',
            where=f"predictions {table}",
            why="two equal floating point or nested values do not always compare equal",
            next="name key columns of type string, integer, boolean, date, timestamp or decimal",
        )


class NullKeyError(ScoringError):
    """Rows of the input have no key."""

    code = "null_key"

    def __init__(self, table: str, input_table: str, key: Sequence[str], rows: int) -> None:
        self.table, self.input_table, self.key, self.rows = table, input_table, list(key), rows
        missing = " OR ".join(f"{name} IS NULL" for name in key)
        super().__init__(
            f"{rows:,} row{'s' if rows != 1 else ''} of {input_table} have no value in the key "
            f"({', '.join(key)}).",
            where=f"predictions {table}",
            why="a prediction must say which row it is for",
            next=f"look at: SELECT * FROM {input_table} WHERE {missing}",
        )


class DuplicateKeyError(ScoringError):
    """Several rows of the input share a key."""

    code = "duplicate_key"

    def __init__(
        self, table: str, input_table: str, example: Mapping[str, object], copies: int, keys: int
    ) -> None:
        self.table, self.input_table, self.example = table, input_table, dict(example)
        self.copies, self.keys = copies, keys
        super().__init__(
            f"{keys:,} key{'s' if keys != 1 else ''} of {input_table} stand for more than one row.",
            where=f"predictions {table}",
            why=f"{row_text(example)} is there {copies} times",
            next=f'add a column to `key:` of "{table}" in headrace.yaml, or remove the duplicates',
        )


class InputNotTableError(ScoringError):
    """The input is a view, or the table of predictions itself."""

    code = "input_not_table"

    def __init__(self, table: str, input_table: str, why: str) -> None:
        self.table, self.input_table = table, input_table
        super().__init__(
            f"{input_table} cannot be scored into {table}.",
            where=f"predictions {table}",
            why=why,
            next="score a table: write the view as a materialized view of the pipeline",
        )


class NotPredictionsError(ScoringError):
    """The output exists and holds something else."""

    code = "not_predictions"

    def __init__(self, table: str, location: str) -> None:
        self.table, self.location = table, location
        super().__init__(
            f"{table} exists and is not a table of predictions.",
            where=location,
            why="it has no columns model_id and row_digest, and scoring would replace its rows",
            next="choose another name under `predictions:` in headrace.yaml",
        )


class NoSignatureError(ScoringError):
    """The model does not say which columns it needs."""

    code = "no_signature"

    def __init__(self, table: str, model: str, why: str) -> None:
        self.table, self.model = table, model
        super().__init__(
            f"{model} does not name its input columns.",
            where=f"predictions {table}",
            why=why,
            next="log the model with a signature: mlflow.models.infer_signature(X, predictions)",
        )


class PredictionColumnsError(ScoringError):
    """What the model returns does not fit a table."""

    code = "prediction_columns"

    def __init__(self, table: str, model: str, why: str) -> None:
        self.table, self.model = table, model
        super().__init__(
            f"The predictions of {model} do not fit the table {table}.",
            where=f"predictions {table}",
            why=why,
            next=f'load it and look: mlflow.pyfunc.load_model("models:/{model}").predict(rows)',
        )


class KernelTooLargeError(ScoringError):
    """A kernel that cannot be sent along with the function that runs it."""

    code = "kernel_too_large"

    def __init__(self, table: str, model: str, size: int, limit: int) -> None:
        self.table, self.model, self.size, self.limit = table, model, size, limit
        super().__init__(
            f"The kernel of {model} is too large for a remote engine.",
            where=f"predictions {table}, unchanged",
            why=f"it has {size / 2**20:,.0f} MiB, and {limit / 2**20:,.0f} MiB can be sent",
            next=f"score it here: HEADRACE_ENGINE=sail headrace score {table}",
        )


class ScoringFailedError(ScoringError):
    """Reading, predicting or writing failed; the table is as it was."""

    code = "scoring_failed"

    def __init__(self, table: str, model: str, input_table: str, why: str) -> None:
        self.table, self.model, self.input_table = table, model, input_table
        super().__init__(
            f"Scoring {input_table} with {model} failed.",
            where=f"predictions {table}, unchanged",
            why=why,
            next=f"mend the cause, then: headrace score {table}",
        )


class RowsNotScoredError(ScoringError):
    """The engine did not score rows that it was given."""

    code = "rows_not_scored"

    def __init__(self, model: str, why: str) -> None:
        self.model = model
        super().__init__(
            f"{model} does not score the rows that it was given.",
            where="batch scoring on the engine",
            why=why,
            next=f"headrace parity {model}",
        )


class ScoringInProgressError(ScoringError):
    """Another process scores the same table now."""

    code = "scoring_in_progress"
    status = 409

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(
            f"{table} is being scored by another process.",
            where=f"predictions {table}",
            why="one scoring a table at a time",
            next="wait for it, then type the command again",
        )
