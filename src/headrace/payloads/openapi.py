"""An endpoint's OpenAPI 3.1 document, generated from its model's signature.

See https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.payloads import schemas
from headrace.payloads.columnar import ARROW_FILE, ARROW_STREAM, PARQUET
from headrace.payloads.tensors import DATATYPES

if TYPE_CHECKING:
    from headrace.payloads.schemas import Schema
    from headrace.payloads.signature import Signature

#: Statuses of errors that a request to score can have, with what each means.
ERRORS: Final = {
    400: "The request cannot be read, or does not fit the signature.",
    401: "The bearer token is missing or wrong.",
    404: "There is no such endpoint, version or deployment.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The media type is not read.",
    429: "More requests wait than can be answered in time.",
    500: "The scoring plane has a defect.",
    503: "Nothing is loaded yet, or the answer could not be logged.",
    504: "The prediction took too long.",
}
_BINARY: Final[Schema] = {"type": "string", "format": "binary"}


def document(
    endpoint: str, signature: Signature, *, model: str, version: int, url: str = "/"
) -> dict[str, Any]:
    """The document.

    Args:
        endpoint: its name.
        signature: of the version that has most of the traffic.
        model: the model's name.
        version: its version.
        url: of the server.
    """
    score = f"/endpoints/{endpoint}"
    infer = f"/v2/models/{endpoint}"
    return {
        "openapi": "3.1.0",
        "info": {"title": endpoint, "version": str(version), "summary": f"{model} {version}"},
        "servers": [{"url": url}],
        "security": [{"token": []}],
        "paths": {
            f"{score}/invocations": {"post": _invocations(endpoint)},
            f"{score}/score": {"post": _score(endpoint)},
            f"{infer}/infer": {"post": _infer(endpoint)},
            infer: {"get": _page("modelMetadata", "The model's inputs and outputs", "Model")},
            f"{infer}/ready": {"get": _page("modelReady", "Whether it answers", "Ready")},
            score: {"get": _page("describe", "Deployments, traffic, inputs", "Endpoint")},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(signature),
            "headers": _HEADERS,
        },
    }


_HEADERS: Final[Schema] = {
    "RequestId": {"description": "The request, in the log.", "schema": {"type": "string"}},
    "PredictionId": {
        "description": "The first prediction, for `headrace trace`.",
        "schema": {"type": "string"},
    },
    "Model": {"description": "The model that answered.", "schema": {"type": "string"}},
    "ModelVersion": {"description": "Its version.", "schema": {"type": "integer"}},
    "Deployment": {
        "description": "Its deployment.",
        "schema": {"type": "string", "enum": ["blue", "green"]},
    },
}


def _schemas(signature: Signature) -> Schema:
    fields = signature.fields
    params = {"params": schemas.params(signature.parameters)}
    found: Schema = {
        "Prediction": schemas.prediction(signature),
        "Predictions": {
            "type": "object",
            "properties": {
                "predictions": schemas.rows(_ref("Prediction")),
                "prediction_ids": schemas.rows({"type": "string"}),
            },
            "required": ["predictions", "prediction_ids"],
        },
        "Error": _ERROR,
        "ProtocolError": _ERROR
        | {
            "properties": _ERROR["properties"] | {"error": {"type": "string"}},
            "required": ["error"],
        },
        "Endpoint": {"type": "object"},
        "Model": {"type": "object", "required": ["name", "versions", "inputs", "outputs"]},
        "Ready": {"type": "object"},
    }
    forms = _forms(signature)
    for name, schema in forms.items():
        title = "".join(part.title() for part in name.split("_"))
        found[title] = {
            "type": "object",
            "properties": {name: schema, **params},
            "required": [name],
            "additionalProperties": False,
        }
    found["Invocation"] = {
        "oneOf": [_ref("".join(p.title() for p in name.split("_"))) for name in forms]
    }
    found["Score"] = {
        "type": "object",
        "properties": {
            "input_data": next(iter(forms.values())),
            **params,
        },
        "required": ["input_data"],
        "additionalProperties": False,
    }
    names = [
        field.name if field.name is not None else f"input-{at}" for at, field in enumerate(fields)
    ]
    return found | _protocol(names)


def _forms(signature: Signature) -> Schema:
    """The forms of MLflow's payload that fit the signature; the first is the shortest."""
    fields = signature.fields
    if signature.is_tensor:
        inputs = schemas.columns(fields) if signature.named else schemas.of_field(fields[0])
        return {"inputs": inputs}
    forms: Schema = {"dataframe_split": schemas.split(signature, schemas.row(fields))}
    if signature.named:
        records = schemas.rows(schemas.record(fields))
        forms |= {
            "dataframe_records": records,
            "instances": records,
            "inputs": schemas.columns(fields),
        }
    else:
        forms |= {"instances": schemas.rows(schemas.row(fields))}
    return forms


