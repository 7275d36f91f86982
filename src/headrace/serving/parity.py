"""The recorded rows through a loaded deployment, as requests go, before it takes traffic."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from headrace import parity
from headrace.errors import HeadraceError
from headrace.parity.report import ParityReport, failed, unrecorded
from headrace.payloads.answer import SCORE_COLUMN
from headrace.payloads.arrays import numpy_column
from headrace.payloads.columnar import ARROW_STREAM, ID_COLUMN
from headrace.payloads.dialect import AnswerContext
from headrace.payloads.invocations import JSON, Invocations
from headrace.payloads.times import iso_times
from headrace.serving.scorer import reason_of, score

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.parity import Recorded
    from headrace.payloads.dialect import Encoded
    from headrace.serving.scorer import Scorer

SECONDS: Final = 60.0
JSON_ROUTE: Final = "live, JSON"
ARROW_ROUTE: Final = "live, Arrow"
_DIALECT: Final = Invocations()

log = logging.getLogger(__name__)


class NotAsTrainedError(parity.DisagreementError):
    """A deployment's answers are not those of the training.

    Attributes:
        reports: one for each route.
    """

    def __init__(self, model: str, reports: Sequence[ParityReport]) -> None:
        self.reports = tuple(reports)
        super().__init__(model, next(each for each in reports if each.agreed is False))


@dataclass(frozen=True)
class _Answers:
    """What came back: as ``parity.compare`` takes it."""

    scores: list[float | None]
    labels: list[Any] | None


def check_live(scorer: Scorer, path: Path, model: str, version: int) -> list[ParityReport]:
    """Send the recorded rows to a scorer, once for each form of a request; not in the event loop.

    A request is decoded, typed, predicted and encoded by the code that answers callers, and its
    answer is read as a caller reads it. JSON requests to a kernel hold one row, as most do.

    Args:
        scorer: the loaded model.
        path: its directory.
        model, version: for the answers.
    """
    try:
        recorded = parity.recorded(path)
    except parity.RecordDamagedError as error:
        return [failed("live", f"{error.what} {error.why}")]
    if recorded is None:
        return [unrecorded("live")]
    sender = _Sender(scorer, model, version, time.monotonic() + SECONDS)
    tolerance = parity.tolerance_of(path)
    found = []
    for route, part, send in (
        (JSON_ROUTE, _sayable(recorded), sender.json),
        (ARROW_ROUTE, recorded, sender.arrow),
    ):
        try:
            given = send(part)
            report = parity.compare(part, given.scores, given.labels, tolerance, route, scorer.kind)
        except HeadraceError as error:
            why = f"{error.what} {error.why or ''}".strip()
            report = failed(route, why, part, scorer.kind)
        except Exception as error:
            # Of what has answered before, a comparison that breaks must not end the answers.
            log.exception("%s/%s: %s", model, version, route)
            report = failed(route, reason_of(error), part, scorer.kind)
        found.append(report)
    return found


@dataclass(frozen=True)
class _Sender:
    scorer: Scorer
    model: str
    version: int
    deadline: float

    def json(self, recorded: Recorded) -> _Answers:
        """As ``dataframe_split``."""
        columns = recorded.inputs.column_names
        rows = list(zip(*map(_values, recorded.inputs.columns), strict=True))
        step = 1 if self.scorer.kind == "kernel" else max(1, len(rows))
        bodies = [
            orjson.dumps({"dataframe_split": {"columns": columns, "data": rows[at : at + step]}})
            for at in range(0, len(rows), step)
        ]
        predictions = [
            each
            for encoded in self._send(bodies, JSON)
            for each in orjson.loads(encoded.body)["predictions"]
        ]
        return _read(predictions)

    def arrow(self, recorded: Recorded) -> _Answers:
        """As one Arrow stream."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, recorded.inputs.schema) as writer:
            writer.write_table(recorded.inputs)
        (encoded,) = self._send([sink.getvalue().to_pybytes()], ARROW_STREAM)
        table = pa.ipc.open_stream(encoded.body).read_all()
        return _read(table.drop_columns([ID_COLUMN]).to_pylist())

    def _send(self, bodies: Sequence[bytes], media: str) -> list[Encoded]:
        async def send() -> list[Encoded]:
            return [await self._one(body, media) for body in bodies]

        if self.scorer.loop is None:
            return asyncio.run(send())
        waiting = asyncio.run_coroutine_threadsafe(send(), self.scorer.loop)
        try:
            return waiting.result(SECONDS + 5)
        except TimeoutError as error:
            waiting.cancel()
            raise TimeoutError(f"no answer within {SECONDS + 5:.0f} s") from error

    async def _one(self, body: bytes, media: str) -> Encoded:
        signature = self.scorer.signature
        payload = _DIALECT.decode(body, {"content-type": media}, signature)
        inputs = signature.typed(payload)
        answers = await score(self.scorer, inputs, payload.params, self.deadline, self.model)
        ids = [f"parity-{row}" for row in range(inputs.rows)]
        context = AnswerContext("parity", ids, self.model, self.version)
        return _DIALECT.encode(payload, answers, context)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """As JSON holds them."""
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    return list(iso_times(numpy_column(column)))


def _sayable(recorded: Recorded) -> Recorded:
    """The rows without infinities, which JSON cannot hold."""
    wild = {
        row
        for column in recorded.inputs.columns
        for row, value in enumerate(column.to_pylist())
        if isinstance(value, float) and math.isinf(value)
    }
    return recorded.without(wild) if wild else recorded


def _read(predictions: list[Any]) -> _Answers:
    """Scores and labels, as a client finds them; the only value of a row is its score."""
    rows = [each if isinstance(each, dict) else {SCORE_COLUMN: each} for each in predictions]
    rows = [
        dict(zip((SCORE_COLUMN,), row.values(), strict=True)) if len(row) == 1 else row
        for row in rows
    ]
    labels = [row.get("label") for row in rows] if any("label" in row for row in rows) else None
    return _Answers([row.get(SCORE_COLUMN) for row in rows], labels)
