"""The floor: the kernel behind uvicorn with nothing around it - no token, checks, log or routing.

uvicorn peers_bare:app, with KERNEL naming the graph.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import pyarrow as pa

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_session = onnxruntime.InferenceSession(os.environ["KERNEL"], _options)
_input = _session.get_inputs()[0]
_outputs = [_session.get_outputs()[-1].name]
_dtype = {"tensor(double)": np.float64, "tensor(float)": np.float32}[_input.type]
_link = json.loads(Path(os.environ["KERNEL"]).with_name("kernel.json").read_text())["link"]


def _score(matrix):
    found = _session.run(_outputs, {_input.name: matrix})[0][:, -1]
    return 1.0 / (1.0 + np.exp(-found)) if _link == "sigmoid" else found


def _json(body):
    matrix = np.array(orjson.loads(body)["dataframe_split"]["data"], _dtype)
    return orjson.dumps({"predictions": _score(matrix).tolist()})


def _arrow(body):
    table = pa.ipc.open_stream(body).read_all()
    matrix = np.column_stack([column.to_numpy() for column in table.columns]).astype(_dtype)
    answer = pa.table({"score": _score(np.ascontiguousarray(matrix))})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, answer.schema) as writer:
        writer.write_table(answer)
    return sink.getvalue()


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    is_arrow = (b"content-type", b"application/vnd.apache.arrow.stream") in scope["headers"]
    answer = _arrow(body) if is_arrow else _json(body)
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
