"""The dialect of ``POST /endpoints/NAME/invocations``: MLflow's JSON and CSV, Arrow, Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from headrace.payloads.columnar import (
    ARROW_FILE,
    ARROW_STREAM,
    FORMS,
    ID_COLUMN,
    read_table,
    write_arrow,
)
from headrace.payloads.dialect import AnswerContext, Encoded
from headrace.payloads.media import media_of, preferred
from headrace.payloads.mlflow_json import MlflowJson

if TYPE_CHECKING:
    from headrace.errors import HeadraceError
    from headrace.payloads.answer import Answers
    from headrace.payloads.payload import Payload
    from headrace.payloads.signature import Signature

JSON: Final = "application/json"
_TABLES: Final = frozenset(FORMS.values())


class Invocations:
    """Reads a body by its media type.

    A table is answered with an Arrow stream and JSON with JSON, unless ``Accept`` says otherwise.
    A column ``prediction_id`` stands behind the model's outputs.
    """

    def __init__(self) -> None:
        self._json = MlflowJson()

    def decode(self, body: bytes, headers: Mapping[str, str], signature: Signature) -> Payload:
        """Read a request."""
        media = headers.get("content-type")
        if media != JSON or "content-encoding" in headers:
            form = FORMS.get(media_of(headers))
            if form is not None:
                return read_table(body, form)
        return self._json.decode(body, headers, signature)

    def encode(self, payload: Payload, answers: Answers, context: AnswerContext) -> Encoded:
        """Write predictions and their ids."""
        table = payload.format in _TABLES
        if context.accept is None and not table:
            return self._json.encode(payload, answers, context)
        offered = (ARROW_STREAM, ARROW_FILE, JSON) if table else (JSON, ARROW_STREAM, ARROW_FILE)
        # An answer of another type is more use than none: RFC 9110 leaves that to the server.
        media = preferred(context.accept, offered) or offered[0]
        if media == JSON:
            return self._json.encode(payload, answers, context)
        ids = {ID_COLUMN: list(context.prediction_ids)}
        return Encoded(write_arrow(answers, ids, media), media)

    def refuse(self, error: HeadraceError) -> bytes:
        """An error is JSON, whatever was sent."""
        return self._json.refuse(error)
