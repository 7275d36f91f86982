"""What a protocol must do: read a request, write an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from headrace.errors import HeadraceError
    from headrace.payloads.answer import Answers
    from headrace.payloads.payload import Payload
    from headrace.payloads.signature import Signature


@dataclass(slots=True)
class AnswerContext:
    """What an answer says beside the predictions.

    Attributes:
        request_id: of the request; the client's own in protocols that have one.
        prediction_ids: one a row.
        model: the model's name.
        version: its version.
        accept: the client's ``Accept`` header.
        endpoint: the name in the path.
    """

    request_id: str
    prediction_ids: Sequence[str]
    model: str
    version: int
    accept: str | None = None
    endpoint: str = ""


@dataclass(slots=True)
class Encoded:
    """An answer's body, its media type, and headers that the protocol wants."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Dialect(Protocol):
    """One protocol over the scorer."""

    def decode(self, body: bytes, headers: Mapping[str, str], signature: Signature) -> Payload:
        """Read a request.

        Args:
            body: as it came in, within the limit on bodies.
            headers: of the request, names in lower case.
            signature: of the deployment that is live, for protocols whose rows have no names.

        Raises:
            MalformedRequestError: it does not parse.
            UnsupportedMediaTypeError: not one of this protocol's types.
        """

    def encode(self, payload: Payload, answers: Answers, context: AnswerContext) -> Encoded:
        """Write the answer to a request."""

    def refuse(self, error: HeadraceError) -> bytes:
        """The JSON body of an error."""
