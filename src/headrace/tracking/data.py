"""Rows of a feature table as a training function gets them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from headrace import lakehouse
from headrace.tracking.errors import (
    DuplicateKeyError,
    EmptyTrainingSetError,
    HoldoutOneClassError,
    LabelError,
    MissingColumnError,
    NotATableError,
    NotATimeError,
    NullKeyError,
    UnsupportedFeatureError,
)
from headrace.tracking.split import identities, split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.tracking.spec import TrainingSpec
    from headrace.workspace import Workspace

Task = Literal["binary", "multiclass", "regression"]

_MOST_CLASSES = 20  # distinct integers up to here are classes, beyond they are a quantity


@dataclass(frozen=True)
class Source:
    """A feature table pinned to one version.

    Attributes:
        name: qualified name.
        location: directory of the Delta log.
        version: the pinned version.
        features: columns to learn from, in the table's order.
        columns: every column that training reads.
    """

    name: str
    location: str
    version: int
    features: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Rows to train on, or rows to measure on.

    Attributes:
        X: features; numbers are float64 with NaN for null, texts are objects.
        y: what is learned: 0 and 1, class codes, or float64 values.
        key: identity columns.
        groups: the group of each row, if the spec names one.
        time: the time of each row, if the spec names one.
        raw_label: the label as the table holds it.
    """

    X: pd.DataFrame
    y: pd.Series
    key: pd.DataFrame
    groups: pd.Series | None
    time: pd.Series | None
    raw_label: pd.Series


@dataclass(frozen=True)
class TrainingData:
    """The two parts, and what the label turned out to be.

    Attributes:
        labels: the classes in the order of their codes, negative first; ``None`` in a regression.
        hashed: columns of the row digest where it is the identity, else ``None``.
    """

    train: Part
    holdout: Part
    task: Task
    labels: tuple[Any, ...] | None
    hashed: tuple[str, ...] | None


def pin(workspace: Workspace, spec: TrainingSpec, version: int | None = None) -> Source:
    """The table of a spec at a version, with every column checked to be there.

    Args:
        workspace: the project.
        spec: what is trained.
        version: the current one if not given.

    Raises:
        VersionNotFoundError: the table does not have that version.
        TableNotFoundError: there is no such table.
        NotATableError: it is a view.
        MissingColumnError: a column that the spec names is not there.
    """
    entry = workspace.catalog.resolve(spec.table)
    name = str(entry.name)
    if entry.location is None:
        raise NotATableError(spec.name, name)
    newest = lakehouse.latest_version(entry.location)
    if newest is None:
        raise EmptyTrainingSetError(spec.name, name, 0, "train on", "")
    version = newest if version is None else lakehouse.check_version(entry.location, version)
    known = list(lakehouse.schema(entry.location, version).names)
    roles: list[tuple[str, Sequence[str]]] = [
        ("label", [spec.label]),
        ("time", [spec.time] if spec.time else []),
        ("group", [spec.group] if spec.group else []),
        ("key", spec.key),
        ("features", spec.features or []),
        ("exclude", spec.exclude),
    ]
    for role, columns in roles:
        for column in columns:
            if column not in known:
                raise MissingColumnError(spec.name, name, version, role, column, known)
    apart = {spec.label, spec.time, spec.group, *spec.key, *spec.exclude}
    features = spec.features or [column for column in known if column not in apart]
    used = {*features, *spec.key, spec.label, spec.time, spec.group}
    columns = tuple(column for column in known if column in used)
    return Source(name, entry.location, version, tuple(features), columns)


def feature_frame(table: pa.Table, columns: Iterable[str], model: str, name: str) -> pd.DataFrame:
    """Columns as features.

    Every number becomes float64, because a column without nulls today may hold some tomorrow
    and a signature of integers could not take them. Booleans stay so while there is no null.

    Raises:
        UnsupportedFeatureError: a column is neither number, text, boolean nor time.
    """
    import pyarrow as pa

    cast = []
    names = list(columns)
    for column in names:
        values = table.column(column)
        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.cast(kind.value_type)
            kind = values.type
        if pa.types.is_boolean(kind):
            cast.append(values if values.null_count == 0 else _as_double(values))
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            cast.append(_as_double(values))
        elif pa.types.is_null(kind):
            cast.append(values.cast(pa.float64()))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            cast.append(values.cast(pa.string()))
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            cast.append(values.cast(pa.timestamp("us")))
        else:
            raise UnsupportedFeatureError(model, name, column, str(kind))
    frame: pd.DataFrame = pa.table(cast, names=names).to_pandas()
    return frame


