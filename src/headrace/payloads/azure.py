"""The dialect of ``POST /endpoints/NAME/score``: what Azure ML asks of an MLflow model.

``{"input_data": ...}`` holds a table in pandas' split orientation, records, columns by name, or
nested lists, and ``params`` beside it; ``{"data": [...]}`` holds records or lists. The answer is
the list of predictions alone.
See https://learn.microsoft.com/azure/machine-learning/how-to-deploy-mlflow-models
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from headrace.payloads.codec import (
    columns_payload,
    params_of,
    records_payload,
    split_payload,
    tensor_payload,
)
from headrace.payloads.dialect import AnswerContext, Encoded
from headrace.payloads.documents import kind_of, read_json
from headrace.payloads.errors import MalformedRequestError, UnsupportedMediaTypeError
from headrace.payloads.media import media_of

if TYPE_CHECKING:
    from headrace.errors import HeadraceError
    from headrace.payloads.answer import Answers
    from headrace.payloads.payload import ColumnPayload, Payload, RowPayload
    from headrace.payloads.signature import Signature

#: Names a deployment, past the split of the traffic.
DEPLOYMENT_HEADER: Final = "azureml-model-deployment"
#: The client's own id of its request, given back with the answer.
CLIENT_ID_HEADER: Final = "x-ms-client-request-id"
_INPUTS: Final = ("input_data", "data")
_NEXT: Final = 'send {"input_data": {"columns": [...], "data": [...]}}'


class AzureScore:
    """``{"input_data": ...}`` to a list of predictions."""

    def decode(self, body: bytes, headers: Mapping[str, str], signature: Signature) -> Payload:
        """Read a request.

        Rows of lists are a tensor for a model of tensors, and else columns by position.
        """
        if media_of(headers) not in ("application/json", ""):
            raise UnsupportedMediaTypeError(
                headers.get("content-type", ""), next="send application/json"
            )
        document = read_json(body)
        if not isinstance(document, dict):
            raise MalformedRequestError(
                f"the body is {kind_of(document)}, not an object", next=_NEXT
            )
        present = [name for name in _INPUTS if name in document]
        if len(present) != 1:
            raise MalformedRequestError(
                f"the body has {' and '.join(present) or 'neither input_data nor data'}",
                next=_NEXT,
            )
        unknown = sorted(set(document) - {present[0], "params"})
        if unknown:
            raise MalformedRequestError(f'unknown field "{unknown[0]}"', where=unknown[0])
        payload = _payload(present[0], document[present[0]], params_of(document), signature)
        client_id = headers.get(CLIENT_ID_HEADER)
        return payload if client_id is None else replace(payload, asked=client_id[:256])

    def encode(self, payload: Payload, answers: Answers, context: AnswerContext) -> Encoded:  # noqa: ARG002  # ids are in the headers
        """The list of predictions."""
        headers = {CLIENT_ID_HEADER: payload.asked} if payload.asked is not None else {}
        return Encoded(orjson.dumps(answers.values()), "application/json", headers)

    def refuse(self, error: HeadraceError) -> bytes:
        """``{"error_code": ..., "message": ...}``."""
        return orjson.dumps(error.as_json())


def _payload(
    name: str, value: Any, params: Mapping[str, Any] | None, signature: Signature
) -> RowPayload | ColumnPayload:
    if isinstance(value, dict):
        if isinstance(value.get("data"), list) and set(value) <= {"columns", "index", "data"}:
            return _by_position(split_payload(name, value, params), name, signature)
        return columns_payload(name, value, params)
    if isinstance(value, list) and value and set(map(type, value)) == {dict}:
        return records_payload(name, value, params)
    return _by_position(tensor_payload(name, value, params), name, signature)


def _by_position(payload: RowPayload, name: str, signature: Signature) -> RowPayload:
    """Lists without names as a model's columns in its own order, as Azure ML's clients send them."""
    if payload.columns is not None or signature.is_tensor or not signature.named:
        return payload
    names = tuple(str(field.name) for field in signature.fields)
    for index, row in enumerate(payload.rows):
        if len(row) != len(names):
            raise MalformedRequestError(
                f"row {index} has {len(row)} values for {len(names)} columns",
                where=f"{name}[{index}]",
            )
    return replace(payload, columns=names)
