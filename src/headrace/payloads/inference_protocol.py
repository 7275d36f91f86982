"""The dialect of ``POST /v2/models/NAME/infer``: the Open Inference Protocol, version 2.

A table is sent as one tensor a column, of shape ``[n]`` or ``[n, 1]``; rows of numbers alone also
as one matrix, its columns in the order of the signature. A model of tensors gets its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from headrace.payloads.dialect import AnswerContext, Encoded
from headrace.payloads.documents import kind_of, read_json
from headrace.payloads.errors import (
    InvalidInputError,
    MalformedRequestError,
    UnsupportedMediaTypeError,
)
from headrace.payloads.media import media_of
from headrace.payloads.payload import ColumnPayload
from headrace.payloads.tensors import (
    DATATYPES,
    check_shape,
    datatype_of,
    of_bytes,
    of_json,
    to_bytes,
    to_json,
)

if TYPE_CHECKING:
    import numpy as np

    from headrace.errors import HeadraceError
    from headrace.payloads.answer import Answers
    from headrace.payloads.payload import Payload
    from headrace.payloads.signature import Signature

HEADER_LENGTH: Final = "inference-header-content-length"
ID_OUTPUT: Final = "prediction_id"
_MEDIA: Final = frozenset({"", "application/json", "application/octet-stream"})
_FIELDS: Final = frozenset({"id", "parameters", "inputs", "outputs"})
#: Of a request, that mean nothing for models without a state.
_IGNORED: Final = frozenset(
    {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "content_type",
     "headers", "binary_data_output"}
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a request wants of its answer.

    Attributes:
        id: the client's own, or ``None``.
        outputs: the outputs to give, each with whether it is to be bytes; ``None``: all.
        binary: whether outputs that are not named are to be bytes.
    """

    id: str | None
    outputs: Mapping[str, bool] | None
    binary: bool


class InferenceProtocol:
    """JSON tensors and the binary tensor data extension."""

    def decode(self, body: bytes, headers: Mapping[str, str], signature: Signature) -> Payload:
        """Read a request."""
        if media_of(headers) not in _MEDIA:
            raise UnsupportedMediaTypeError(
                headers.get("content-type", ""),
                next="send application/json, or application/octet-stream with binary tensors",
            )
        head, tail = _split(body, headers.get(HEADER_LENGTH))
        document = read_json(head)
        if not isinstance(document, dict):
            raise MalformedRequestError(f"the body is {kind_of(document)}, not an object")
        unknown = sorted(set(document) - _FIELDS)
        if unknown:
            raise MalformedRequestError(f'unknown field "{unknown[0]}"', where=unknown[0])
        parameters = _object(document, "parameters")
        tensors = _tensors(document.get("inputs"), tail)
        asked = Asked(
            _id(document), _outputs(document), parameters.get("binary_data_output") is True
        )
        params = {name: value for name, value in parameters.items() if name not in _IGNORED}
        return _payload(tensors, signature, params or None, asked)

    def encode(self, payload: Payload, answers: Answers, context: AnswerContext) -> Encoded:
        """Write the outputs and ``prediction_id``, or those that were asked for."""
        import numpy as np

        asked: Asked = payload.asked
        arrays = answers.named()
        arrays[ID_OUTPUT] = np.array(context.prediction_ids, dtype=object)
        if asked.outputs is None:
            wanted: Mapping[str, bool] = dict.fromkeys(arrays, asked.binary)
        else:
            wanted = asked.outputs
        tails: list[bytes] = []
        outputs = [_output(name, arrays, binary, tails) for name, binary in wanted.items()]
        document: dict[str, Any] = {
            "model_name": context.endpoint or context.model,
            "model_version": str(context.version),
            "id": asked.id if asked.id is not None else context.request_id,
            "outputs": outputs,
        }
        head = orjson.dumps(document)
        if not tails:
            return Encoded(head, "application/json")
        return Encoded(
            b"".join((head, *tails)),
            "application/octet-stream",
            {HEADER_LENGTH: str(len(head))},
        )

    def refuse(self, error: HeadraceError) -> bytes:
        """``{"error": "..."}``, with what else is known of the error beside it."""
        known = error.as_json()
        where = f" {known['where']}:" if "where" in known else ""
        why = f"{where} {known['why']}" if "why" in known else where
        return orjson.dumps({"error": f"{known['message']}{why}", **known})


def server_metadata(version: str) -> dict[str, Any]:
    """The answer to ``GET /v2``."""
    return {"name": "headrace", "version": version, "extensions": ["binary_tensor_data"]}


def model_metadata(name: str, versions: Sequence[int], signature: Signature) -> dict[str, Any]:
    """The answer to ``GET /v2/models/NAME``; each input is a column, or a tensor of the model."""
    outputs = [
        {"name": field.name or "predictions", "datatype": _datatype(field.type), "shape": [-1]}
        if field.shape is None
        else {
            "name": field.name or "predictions",
            "datatype": _datatype(field.type),
            "shape": list(field.shape),
        }
        for field in signature.outputs
    ]
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": "mlflow",
        "inputs": [
            {
                "name": field.name if field.name is not None else f"input-{at}",
                "datatype": _datatype(field.type),
                "shape": [-1] if field.shape is None else list(field.shape),
            }
            for at, field in enumerate(signature.fields)
        ],
        "outputs": [*outputs, {"name": ID_OUTPUT, "datatype": "BYTES", "shape": [-1]}],
    }


_OF_TYPES: Final = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
}


def _datatype(kind: str) -> str:
    if kind in _OF_TYPES:
        return _OF_TYPES[kind]
    return next((name for name, numpy in DATATYPES.items() if numpy == kind), "BYTES")


