"""What of a request is kept: which requests, and which of their columns."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from headrace.percents import Percent

#: What stands in the log where a value was not written.
REDACTED: Final = "[redacted]"


class LogPolicy(BaseModel):
    """What the request log keeps of an endpoint's requests.

    It is applied before a record goes to the spool: what it drops is never on the disk.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: Annotated[Percent, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="share of the requests whose rows are kept, such as 10%; all are counted",
    )
    redact: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        default_factory=list, description="columns whose values are never written"
    )

    @cached_property
    def keeps_everything(self) -> bool:
        """Whether there is nothing to do."""
        return self.sample >= 1 and not self.redact

    def keeps(self, request_id: str) -> bool:
        """Whether the rows of a request are kept: the same answer for an id, always."""
        return self.sample >= 1 or zlib.crc32(request_id.encode()) < self.sample * 2**32

    def apply(self, record: Mapping[str, Any], key: Iterable[str] = ()) -> Mapping[str, Any]:
        """The record as it may be written.

        Args:
            record: an answered request, as it would be written without a policy.
            key: the endpoint's key columns. If one of them is redacted, no key is written, since
                it is made of their values.
        """
        if self.keeps_everything:
            return record
        if not self.keeps(record["request_id"]):
            return {
                "kind": "unsampled",
                "endpoint": record["endpoint"],
                "deployment": record["deployment"],
                "scored_rows": len(record["rows"]),
            }
        if not self.redact:
            return record
        hidden = frozenset(self.redact)
        without_key = not hidden.isdisjoint(key)
        return {
            **record,
            "params": _params(record["params"], hidden),
            "rows": [_row(row, hidden, without_key) for row in record["rows"]],
        }


def _row(row: Mapping[str, Any], hidden: frozenset[str], without_key: bool) -> dict[str, Any]:
    """A row holds values (``inputs``, ``output``) or their JSON (``request``, ``prediction``)."""
    kept = dict(row)
    if "inputs" in row:
        kept["inputs"] = _named(_hide(row["inputs"], hidden))
    if "output" in row:
        kept["output"] = _hide(row["output"], hidden)
    if "request" in row:
        kept["request"] = json.dumps(_named(_hide(json.loads(row["request"]), hidden)))
    if "prediction" in row:
        kept["prediction"] = json.dumps(_hide(json.loads(row["prediction"]), hidden))
    if "score" in hidden:
        kept["score"] = None
    if without_key:
        kept["key"] = None
    return kept


def _params(params: Any, hidden: frozenset[str]) -> Any:
    if isinstance(params, str):
        return json.dumps(_hide(json.loads(params), hidden))
    return _hide(params, hidden)


def _hide(value: Any, hidden: frozenset[str]) -> Any:
    if not isinstance(value, Mapping) or hidden.isdisjoint(value):
        return value
    return {name: REDACTED if name in hidden else one for name, one in value.items()}


def _named(inputs: Any) -> Any:
    """The inputs, unless they have no names: nobody can tell then which of them are meant."""
    return inputs if isinstance(inputs, Mapping) else REDACTED
