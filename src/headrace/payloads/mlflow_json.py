"""MLflow's scoring protocol, in JSON and CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from headrace.payloads.codec import parse
from headrace.payloads.dialect import AnswerContext, Encoded

if TYPE_CHECKING:
    from headrace.errors import HeadraceError
    from headrace.payloads.answer import Answers
    from headrace.payloads.payload import Payload
    from headrace.payloads.signature import Signature


class MlflowJson:
    """``{"dataframe_split": ...}`` and its like; answers ``predictions`` and their ids."""

    def decode(
        self,
        body: bytes,
        headers: Mapping[str, str],
        signature: Signature,  # noqa: ARG002  # rows carry their names
    ) -> Payload:
        """Read a request; see ``codec.parse``."""
        return parse(body, headers.get("content-type"))

    def encode(
        self,
        payload: Payload,  # noqa: ARG002  # each form has the same answer
        answers: Answers,
        context: AnswerContext,
    ) -> Encoded:
        """``{"predictions": [...], "prediction_ids": [...]}``."""
        document = {
            "predictions": answers.values(),
            "prediction_ids": list(context.prediction_ids),
        }
        return Encoded(orjson.dumps(document), "application/json")

    def refuse(self, error: HeadraceError) -> bytes:
        """``{"error_code": ..., "message": ...}``, which MLflow's clients read too."""
        return orjson.dumps(error.as_json())