_ERROR: Final[Schema] = {
    "type": "object",
    "properties": {
        "error_code": {"type": "string"},
        "message": {"type": "string"},
        "where": {"type": "string"},
        "why": {"type": "string"},
        "next": {"type": "string"},
    },
    "required": ["error_code", "message"],
}


def _protocol(names: list[str]) -> Schema:
    """Requests and answers of the Open Inference Protocol."""
    shape = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    tensor: Schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string", "enum": list(DATATYPES)},
            "shape": shape,
            "data": {"type": "array", "items": {}},
            "parameters": {"type": "object"},
        },
        "required": ["name", "datatype", "shape"],
    }
    described = f"A tensor a column, of shape [n] or [n, 1]: {', '.join(names)}."
    return {
        "Tensor": tensor,
        "InferRequest": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "parameters": {"type": "object"},
                "inputs": schemas.rows(_ref("Tensor")) | {"description": described},
                "outputs": schemas.rows(
                    {
                        "type": "object",
                        "properties": {
                            "name": {"type": "string"},
                            "parameters": {"type": "object"},
                        },
                        "required": ["name"],
                    }
                ),
            },
            "required": ["inputs"],
            "additionalProperties": False,
        },
        "InferAnswer": {
            "type": "object",
            "properties": {
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "id": {"type": "string"},
                "outputs": {"type": "array", "items": _ref("Tensor")},
            },
            "required": ["model_name", "outputs"],
        },
    }


def _invocations(endpoint: str) -> Schema:
    tables = {media: {"schema": _BINARY} for media in (ARROW_STREAM, ARROW_FILE)}
    return _operation(
        "invoke",
        f"Score rows with {endpoint}",
        {
            **_json("Invocation"),
            "text/csv": {"schema": {"type": "string"}},
            **tables,
            PARQUET: {"schema": _BINARY},
        },
        {**_json("Predictions"), **tables},
        "Error",
        [_parameter("x-headrace-key", "Keeps a caller on one deployment.")],
    )


def _score(endpoint: str) -> Schema:
    predictions = {"application/json": {"schema": schemas.rows(_ref("Prediction"))}}
    return _operation(
        "score",
        f"Score rows with {endpoint}, as Azure ML does",
        _json("Score"),
        predictions,
        "Error",
        [
            _parameter("azureml-model-deployment", "The deployment: blue or green."),
            _parameter("x-ms-client-request-id", "Given back with the answer."),
        ],
    )


def _infer(endpoint: str) -> Schema:
    return _operation(
        "infer",
        f"Score tensors with {endpoint}",
        {**_json("InferRequest"), "application/octet-stream": {"schema": _BINARY}},
        {**_json("InferAnswer"), "application/octet-stream": {"schema": _BINARY}},
        "ProtocolError",
        [_parameter("inference-header-content-length", "Where the bytes of tensors begin.")],
    )


def _operation(
    name: str, summary: str, body: Schema, answer: Schema, error: str, parameters: list[Schema]
) -> Schema:
    headers = {
        "x-headrace-request-id": {"$ref": "#/components/headers/RequestId"},
        "x-headrace-prediction-id": {"$ref": "#/components/headers/PredictionId"},
        "x-headrace-model": {"$ref": "#/components/headers/Model"},
        "x-headrace-model-version": {"$ref": "#/components/headers/ModelVersion"},
        "x-headrace-deployment": {"$ref": "#/components/headers/Deployment"},
    }
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {"description": "One prediction a row.", "headers": headers, "content": answer},
            **_errors(error, ERRORS),
        },
    }


def _page(name: str, summary: str, schema: str) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": _json(schema)},
            **_errors("Error", {status: ERRORS[status] for status in (401, 404, 503)}),
        },
    }


def _errors(schema: str, statuses: dict[int, str]) -> Schema:
    return {
        str(status): {"description": why, "content": _json(schema)}
        for status, why in statuses.items()
    }


def _parameter(name: str, why: str) -> Schema:
    return {"name": name, "in": "header", "description": why, "schema": {"type": "string"}}


def _json(schema: str) -> Schema:
    return {"application/json": {"schema": _ref(schema)}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
