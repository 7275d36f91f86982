"""A model's input signature: typing the rows of a request, with errors that name the column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.payloads.casts import cast_array
from headrace.payloads.codec import check_rows
from headrace.payloads.errors import InvalidInputError, ModelNotServableError
from headrace.payloads.inputs import Inputs, Views
from headrace.payloads.payload import MISSING, ColumnPayload, RowPayload
from headrace.payloads.values import TYPES, column_of

if TYPE_CHECKING:
    import numpy as np

    from headrace.payloads.payload import Payload

#: Types of JSON values that are a double as they are.
_NUMBERS = frozenset({float, int, type(None)})


@dataclass(frozen=True)
class Field:
    """One input: a column, or a tensor where ``shape`` is set.

    Attributes:
        name: ``None`` in a signature without names.
        type: MLflow's data type (``double``, ``long``, ``string`` and so on), a numpy type for
            a tensor, or ``any`` for arrays and objects, which MLflow itself checks.
        required: a request must have it.
        shape: of a tensor; -1 stands for any length.
    """

    name: str | None
    type: str
    required: bool = True
    shape: tuple[int, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """The field as ``GET /endpoints/NAME`` shows it."""
        body: dict[str, Any] = {"name": self.name, "type": self.type, "required": self.required}
        return body if self.shape is None else body | {"shape": list(self.shape)}


@dataclass(frozen=True)
class Parameter:
    """One of the model's inference parameters, with its default."""

    name: str
    type: str
    default: Any = None