def _as_double(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    # Unsafe: integers above 2^53 lose their last digits, as in any model.
    return values.cast(pa.float64(), safe=False)


def frame_for(table: pa.Table, types: Mapping[str, str], model: str, name: str) -> pd.DataFrame:
    """The inputs of a logged model, cast to the types of its signature.

    Args:
        table: rows that hold at least the columns of ``types``.
        types: MLflow type name by column.
        model, name: the model and the table, for messages.

    Raises:
        UnsupportedFeatureError: a column does not fit its type.
    """
    frame = feature_frame(table, types, model, name)
    for column, kind in types.items():
        try:
            if kind in ("double", "float", "long", "integer"):
                frame[column] = frame[column].astype(_PANDAS[kind])
        except (ValueError, TypeError) as error:
            raise UnsupportedFeatureError(model, name, column, f"no {kind}: {error}") from error
    return frame


_PANDAS: dict[str, Any] = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
}


def sort_rows(
    table: pa.Table, spec: TrainingSpec, source: Source
) -> tuple[pa.Table, pd.DataFrame, tuple[str, ...] | None]:
    """Rows in the order of their identity, so that a seed means the same in every reading.

    Returns:
        The sorted table, the identity columns, and the columns that were hashed if rows have no
        key: then the identity is a digest and the number of its occurrence.

    Raises:
        NullKeyError, DuplicateKeyError: the key does not identify rows.
    """
    if spec.key:
        _check_nulls(table, {*spec.key, spec.time, spec.group}, spec, source)
        ordered = table.sort_by([(column, "ascending") for column in spec.key])
        key = ordered.select(spec.key).to_pandas()
        repeated = key.duplicated(keep=False)
        if repeated.any():
            row = key[repeated].iloc[0]
            example = ", ".join(f"{column}={row[column]}" for column in spec.key)
            raise DuplicateKeyError(
                spec.name, source.name, source.version, spec.key, example, int(repeated.sum())
            )
        return ordered, key, None
    hashed = source.columns
    key = digest_key(table, hashed)
    order = key.sort_values(["row_digest", "occurrence"]).index.to_numpy()
    return table.take(order), key.loc[order].reset_index(drop=True), hashed


def digest_key(table: pa.Table, hashed: Sequence[str]) -> pd.DataFrame:
    """Identity of rows without a key: columns ``row_digest`` (int64) and ``occurrence``."""
    import pandas as pd

    digests = identities(table.select(list(hashed)).to_pandas()).view("int64")
    key = pd.DataFrame({"row_digest": digests})
    key["occurrence"] = key.groupby("row_digest").cumcount()
    return key


def prepare(table: pa.Table, spec: TrainingSpec, source: Source) -> TrainingData:
    """Check, sort and split the rows of a table.

    Raises:
        TrainingError: a subclass says what is wrong with the rows, the label or the split.
    """
    import pandas as pd

    if table.num_rows == 0:
        raise EmptyTrainingSetError(spec.name, source.name, source.version, "train on", "")
    table, key, hashed = sort_rows(table, spec, source)
    raw = _label(table, spec, source)
    task = task_of(raw, spec)
    labels = None if task == "regression" else _classes(raw, spec, source)
    y = encode(raw, labels)
    features = feature_frame(table, source.features, spec.name, source.name)
    time = table.column(spec.time).to_pandas() if spec.time else None
    groups = table.column(spec.group).to_pandas() if spec.group else None
    if time is not None and not pd.api.types.is_numeric_dtype(time):
        try:
            time = pd.to_datetime(time, format="ISO8601")
        except (ValueError, TypeError) as error:
            raise NotATimeError(
                spec.name, source.name, source.version, str(spec.time), error
            ) from error
    trained, held = split(spec.holdout, time=time, group=groups, key=key, embargo=spec.embargo)

    def part(mask: NDArray[np.bool_]) -> Part:
        return Part(
            X=features[mask].reset_index(drop=True),
            y=y[mask].reset_index(drop=True),
            key=key[mask].reset_index(drop=True),
            groups=None if groups is None else groups[mask].reset_index(drop=True),
            time=None if time is None else time[mask].reset_index(drop=True),
            raw_label=raw[mask].reset_index(drop=True),
        )

    data = TrainingData(part(trained), part(held), task, labels, hashed)
    _check_parts(data, spec, source)
    return data


