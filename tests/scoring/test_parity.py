"""The same rows by every route give the same bits: tables, and each protocol of a live plane."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.modelling import put_alias
from tests.payloads.wires import Wire, every_wire
from tests.planes import Client, Reply

from headrace.endpoints import EndpointSpec, deploy
from headrace.registry import resolve
from headrace.scoring import PredictionSpec, score
from headrace.serving import running_plane
from headrace.settings import read_token
from headrace.tracking import load_model

from .conftest import MLFLOW_WARNINGS, log_pyfunc
from .trained import TYPES, artifacts, kernel_answers, predictions, spec_of, to_score

if TYPE_CHECKING:
    from tests.modelling import ModelProject

pytestmark = [*MLFLOW_WARNINGS, pytest.mark.slow]

ROWS = 40
# Tensors cannot say null.
WIRES = list(every_wire([{"d": 1.0}]))
NULLABLE = [name for name in WIRES if "tensors" not in name]

#: Takes each type that a kernel of ours never has, and answers with all of their bits.
TYPED = (
    "pd.DataFrame({'score': model_input['d'] + model_input['f'].astype('float64') / 3, "
    "'sum': model_input['l'] - model_input['i'], "
    "'text': model_input['s'].str.cat(model_input['b'].astype(str))})"
)
TYPED_INPUTS = pd.DataFrame(
    {
        "d": [0.1, -0.0, 1e300],
        "f": np.array([0.1, 1e-45, 3.4e38], np.float32),
        "l": np.array([2**62 + 1, -(2**62), 0]),
        "i": np.array([-(2**31), 2**31 - 1, 5], np.int32),
        "b": [True, False, True],
        "s": ["é\n", "", "\U0001f600"],
    }
)
TYPED_OUTPUTS = pd.DataFrame({"score": [0.1], "sum": [1], "text": ["x"]})


@pytest.fixture(scope="module")
def plane(trained: ModelProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A live plane with a kernel at ``failure`` and a worker at ``typed``."""
    workspace = trained.workspace
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow, on integer columns
        source = tmp_path_factory.mktemp("typed") / "typed.py"
        log_pyfunc(workspace, source, "typed", TYPED, TYPED_INPUTS, TYPED_OUTPUTS)
    put_alias(workspace, "typed", 1)
    for name in ("failure", "typed"):
        spec = EndpointSpec(name=name, model=f"{name}@production")
        deploy(workspace, spec, resolve(workspace, f"{name}@production"))
    with running_plane(workspace.paths) as url:
        yield Client(url, read_token(workspace.paths).reveal())


def ask(plane: Client, endpoint: str, wire: Wire) -> dict[str, list[Any]]:
    """The answer to a request as columns."""
    path = {
        "invocations": f"/endpoints/{endpoint}/invocations",
        "score": f"/endpoints/{endpoint}/score",
        "infer": f"/v2/models/{endpoint}/infer",
    }[wire.protocol]
    reply = plane.request(path, wire.body, wire.headers, timeout=60)
    assert reply.status == 200, reply.body
    return answered(reply)


def answered(reply: Reply) -> dict[str, list[Any]]:
    media = reply.headers["content-type"]
    if "arrow" in media:
        opened = pa.ipc.open_file if "file" in media else pa.ipc.open_stream
        table: pa.Table = opened(reply.body).read_all()
        columns: dict[str, list[Any]] = table.to_pydict()
    elif media == "application/octet-stream":
        columns = binary_outputs(reply)
    elif isinstance(reply.json, dict) and "outputs" in reply.json:
        columns = {output["name"]: output["data"] for output in reply.json["outputs"]}
    else:
        records = reply.json if isinstance(reply.json, list) else reply.json["predictions"]
        columns = {name: [record[name] for record in records] for name in records[0]}
    columns.pop("prediction_id", None)
    return columns


