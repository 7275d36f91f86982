"""A model's signature as JSON Schema: what each form of a request holds, and its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from headrace.payloads.signature import Field, Parameter, Signature

Schema = dict[str, Any]

_LARGEST_FLOAT: Final = 3.4028234663852886e38
#: Each scalar type, without null.
_SCALARS: Final[dict[str, Schema]] = {
    "double": {"type": "number", "format": "double"},
    "float": {
        "type": "number",
        "format": "float",
        "minimum": -_LARGEST_FLOAT,
        "maximum": _LARGEST_FLOAT,
    },
    "long": {
        "type": "integer",
        "format": "int64",
        "minimum": -(2**63),
        "maximum": 2**63 - 1,
    },
    "integer": {
        "type": "integer",
        "format": "int32",
        "minimum": -(2**31),
        "maximum": 2**31 - 1,
    },
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "datetime": {"type": "string", "format": "date-time"},
}
#: Types that have no null of their own.
_NEVER_NULL: Final = frozenset({"long", "integer", "boolean"})


def scalar(kind: str, *, null: bool) -> Schema:
    """A value of one of MLflow's types; anything for types that only MLflow checks."""
    schema = dict(_SCALARS.get(kind, {}))
    if null and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


def of_field(field: Field) -> Schema:
    """A value of a column, or a tensor."""
    if field.shape is not None:
        return tensor(field.type, field.shape)
    return scalar(field.type, null=not field.required or field.type not in _NEVER_NULL)


def tensor(dtype: str, shape: Sequence[int]) -> Schema:
    """Nested lists; a length of -1 is any."""
    kind = "number" if dtype.startswith(("float", "int", "uint")) else None
    schema: Schema = {"type": "boolean"} if dtype == "bool" else {"type": kind} if kind else {}
    if dtype.startswith(("int", "uint")):
        schema = {"type": "integer"}
    for length in reversed(tuple(shape)):
        schema = {"type": "array", "items": schema}
        schema["minItems"] = 1 if length < 0 else length
        if length >= 0:
            schema["maxItems"] = length
    return schema


def record(fields: Sequence[Field]) -> Schema:
    """One row by column name. Other columns may be there: they are logged with the request."""
    return {
        "type": "object",
        "properties": {str(field.name): of_field(field) for field in fields},
        "required": [str(field.name) for field in fields if field.required],
    }


def row(fields: Sequence[Field]) -> Schema:
    """One row as a list, in the order of the signature."""
    return {
        "type": "array",
        "prefixItems": [of_field(field) for field in fields],
        "minItems": len(fields),
        "maxItems": len(fields),
    }


def rows(schema: Schema) -> Schema:
    """At least one of what a schema describes."""
    return {"type": "array", "items": schema, "minItems": 1}


def split(signature: Signature, row_schema: Schema) -> Schema:
    """pandas' split orientation."""
    properties: Schema = {"data": rows(row_schema)}
    required = ["data"]
    if signature.named:
        names = [str(field.name) for field in signature.fields]
        properties["columns"] = {
            "type": "array",
            "prefixItems": [{"type": "string", "const": name} for name in names],
            "minItems": len(names),
            "maxItems": len(names),
        }
        required.append("columns")
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def columns(fields: Sequence[Field]) -> Schema:
    """A list a column, all of one length; a tensor each where the model takes tensors."""
    return {
        "type": "object",
        "properties": {
            str(field.name): of_field(field) if field.shape is not None else rows(of_field(field))
            for field in fields
        },
        "required": [str(field.name) for field in fields if field.required],
    }


def params(parameters: Sequence[Parameter]) -> Schema:
    """MLflow's inference parameters."""
    return {
        "type": "object",
        "properties": {
            parameter.name: scalar(parameter.type, null=False) | _default(parameter)
            for parameter in parameters
        },
    }


def prediction(signature: Signature) -> Schema:
    """The prediction of one row, as far as the signature says; NaN and infinity are null."""
    outputs = signature.outputs
    if not outputs:
        return {}
    if outputs[0].name is not None:
        return {
            "type": "object",
            "properties": {str(field.name): _output(field) for field in outputs},
        }
    return _output(outputs[0]) if len(outputs) == 1 else {"type": "array"}


def _output(field: Field) -> Schema:
    if field.shape is not None:
        # Whole numbers of a model may come as what its library has for them.
        return {} if len(field.shape) == 1 else {"type": "array"}
    return scalar(field.type, null=True)


def _default(parameter: Parameter) -> Schema:
    return {} if parameter.default is None else {"default": parameter.default}