def task_of(label: pd.Series, spec: TrainingSpec) -> Task:
    """What kind of learning a label asks for, unless the spec says."""
    import pandas as pd

    distinct = label.nunique()
    if spec.task == "regression":
        return "regression"
    counts = pd.api.types.is_integer_dtype(label) and distinct <= _MOST_CLASSES
    classes = pd.api.types.is_bool_dtype(label) or not pd.api.types.is_numeric_dtype(label)
    if spec.task is None and not counts and not classes:
        return "regression"
    return "binary" if distinct <= 2 else "multiclass"


def encode(label: pd.Series, labels: Sequence[Any] | None) -> pd.Series:
    """Class codes in the order of ``labels``, or float64 values."""
    if labels is None:
        return label.astype("float64")
    codes = {value: code for code, value in enumerate(labels)}
    return label.map(codes).astype("int64")


def _label(table: pa.Table, spec: TrainingSpec, source: Source) -> pd.Series:
    import numpy as np
    import pyarrow as pa

    column = table.column(spec.label)
    if column.null_count:
        why = f"it is null in {column.null_count:,} of {table.num_rows:,} rows"
        raise LabelError(spec.name, source.name, source.version, spec.label, why)
    if pa.types.is_nested(column.type):
        why = f"it is a {column.type}; a label is one value a row"
        raise LabelError(spec.name, source.name, source.version, spec.label, why)
    if pa.types.is_decimal(column.type):
        column = _as_double(column)
    label: pd.Series = column.to_pandas().rename(spec.label)
    if label.dtype.kind == "f":
        wild = int((~np.isfinite(label)).sum())
        if wild:
            why = f"it is NaN or infinite in {wild:,} of {table.num_rows:,} rows"
            raise LabelError(spec.name, source.name, source.version, spec.label, why)
    if spec.task == "regression" and label.dtype.kind not in "iufb":
        why = f"it is a {column.type}, and the task is a regression"
        raise LabelError(spec.name, source.name, source.version, spec.label, why)
    return label


def _classes(raw: pd.Series, spec: TrainingSpec, source: Source) -> tuple[Any, ...]:
    found = sorted(raw.unique().tolist())
    why = None
    if len(found) < 2:
        why = f"it is {found[0]!r} in every row"
    elif spec.positive is not None and (len(found) > 2 or spec.positive not in found):
        listed = ", ".join(repr(value) for value in found[:10])
        why = f"`positive: {spec.positive}` is not one of two classes; there are {listed}"
    if why is not None:
        raise LabelError(spec.name, source.name, source.version, spec.label, why)
    if spec.positive is not None:
        found.sort(key=lambda value: value == spec.positive)
    return tuple(found)


def _check_parts(data: TrainingData, spec: TrainingSpec, source: Source) -> None:
    rule = str(spec.holdout)
    at = spec.name, source.name, source.version
    if not len(data.train.y):
        raise EmptyTrainingSetError(*at, "train on", rule)
    if not len(data.holdout.y):
        raise EmptyTrainingSetError(*at, "measure on", rule)
    if data.train.y.nunique() == 1:
        value = data.train.raw_label.tolist()[0]
        why = f"it is {value!r} in all {len(data.train.y):,} rows that are left to train on"
        raise LabelError(*at, spec.label, why)
    if data.labels is not None and data.holdout.y.nunique() == 1:
        value = data.holdout.raw_label.tolist()[0]
        raise HoldoutOneClassError(spec.name, spec.label, value, len(data.holdout.y), rule)


def _check_nulls(
    table: pa.Table, columns: Iterable[str | None], spec: TrainingSpec, source: Source
) -> None:
    for column in sorted(name for name in columns if name is not None):
        nulls = table.column(column).null_count
        if nulls:
            raise NullKeyError(spec.name, source.name, source.version, column, nulls)
