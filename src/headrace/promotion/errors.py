"""Why a candidate cannot be judged, or a verdict not be carried out."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import HeadraceError, did_you_mean


class GateError(HeadraceError):
    """Base of the errors of the gate; each knows the model it concerns."""

    code = "gate_error"
    status = 409
    model: str


def _entry(model: str) -> str:
    return f"headrace.yaml, models, {model}, gate"


def _without_alias(model: str) -> str:
    return f"headrace override {model} --none --reason TEXT"


class MetricTaskError(GateError):
    """The gate names a metric that the model's task does not have."""

    code = "metric_of_another_task"

    def __init__(self, model: str, metric: str, task: str, known: Sequence[str]) -> None:
        self.model, self.metric, self.task, self.known = model, metric, task, list(known)
        super().__init__(
            f"{metric} is no metric of a {task} model.",
            where=_entry(model),
            why=f"for {task} there are {', '.join(known)}",
            next=f"name one of these in {_entry(model)}",
        )


class MetricUndefinedError(GateError):
    """A metric has no value on the hold-out."""

    code = "metric_undefined"

    def __init__(self, model: str, version: str, metric: str) -> None:
        self.model, self.version, self.metric = model, version, metric
        super().__init__(
            f"{metric} of {version} has no value on the hold-out.",
            where=_entry(model),
            why="its scores are no probabilities, or the hold-out lacks what the metric counts",
            next="choose another metric, or return a model with predict_proba",
        )


class NoSignatureError(GateError):
    """A version was logged without a signature, so its inputs are unknown."""

    code = "no_signature"

    def __init__(self, model: str, version: str) -> None:
        self.model, self.version = model, version
        super().__init__(
            f"{version} has no signature.",
            where=f"models:/{version}",
            why="without one the gate cannot know which columns to give it",
            next="log it with signature=mlflow.models.infer_signature(X, y), or let "
            "headrace run train it",
        )


class NoHoldoutError(GateError):
    """The candidate has no frozen hold-out."""

    code = "no_holdout"

    def __init__(self, model: str, version: str) -> None:
        self.model, self.version = model, version
        super().__init__(
            f"{version} has no frozen hold-out.",
            where=f"models:/{version}",
            why="it was not trained and registered by headrace",
            next="headrace run trains a candidate that can be judged",
        )


class ModelNotLoadableError(GateError):
    """A version cannot be loaded to be compared."""

    code = "model_not_loadable"

    def __init__(self, model: str, version: str, why: str) -> None:
        self.model, self.version = model, version
        super().__init__(
            f"{version} cannot be loaded.",
            where=f"models:/{version}",
            why=why,
            next="bring its files back, train again with headrace run --full, or, if it is the "
            f"model in production, remove its alias: {_without_alias(model)}",
        )


class ModelInputError(GateError):
    """A version needs a column that the candidate's table does not have."""

    code = "model_input_missing"

    def __init__(self, model: str, version: str, table: str, missing: Sequence[str]) -> None:
        self.model, self.version, self.table, self.missing = model, version, table, list(missing)
        super().__init__(
            f"{version} cannot be scored on the hold-out.",
            where=table,
            why=f"the table lacks its inputs {', '.join(missing)}",
            next="keep the columns that the model in production needs until it is replaced, or "
            f"remove its alias: {_without_alias(model)}",
        )


class ModelElsewhereError(GateError):
    """The files of a version are not on this machine, where they are measured."""

    code = "model_elsewhere"

    def __init__(self, model: str, version: str, location: str) -> None:
        self.model, self.version, self.location = model, version, location
        super().__init__(
            f"The files of {version} are not on this machine.",
            where=location,
            why="latency and size are measured on them",
            next=f"leave latency_p99 and max_size out of {_entry(model)}, or judge it where "
            "its files are",
        )


class TooManySlicesError(GateError):
    """A slice column has too many values to be one."""

    code = "too_many_slices"

    def __init__(self, model: str, column: str, values: int, most: int) -> None:
        self.model, self.column, self.values, self.most = model, column, values, most
        super().__init__(
            f'Column "{column}" has {values:,} values; slices may have {most}.',
            where=_entry(model),
            why="bounds on that many slices fail by chance alone",
            next="slice by a coarser column",
        )


class ChampionChangedError(GateError):
    """Somebody moved the alias while the gate ran."""

    code = "champion_changed"

    def __init__(self, model: str, alias: str, judged: int | None, now: int | None) -> None:
        self.model, self.alias, self.judged, self.now = model, alias, judged, now

        def text(version: int | None) -> str:
            return "no version" if version is None else f"version {version}"

        super().__init__(
            f"The champion of {model} changed while the gate ran.",
            where=f"{model}@{alias}",
            why=f"the candidate was compared with {text(judged)}; now it is {text(now)}",
            next="headrace run compares it with the new champion",
        )


class FilesChangedError(GateError):
    """Somebody changed the model while the gate ran."""

    code = "files_changed"

    def __init__(self, model: str, version: int, names: list[str]) -> None:
        self.model, self.version, self.names = model, version, names
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        super().__init__(
            f"The files of {model}/{version} changed while the gate ran.",
            where=f"{model}/{version}",
            why=f"they are not those that were judged: {', '.join(names[:5])}{more}",
            next="headrace run judges it again; headrace run --full trains another version",
        )


class GroupUnknownError(GateError):
    """The gate names a group that the project does not have."""

    code = "group_unknown"

    def __init__(self, model: str, group: str, known: Sequence[str]) -> None:
        self.model, self.group, self.known = model, group, list(known)
        super().__init__(
            f'There is no group "{group}" to approve {model}.',
            where=f"headrace.yaml, models, {model}, gate, approvals",
            why=did_you_mean(group, known) or f"groups are: {', '.join(known) or 'none'}",
            next="give the group and its members under groups: in headrace.yaml",
        )


class OverrideReasonError(GateError):
    """An override without a reason."""

    code = "override_reason"
    status = 400

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"An override of {model} needs a reason.",
            why="whoever reads the status, the evidence or the audit log later asks for it",
            next=f'headrace override {model}/VERSION --reason "what happened, and who decided"',
        )


class OverrideNothingError(GateError):
    """The alias is where the override would put it."""

    code = "override_nothing"

    def __init__(self, model: str, alias: str, version: int | None) -> None:
        self.model, self.alias, self.version = model, alias, version
        what = "points nowhere" if version is None else f"points to version {version}"
        super().__init__(
            f"There is nothing to override: {model}@{alias} {what} already.",
            where=f"{model}@{alias}",
            next="headrace status shows the models and their aliases",
        )
