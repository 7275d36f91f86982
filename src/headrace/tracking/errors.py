"""What can be wrong with the data, the code or the model of a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.errors import HeadraceError, did_you_mean


class TrainingError(HeadraceError):
    """Base of the errors of training; each knows the model it concerns."""

    code = "training_error"
    model: str


def _entry(model: str) -> str:
    return f"headrace.yaml, models, {model}"


class MissingColumnError(TrainingError):
    """The table lacks a column that the model names."""

    code = "missing_column"

    def __init__(
        self, model: str, table: str, version: int, role: str, column: str, known: Iterable[str]
    ) -> None:
        self.model, self.table, self.version = model, table, version
        self.role, self.column = role, column
        columns = sorted(known)
        super().__init__(
            f'{table} has no column "{column}", the {role} of model {model}.',
            where=f"{table} at version {version}",
            why=did_you_mean(column, columns) or f"its columns are {', '.join(columns)}",
            next=f"mend {role} in {_entry(model)}, or the code that makes {table}",
        )


class NotATableError(TrainingError):
    """Training needs rows that can be read again later, which a view does not promise."""

    code = "not_a_table"

    def __init__(self, model: str, view: str) -> None:
        self.model, self.view = model, view
        super().__init__(
            f"{view} is a view; model {model} needs a table.",
            where=_entry(model),
            why="a view has no versions, so its rows could not be read again for the gate",
            next="make it a materialized view in the pipeline",
        )


class EmptyTrainingSetError(TrainingError):
    """No rows to train on, or none to measure on."""

    code = "empty_training_set"

    def __init__(self, model: str, table: str, version: int, part: str, rule: str) -> None:
        self.model, self.table, self.version, self.part = model, table, version, part
        super().__init__(
            f"Model {model} has no rows to {part}.",
            where=f"{table} at version {version}",
            why=f"the hold-out rule ({rule}) leaves none" if rule else "the table is empty",
            next=f"look at the rows: headrace status; the rule is `holdout` in {_entry(model)}",
        )


class LabelError(TrainingError):
    """The label column cannot be learned from."""

    code = "unusable_label"

    def __init__(self, model: str, table: str, version: int, label: str, why: str) -> None:
        self.model, self.table, self.version, self.label = model, table, version, label
        super().__init__(
            f'Label "{label}" of model {model} cannot be learned.',
            where=f"{table} at version {version}",
            why=why,
            next=f"mend the code that makes {table}, or `label` in {_entry(model)}",
        )


class HoldoutOneClassError(TrainingError):
    """A hold-out of one class tells nothing about a classifier."""

    code = "holdout_one_class"

    def __init__(self, model: str, label: str, value: object, rows: int, rule: str) -> None:
        self.model, self.label, self.value, self.rows = model, label, value, rows
        super().__init__(
            f"The hold-out of model {model} holds one class only.",
            where=f"{rows:,} rows chosen by {rule}",
            why=f'"{label}" is {value} in every row, so neither recall nor ranking is defined',
            next=f"choose a larger or another `holdout` in {_entry(model)}",
        )


class UnsupportedFeatureError(TrainingError):
    """A feature column has a type that no model signature can name."""

    code = "unsupported_feature"

    def __init__(self, model: str, table: str, column: str, kind: str) -> None:
        self.model, self.table, self.column, self.kind = model, table, column, kind
        super().__init__(
            f'Column "{column}" of {table} is a {kind}; a feature is a number, a text or a time.',
            where=_entry(model),
            why="it is among the features because neither `features` nor `exclude` say otherwise",
            next=f"add {column} to `exclude`",
        )


class DuplicateKeyError(TrainingError):
    """The key does not identify rows, so that the hold-out could not be found again."""

    code = "duplicate_key"

    def __init__(
        self, model: str, table: str, version: int, key: Sequence[str], example: str, rows: int
    ) -> None:
        self.model, self.table, self.version, self.key = model, table, version, list(key)
        super().__init__(
            f"The key ({', '.join(key)}) of model {model} does not identify a row.",
            where=f"{table} at version {version}",
            why=f"{rows:,} rows share a key, for example {example}",
            next=f"remove the duplicates in the pipeline, or name more columns in {_entry(model)}",
        )


class NullKeyError(TrainingError):
    """A key, time or group column holds nulls."""

    code = "null_key"

    def __init__(self, model: str, table: str, version: int, column: str, rows: int) -> None:
        self.model, self.table, self.column, self.rows = model, table, column, rows
        super().__init__(
            f'Column "{column}" of {table} is null in {rows:,} rows.',
            where=f"{table} at version {version}",
            why=f"model {model} uses it to identify or to split rows",
            next="drop these rows in the pipeline, for example with a `drop` expectation",
        )


class NotATimeError(TrainingError):
    """The time column holds no times."""

    code = "not_a_time"

    def __init__(
        self, model: str, table: str, version: int, column: str, error: BaseException
    ) -> None:
        self.model, self.table, self.version, self.column = model, table, version, column
        super().__init__(
            f'Column "{column}" of {table}, the time of model {model}, holds no times.',
            where=f"{table} at version {version}",
            why=str(error).splitlines()[0],
            next=f"make it a timestamp in the pipeline, or mend `time` in {_entry(model)}",
        )


class TrainingSourceError(TrainingError):
    """The training file or its function is not there, or cannot be loaded."""

    code = "training_source"

    def __init__(self, model: str, where: str, why: str) -> None:
        self.model = model
        super().__init__(
            f"The training function of model {model} cannot be loaded.",
            where=where,
            why=why,
            next=f"mend the file, or `train` in {_entry(model)}",
        )


class EnvironmentDriftError(TrainingError):
    """What is installed is not the project's lock.

    Attributes:
        changed: what requirements.txt asks for and the lock does not have.
        drift: what is missing, or installed at another version.
    """

    code = "environment_drift"

    def __init__(
        self, model: str, where: str, changed: Sequence[str], drift: Sequence[str]
    ) -> None:
        self.model, self.changed, self.drift = model, list(changed), list(drift)
        lines = [*changed, *drift]
        step = "headrace lock" if changed else "python -m uv pip install -r requirements.lock"
        super().__init__(
            f"Model {model} is not trained in an environment that is not the lock.",
            where=where,
            why="\n         ".join(lines),
            next=f"{step}; to train all the same, on the record: headrace run --allow-drift",
        )


class TrainingFailedError(TrainingError):
    """The user's training function raised."""

    code = "training_failed"

    def __init__(self, model: str, where: str, error: BaseException) -> None:
        self.model, self.error = model, error
        super().__init__(
            f"Training of model {model} failed.",
            where=where,
            why=f"{type(error).__name__}: {error}",
            next="mend the function and type: headrace run (with --debug for the stack trace)",
        )