@dataclass(frozen=True)
class Signature:
    """The inputs of a model, in the order in which it wants them.

    Attributes:
        fields: the inputs; at least one.
        outputs: what it answers, where the signature says it.
        parameters: what ``params`` of a request can hold.
    """

    fields: tuple[Field, ...]
    outputs: tuple[Field, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    #: The columns of the last request and where each field stands in them: the next is alike.
    _last: list[tuple[tuple[str, ...], list[Any]]] = field(
        default_factory=list, compare=False, repr=False
    )

    @classmethod
    def of_mlflow(cls, schema: Any, model: str) -> Signature:
        """From an ``mlflow.types.Schema``.

        Raises:
            ModelNotServableError: the model has no signature, or one without inputs.
        """
        return cls.of_specification(
            {"inputs": json.dumps(schema.to_dict())} if schema else {}, model
        )

    @classmethod
    def of_model(cls, directory: Path, model: str) -> Signature:
        """From the ``MLmodel`` file of a logged model, without MLflow.

        Raises:
            ModelNotServableError: the file is not there or no ``MLmodel``, or the model has no
                signature, or one without inputs.
        """
        import yaml

        file = directory / "MLmodel"
        try:
            document = yaml.safe_load(file.read_bytes())
            return cls.of_specification(document.get("signature") or {}, model)
        except (OSError, ValueError, AttributeError, KeyError, TypeError, yaml.YAMLError) as error:
            raise ModelNotServableError(
                model, f"{file} cannot be read: {error}", "headrace doctor"
            ) from error

    @classmethod
    def of_specification(cls, specification: Mapping[str, Any], model: str) -> Signature:
        """From ``signature`` of an ``MLmodel`` file: JSON texts of inputs, outputs and params.

        Raises:
            ModelNotServableError: there are no inputs.
        """
        inputs = _fields(specification.get("inputs"))
        if not inputs:
            raise ModelNotServableError(
                model,
                "it has no signature, so that requests cannot be checked",
                "log it with a signature: mlflow.models.infer_signature(X, predictions)",
            )
        parameters = tuple(
            Parameter(entry["name"], str(entry.get("type", "any")), entry.get("default"))
            for entry in json.loads(specification.get("params") or "[]")
        )
        return cls(inputs, _fields(specification.get("outputs")), parameters)

    @property
    def named(self) -> bool:
        """Whether inputs are found by name; else by position."""
        return self.fields[0].name is not None

    @property
    def is_tensor(self) -> bool:
        """Whether the model takes arrays rather than a table."""
        return self.fields[0].shape is not None

    def as_json(self) -> list[dict[str, Any]]:
        """The fields as ``GET /endpoints/NAME`` shows them."""
        return [field.as_json() for field in self.fields]

    def example(self) -> dict[str, Any]:
        """A request of one row with a neutral value of each type."""
        if self.is_tensor:
            arrays = {field.name: _zeros(field) for field in self.fields}
            return {"inputs": arrays if self.named else next(iter(arrays.values()))}
        split: dict[str, Any] = {"data": [[TYPES.get(field.type) for field in self.fields]]}
        if self.named:
            split["columns"] = [field.name for field in self.fields]
        return {"dataframe_split": split}

    def typed(self, payload: Payload) -> Inputs:
        """The model's input: its columns, or arrays for a tensor signature.

        Columns that the model does not know are left out.

        Raises:
            InvalidInputError: a column is missing, or a value does not fit its type.
            MalformedRequestError: there are more rows than one request can have.
        """
        check_rows(payload.rows_count)
        if self.is_tensor:
            return Inputs(payload.rows_count, {}, self._tensors(payload))
        places = self._places(payload)
        if self._all_double and not payload.text and None not in places:
            matrix = _matrix(payload, places)
            if matrix is not None:
                return Inputs(len(matrix), Views(self._names, matrix), matrix=matrix)
        return Inputs(payload.rows_count, self._columns(payload, places))

    @cached_property
    def _names(self) -> tuple[str | int, ...]:
        return tuple(
            index if spec.name is None else spec.name for index, spec in enumerate(self.fields)
        )

    @cached_property
    def _all_double(self) -> bool:
        return all(spec.type == "double" for spec in self.fields)

    def _columns(self, payload: Payload, places: list[Any]) -> dict[str | int, np.ndarray]:
        columns: dict[str | int, np.ndarray] = {}
        typed = isinstance(payload, ColumnPayload)
        for name, spec, place in zip(self._names, self.fields, places, strict=True):
            if place is None:
                continue
            values = payload.column(place)
            if typed and hasattr(values, "dtype"):
                columns[name] = cast_array(spec.type, values, str(name), required=spec.required)
            else:
                columns[name] = column_of(
                    spec.type, values, str(name), text=payload.text, required=spec.required
                )
        return columns

    def _places(self, payload: Payload) -> list[Any]:
        """Where each field stands in a row; ``None`` for an optional one that is absent."""
        if not self.named:
            width = len(self.fields)
            for row in range(payload.rows_count):
                if payload.width(row) != width:
                    raise InvalidInputError(
                        f"row {row} has {payload.width(row)} values, the model {width}"
                    )
                if isinstance(payload, ColumnPayload):
                    break
            return list(range(width))
        columns = payload.columns
        if columns is None:
            raise InvalidInputError(
                "the columns have no names, and the model finds its inputs by name",
                column=self.fields[0].name,
            )
        last = self._last[0] if self._last else None
        if last is not None and last[0] == columns:
            return last[1]
        places = {name: index for index, name in enumerate(columns)}
        absent = [f.name for f in self.fields if f.required and f.name not in places]
        if absent:
            listed = ", ".join(str(name) for name in absent[:10])
            raise InvalidInputError(
                f"missing columns: {listed}" if absent[1:] else "the column is missing",
                column=absent[0],
            )
        found = [places.get(str(spec.name)) for spec in self.fields]
        self._last[:] = [(columns, found)]
        return found

    def _tensors(self, payload: Payload) -> Any:
        if not self.named:
            source = payload.tensor
            if source is None and isinstance(payload, RowPayload):
                source = list(payload.rows)
            elif source is None:
                source = _stacked(payload)
            return _array(self.fields[0], source, "inputs")
        if payload.columns is None:
            raise InvalidInputError("the inputs have no names", column=self.fields[0].name)
        absent = [spec.name for spec in self.fields if spec.name not in payload.columns]
        if absent:
            raise InvalidInputError("the input is missing", column=absent[0])
        arrays = {}
        for spec in self.fields:
            values = payload.column(payload.columns.index(str(spec.name)))
            if isinstance(values, list):
                for index, value in enumerate(values):
                    if value is MISSING:
                        raise InvalidInputError("the value is missing", column=spec.name, row=index)
            arrays[spec.name] = _array(spec, values, str(spec.name))
        return arrays


def _fields(text: str | None) -> tuple[Field, ...]:
    """Of MLflow's JSON of a schema."""
    return tuple(_field(entry) for entry in json.loads(text or "[]"))


def _field(entry: Mapping[str, Any]) -> Field:
    if entry["type"] == "tensor":
        spec = entry["tensor-spec"]
        return Field(entry.get("name"), spec["dtype"], shape=tuple(spec["shape"]))
    kind = entry["type"] if entry["type"] in TYPES else "any"
    return Field(entry.get("name"), kind, bool(entry.get("required", True)))


def _matrix(payload: Payload, places: Sequence[int]) -> np.ndarray | None:
    """Rows of numbers as doubles, a column a field; ``None``: look at each value."""
    import numpy as np

    if isinstance(payload, RowPayload):
        lists = payload.rows
        if places != list(range(len(lists[0]))):
            pick = itemgetter(*places)
            lists = list(map(pick, lists)) if len(places) > 1 else [(pick(row),) for row in lists]
    else:
        lists = [payload.column(place) for place in places]
        if set(map(type, lists)) != {list}:
            return None
    types = set(map(type, lists[0] if len(lists) == 1 else chain.from_iterable(lists)))
    if not types <= _NUMBERS:
        return None
    try:
        matrix = np.array(lists, dtype=np.float64)
    except OverflowError:
        return None  # a whole number that no double can hold
    return matrix if isinstance(payload, RowPayload) else np.ascontiguousarray(matrix.T)


def _stacked(payload: Payload) -> np.ndarray:
    import numpy as np

    return np.column_stack([payload.column(index) for index in range(payload.width(0))])


def _zeros(field: Field) -> Any:
    import numpy as np

    shape = tuple(1 if length < 0 else length for length in field.shape or (1,))
    return np.zeros(shape).tolist()


def _array(field: Field, values: Any, name: str) -> Any:
    import numpy as np

    kind = np.dtype(field.type).kind
    try:
        found = np.asarray(values)
        if found.dtype.kind not in "biuf" and kind in "biuf":
            raise ValueError("it has values that are no numbers")
        with np.errstate(invalid="ignore"):  # what does not fit is found by comparing
            array = found.astype(field.type)
        if kind in "biu" and not np.array_equal(array, found):
            raise ValueError("it has values that the type cannot hold")
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInputError(f"no {field.type} array: {error}", column=name) from None
    expected = field.shape or ()
    fits = len(array.shape) == len(expected) and all(
        want in (-1, have) for want, have in zip(expected, array.shape, strict=True)
    )
    if not fits:
        raise InvalidInputError(
            f"shape {list(array.shape)}, the model wants {list(expected)}", column=name
        )
    return array
