"""What a payload costs: microseconds to read, type and answer it, by form and rows.

python -m bench.payloads
"""

from __future__ import annotations

import timeit
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from headrace.payloads.answer import Answers
from headrace.payloads.codec import parse
from headrace.payloads.dialect import AnswerContext
from headrace.payloads.mlflow_json import MlflowJson
from headrace.payloads.signature import Field, Signature

if TYPE_CHECKING:
    from headrace.payloads.payload import Payload

COLUMNS = [f"feature_{number}" for number in range(16)]
SIGNATURE = Signature(tuple(Field(name, "double") for name in COLUMNS))


def bodies(rows: int) -> dict[str, bytes]:
    """The same rows in each form."""
    data: Any = (np.random.default_rng(7).normal(size=(rows, len(COLUMNS))) * 100).tolist()
    records = [dict(zip(COLUMNS, row, strict=True)) for row in data]
    columns = {name: [row[at] for row in data] for at, name in enumerate(COLUMNS)}
    forms: dict[str, Any] = {
        "dataframe_split": {"columns": COLUMNS, "data": data},
        "dataframe_records": records,
        "instances": records,
        "inputs": columns,
    }
    return {name: orjson.dumps({name: value}) for name, value in forms.items()}


def microseconds(work: Any) -> float:
    """The best of forty short rounds, so that a busy machine has quiet ones among them."""
    timer = timeit.Timer(work)
    number = max(1, timer.autorange()[0] // 50)
    return min(timer.repeat(40, number)) / number * 1e6


def encoded(
    dialect: MlflowJson, payload: Payload, outputs: dict[str, Any], context: AnswerContext
) -> bytes:
    """The answer's body, from a model's outputs."""
    return dialect.encode(payload, Answers(outputs, None, payload.rows_count), context).body


def main() -> None:
    """Print the table."""
    print(f"{'form':<20}{'rows':>6}{'read':>10}{'typed':>10}{'answer':>10}  microseconds")
    dialect = MlflowJson()
    for rows in (1, 32, 1024):
        score = np.random.default_rng(7).random(rows)
        outputs = {"score": score, "label": (score > 0.5).astype(np.int64)}
        context = AnswerContext("req", [f"pred_{n:028}" for n in range(rows)], "model", 1)
        for name, body in bodies(rows).items():
            payload = parse(body, "application/json")
            read = microseconds(lambda body=body: parse(body, "application/json"))
            typed = microseconds(lambda payload=payload: SIGNATURE.typed(payload))
            encode = partial(encoded, dialect, payload, outputs, context)
            answer = microseconds(encode)
            print(f"{name:<20}{rows:>6}{read:>10.1f}{typed:>10.1f}{answer:>10.1f}")


if __name__ == "__main__":
    main()