class UnsupportedModelError(TrainingError):
    """What the training function returned is no model that can be logged."""

    code = "unsupported_model"

    def __init__(self, model: str, where: str, why: str) -> None:
        self.model = model
        super().__init__(
            f"Model {model} cannot be logged.",
            where=where,
            why=why,
            next="return a fitted scikit-learn, LightGBM or XGBoost model, or an "
            "mlflow.pyfunc.PythonModel",
        )


class DiskFullError(TrainingError):
    """No space is left for the files or the record of a run."""

    code = "disk_full"

    def __init__(self, model: str, where: str, error: BaseException) -> None:
        self.model = model
        super().__init__(
            f"Model {model} was not trained: the disk is full.",
            where=where,
            why=f"{str(error).splitlines()[0]}; its earlier versions are as they were",
            next="free some space, then type: headrace run",
        )


class ModelCannotPredictError(TrainingError):
    """The model fails on rows of its table, or what it says of them are no scores."""

    code = "model_cannot_predict"

    def __init__(self, model: str, where: str, why: str) -> None:
        self.model = model
        super().__init__(
            f"Model {model} cannot predict the rows it is measured on.",
            where=where,
            why=why,
            next="mend the training function so that its model takes every row of the table, then "
            "type: headrace run (with --debug for the stack trace)",
        )


class HoldoutLostError(TrainingError):
    """The frozen hold-out cannot be read as it was."""

    code = "holdout_lost"

    def __init__(self, model: str, where: str, why: str) -> None:
        self.model = model
        super().__init__(
            f"The frozen hold-out of model {model} cannot be read again.",
            where=where,
            why=why,
            next="train again, which freezes a new one: headrace run --full",
        )