def _split(body: bytes, length: str | None) -> tuple[bytes, memoryview]:
    """The JSON and the bytes of tensors behind it."""
    if length is None:
        return body, memoryview(b"")
    if not length.isdecimal() or len(length) > 18 or int(length) > len(body):
        raise MalformedRequestError(
            f"the header says {length[:40]}, the body has {len(body)} bytes",
            where="Inference-Header-Content-Length",
        )
    return body[: int(length)], memoryview(body)[int(length) :]


def _object(holder: Mapping[str, Any], name: str, where: str | None = None) -> dict[str, Any]:
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedRequestError(f"{name} is {kind_of(value)}, not an object", where=where)
    return value


def _id(document: Mapping[str, Any]) -> str | None:
    value = document.get("id")
    if value is not None and not isinstance(value, str):
        raise MalformedRequestError(f"id is {kind_of(value)}, not text", where="id")
    return value or None


def _named(entries: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not entries:
        raise MalformedRequestError(f"{what} is not a list of tensors", where=what)
    seen: set[str] = set()
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise MalformedRequestError("a tensor has no name", where=what)
        if name in seen:
            raise MalformedRequestError(f'"{name}" is there twice', where=what)
        seen.add(name)
    return entries


def _tensors(entries: Any, tail: memoryview) -> dict[str, np.ndarray]:
    arrays = {}
    for entry in _named(entries, "inputs"):
        name, datatype = entry["name"], entry.get("datatype")
        if not isinstance(datatype, str) or datatype not in DATATYPES:
            raise MalformedRequestError(
                f"its datatype is not one of {', '.join(DATATYPES)}", where=f'input "{name}"'
            )
        shape = check_shape(entry.get("shape"), f'input "{name}"')
        size = _object(entry, "parameters", f'input "{name}"').get("binary_data_size")
        if size is None:
            arrays[name] = of_json(entry.get("data"), datatype, shape, name)
            continue
        if type(size) is not int or not 0 <= size <= len(tail):
            raise MalformedRequestError(
                f"binary_data_size is {str(size)[:40]}, {len(tail)} bytes are left",
                where=f'input "{name}"',
            )
        arrays[name] = of_bytes(tail[:size], datatype, shape, name)
        tail = tail[size:]
    if len(tail):
        raise MalformedRequestError(f"{len(tail)} bytes belong to no tensor", where="inputs")
    return arrays


def _outputs(document: Mapping[str, Any]) -> dict[str, bool] | None:
    if not document.get("outputs"):
        return None
    wanted = {}
    for entry in _named(document["outputs"], "outputs"):
        parameters = _object(entry, "parameters", f'output "{entry["name"]}"')
        if parameters.get("classification"):
            raise MalformedRequestError(
                "classification is not an extension of this server",
                where=f'output "{entry["name"]}"',
            )
        wanted[entry["name"]] = parameters.get("binary_data") is True
    return wanted


def _payload(
    tensors: dict[str, np.ndarray],
    signature: Signature,
    params: Mapping[str, Any] | None,
    asked: Asked,
) -> ColumnPayload:
    first = next(iter(tensors.values()))
    if signature.is_tensor:
        for name, array in tensors.items():
            if not array.ndim:
                raise InvalidInputError("it has no axis of rows", column=name)
        single = first if len(tensors) == 1 and not signature.named else None
        return ColumnPayload(
            "tensors",
            tuple(tensors),
            list(tensors.values()),
            len(first),
            single,
            params,
            asked=asked,
        )
    if _is_matrix(tensors, signature):
        names = tuple(
            str(at) if field.name is None else field.name
            for at, field in enumerate(signature.fields)
        )
        return ColumnPayload("tensors", names, list(first.T), len(first), None, params, asked=asked)
    types = {field.name: field.type for field in signature.fields}
    columns = {
        name: _column(name, array, types.get(name, "any")) for name, array in tensors.items()
    }
    rows = len(next(iter(columns.values())))
    for name, column in columns.items():
        if len(column) != rows:
            raise InvalidInputError(
                f"it has {len(column)} rows, the first input {rows}", column=name
            )
    if not rows:
        raise MalformedRequestError("it has no rows", where="inputs")
    return ColumnPayload(
        "tensors", tuple(columns), list(columns.values()), rows, None, params, asked=asked
    )


def _is_matrix(tensors: Mapping[str, np.ndarray], signature: Signature) -> bool:
    """Whether the only tensor holds all columns: numbers, one column a field."""
    if len(tensors) != 1:
        return False
    [(name, array)] = tensors.items()
    width = len(signature.fields)
    fits = array.ndim == 2 and array.shape[1] == width and len(array) > 0
    numbers = array.dtype.kind in "fiub"
    return fits and numbers and not (width == 1 and name == signature.fields[0].name)


def _column(name: str, array: np.ndarray, kind: str) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InvalidInputError(
            f"shape {list(array.shape)}, a column has [n] or [n, 1]", column=name
        )
    if array.dtype.kind != "O" or kind == "binary":
        return array
    for row, value in enumerate(array):
        if isinstance(value, bytes):
            try:
                array[row] = value.decode()
            except UnicodeDecodeError:
                raise InvalidInputError("it is not UTF-8", column=name, row=row) from None
    return array


def _output(
    name: str, arrays: Mapping[str, np.ndarray], binary: bool, tails: list[bytes]
) -> dict[str, Any]:
    array = arrays.get(name)
    if array is None:
        raise InvalidInputError(f"the model has the outputs {', '.join(arrays)}", column=name)
    output: dict[str, Any] = {
        "name": name,
        "datatype": datatype_of(array),
        "shape": list(array.shape),
    }
    if not binary:
        return output | {"data": to_json(array)}
    tails.append(to_bytes(array))
    return output | {"parameters": {"binary_data_size": len(tails[-1])}}
