"""The dialect of each route that scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from headrace.payloads.azure import AzureScore
from headrace.payloads.inference_protocol import InferenceProtocol
from headrace.payloads.invocations import Invocations

if TYPE_CHECKING:
    from headrace.errors import HeadraceError
    from headrace.payloads.dialect import Dialect

#: By the last part of the path: ``/endpoints/NAME/invocations``, ``/endpoints/NAME/score``,
#: ``/v2/models/NAME/infer``.
DIALECTS: Final[Mapping[str, Dialect]] = {
    "invocations": Invocations(),
    "score": AzureScore(),
    "infer": InferenceProtocol(),
}


def refusal(path: str, error: HeadraceError) -> bytes:
    """The JSON body of an error, in the shape of the protocol that a path belongs to."""
    protocol = "infer" if path == "/v2" or path.startswith("/v2/") else "invocations"
    return DIALECTS[protocol].refuse(error)