def binary_outputs(reply: Reply) -> dict[str, list[Any]]:
    length = int(reply.headers["inference-header-content-length"])
    columns, rest = {}, reply.body[length:]
    for output in json.loads(reply.body[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        data, rest = rest[:size], rest[size:]
        if output["datatype"] == "BYTES":
            columns[output["name"]] = texts(data)
        else:
            kind = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[output["datatype"]]
            columns[output["name"]] = np.frombuffer(data, kind).tolist()
    return columns


def texts(data: bytes) -> list[str]:
    found = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        found.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return found


def rows_to_send(table: pa.Table) -> list[dict[str, Any]]:
    """The model's columns and the label, which it must not look at."""
    rows: list[dict[str, Any]] = table.select([*TYPES, "fails"]).to_pylist()
    return [{**row, "noise": float(row["noise"])} for row in rows]


def bits(values: Any) -> bytes:
    return np.asarray(values, np.float64).tobytes()


@pytest.fixture(scope="module")
def in_batch(trained: ModelProject) -> Callable[[pa.Table, str], pd.DataFrame]:
    """``headrace score`` of a table, by id."""

    def run(table: pa.Table, name: str) -> pd.DataFrame:
        trained.put(table, f"gold.{name}")
        score(trained.workspace, spec_of(trained, name), full=True)
        return predictions(trained, spec_of(trained, name))

    return run


@pytest.mark.parametrize("wire", WIRES)
def test_each_protocol_gives_the_bits_of_the_table(
    plane: Client,
    trained: ModelProject,
    in_batch: Callable[[pa.Table, str], pd.DataFrame],
    wire: str,
) -> None:
    table = to_score(ROWS, nulls=False)
    batch = in_batch(table, "complete")
    online = ask(plane, "failure", every_wire(rows_to_send(table), signature())[wire])
    assert bits(online["score"]) == bits(batch["score"])
    assert online["label"] == batch["label"].tolist()
    assert bits(kernel_answers(trained, table)["score"]) == bits(batch["score"])


@pytest.mark.parametrize("wire", NULLABLE)
def test_nulls_are_the_same_in_each_protocol_that_has_them(
    plane: Client, in_batch: Callable[[pa.Table, str], pd.DataFrame], wire: str
) -> None:
    table = to_score(ROWS)
    assert table["heat"].null_count
    assert table["model"].null_count
    batch = in_batch(table, "with_nulls")
    online = ask(plane, "failure", every_wire(rows_to_send(table), signature())[wire])
    assert bits(online["score"]) == bits(batch["score"])
    assert online["label"] == batch["label"].tolist()


def test_a_row_alone_has_the_bits_that_it_has_among_others(
    plane: Client, in_batch: Callable[[pa.Table, str], pd.DataFrame]
) -> None:
    table = to_score(ROWS)
    batch = in_batch(table, "alone")
    rows = rows_to_send(table)
    each = [
        ask(plane, "failure", every_wire([row], signature())["dataframe_split"]) for row in rows
    ]
    assert bits([one["score"][0] for one in each]) == bits(batch["score"])


def test_the_original_and_spark_udf_agree_within_the_tolerance(
    trained: ModelProject, in_batch: Callable[[pa.Table, str], pd.DataFrame]
) -> None:
    import mlflow.pyfunc
    from pyspark.sql import functions as f

    table = to_score(ROWS)
    batch = in_batch(table, "udf")
    version = resolve(trained.workspace, "failure@production")
    frame = table.select(list(TYPES)).to_pandas().astype({"noise": "float64", "shake": "float64"})
    original = load_model(trained.workspace, version.model_id).predict(frame)
    spark = trained.workspace.spark()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on its way to the function
        udf = mlflow.pyfunc.spark_udf(
            spark,
            str(artifacts(trained, version)),
            result_type="score double, label boolean",
            env_manager="local",
        )
        answer = udf(f.struct(*(f.col(name).cast(TYPES[name]).alias(name) for name in TYPES)))
        by_udf = (
            spark.table("gold.udf").select("id", answer.alias("p")).select("id", "p.*").toPandas()
        )
    by_udf = by_udf.sort_values("id", ignore_index=True)
    for found in (original, by_udf):
        np.testing.assert_allclose(found["score"], batch["score"], rtol=0, atol=1e-9)
        assert found["label"].tolist() == batch["label"].tolist()


@pytest.mark.parametrize("wire", WIRES)
def test_a_worker_gives_the_bits_of_the_table_for_each_type(
    plane: Client, trained: ModelProject, wire: str
) -> None:
    table = pa.Table.from_pandas(TYPED_INPUTS, preserve_index=False)
    trained.put(table.append_column("id", pa.array([0, 1, 2])), "gold.typed")
    spec = PredictionSpec(
        table="gold.typed_predictions", model="typed@production", input="gold.typed", key=["id"]
    )
    score(trained.workspace, spec)
    batch = predictions(trained, spec)
    rows = [{**row, "f": float(row["f"])} for row in table.to_pylist()]
    online = ask(plane, "typed", every_wire(rows, typed_signature())[wire])
    assert bits(online["score"]) == bits(batch["score"])
    assert online["sum"] == batch["sum"].tolist()
    assert online["text"] == batch["text"].tolist()


def signature() -> Any:
    """Of ``failure``, with the label as it is sent along."""
    from headrace.payloads.signature import Field, Signature

    kinds = {**TYPES, "fails": "boolean"}
    return Signature(tuple(Field(name, kind) for name, kind in kinds.items()))


def typed_signature() -> Any:
    """Of ``typed``."""
    from headrace.payloads.signature import Field, Signature

    kinds = ("double", "float", "long", "integer", "boolean", "string")
    return Signature(tuple(Field(name, kind) for name, kind in zip("dflibs", kinds, strict=True)))
