"""A model's input signature: typing the rows of a request, with errors that name the column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.payloads.codec import MISSING
from headrace.payloads.errors import InvalidInputError, ModelNotServableError
from headrace.payloads.values import TYPES, column_of

if TYPE_CHECKING:
    import pandas as pd

    from headrace.payloads.codec import Payload


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
class Signature:
    """The inputs of a model, in the order in which it wants them."""

    fields: tuple[Field, ...]

    @classmethod
    def of_mlflow(cls, schema: Any, model: str) -> Signature:
        """From an ``mlflow.types.Schema``.

        Raises:
            ModelNotServableError: the model has no signature, or one without inputs.
        """
        if schema is None or not schema.inputs:
            raise ModelNotServableError(
                model,
                "it has no signature, so that requests cannot be checked",
                "log it with a signature: mlflow.models.infer_signature(X, predictions)",
            )
        if schema.is_tensor_spec():
            return cls(
                tuple(
                    Field(spec.name, str(spec.type), shape=tuple(spec.shape))
                    for spec in schema.inputs
                )
            )
        return cls(
            tuple(
                Field(
                    spec.name,
                    text if (text := getattr(spec.type, "name", "any")) in TYPES else "any",
                    spec.required,
                )
                for spec in schema.inputs
            )
        )

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

    def typed(self, payload: Payload) -> Any:
        """The model's input: a DataFrame of these columns, or arrays for a tensor signature.

        Columns that the model does not know are left out.

        Raises:
            InvalidInputError: a column is missing, or a value does not fit its type.
        """
        if self.is_tensor:
            return self._tensors(payload)
        return self._frame(payload)

    def _frame(self, payload: Payload) -> pd.DataFrame:
        import pandas as pd

        positions = self._positions(payload)
        columns: dict[Any, Any] = {}
        for index, (field, position) in enumerate(zip(self.fields, positions, strict=True)):
            if position is None:
                continue
            values = [row[position] for row in payload.rows]
            name = field.name if field.name is not None else index
            columns[name] = column_of(
                field.type, values, str(name), text=payload.text, required=field.required
            )
        return pd.DataFrame(columns, index=range(len(payload.rows)))

    def _positions(self, payload: Payload) -> list[int | None]:
        """Where each field stands in a row; ``None`` for an optional one that is absent."""
        if not self.named:
            width = len(self.fields)
            for index, row in enumerate(payload.rows):
                if len(row) != width:
                    raise InvalidInputError(f"row {index} has {len(row)} values, the model {width}")
            return list(range(width))
        if payload.columns is None:
            raise InvalidInputError(
                "the columns have no names, and the model finds its inputs by name",
                column=self.fields[0].name,
            )
        places = {name: index for index, name in enumerate(payload.columns)}
        absent = [f.name for f in self.fields if f.required and f.name not in places]
        if absent:
            listed = ", ".join(str(name) for name in absent[:10])
            raise InvalidInputError(
                f"missing columns: {listed}" if absent[1:] else "the column is missing",
                column=absent[0],
            )
        return [places.get(str(field.name)) for field in self.fields]

    def _tensors(self, payload: Payload) -> Any:
        if not self.named:
            source = payload.tensor if payload.tensor is not None else list(payload.rows)
            return _array(self.fields[0], source, "inputs")
        if payload.columns is None:
            raise InvalidInputError("the inputs have no names", column=self.fields[0].name)
        absent = [field.name for field in self.fields if field.name not in payload.columns]
        if absent:
            raise InvalidInputError("the input is missing", column=absent[0])
        arrays = {}
        for field in self.fields:
            position = payload.columns.index(str(field.name))
            values = [row[position] for row in payload.rows]
            for index, value in enumerate(values):
                if value is MISSING:
                    raise InvalidInputError("the value is missing", column=field.name, row=index)
            arrays[field.name] = _array(field, values, str(field.name))
        return arrays


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
