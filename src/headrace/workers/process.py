"""The worker's process: loads one model and answers one request after the other.

Run as a script with the Python of the model's environment, so it imports nothing of Headrace:
``mlflow``, ``pandas`` and ``pyarrow`` are all it needs. A message is two lengths (of 4 and 8
bytes), a JSON object and bytes; the bytes are an Arrow IPC stream, or a JSON list.

    process.py worker DESCRIPTOR PARENT      serves the socket of that descriptor
    process.py template DESCRIPTOR PARENT    imports libraries, and forks workers on request
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this directory, whose modules are named like others

import base64
import contextlib
import faulthandler
import gc
import importlib
import json
import math
import os
import signal
import socket
import struct
import tempfile
import time
from datetime import date, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = struct.Struct("!IQ")
PR_SET_PDEATHSIG = 1
SLACK = 64 << 20  # stacks of threads count as data


class Gone(Exception):  # no failure: the other side is done
    """The other side closed the socket."""


class Channel:
    """Messages over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        connection.setblocking(True)

    def send(self, header: dict[str, Any], payload: Any = b"") -> None:
        """Send a JSON object and bytes."""
        text = json.dumps(header).encode()
        self.socket.sendall(PREFIX.pack(len(text), len(payload)) + text)
        if len(payload):
            self.socket.sendall(payload)

    def receive(self) -> tuple[dict[str, Any], bytearray]:
        """The next message.

        Raises:
            Gone: there is none.
        """
        text, payload = PREFIX.unpack(self._exactly(PREFIX.size))
        header: dict[str, Any] = json.loads(self._exactly(text))
        return header, self._exactly(payload)

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self.socket.recv_into(view)
            if not count:
                raise Gone
            view = view[count:]
        return data


def die_with(parent: int) -> None:
    """End this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        import threading

        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before we asked
        os._exit(0)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def reason_of(error: BaseException) -> str:
    """The type and the first line of an error, of bounded length."""
    said = str(error).strip()
    if "Failed to enforce schema of data" in said:
        said = said.rpartition("Error: ")[2]  # MLflow's begins with the rows
    lines = said.splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def kinds_of_memory() -> tuple[int, int]:
    """Bytes in memory, and bytes of data that the process has asked for; zeros if unknown."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0, 0
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    resident, data = (int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmData"))
    return resident, data


def limit_memory(memory: int, spare: int = 0) -> None:
    """Let the process ask for what it has left, so that more is a MemoryError in one request.

    Args:
        memory: bytes in all; 0 for no limit.
        spare: bytes that it may ask for on top, and not use.

    Raises:
        MemoryError: the model alone is too large.
    """
    resident, data = kinds_of_memory()
    if not memory or not resident:
        return
    if resident > memory:
        raise MemoryError(
            f"with the model loaded it takes {resident >> 20} MiB, of {memory >> 20} allowed"
        )
    import resource

    limit = data + (memory - resident) + SLACK + spare
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


class Model:
    """A pyfunc model that takes and gives Arrow."""

    def __init__(self, path: str) -> None:
        if "skops" in Path(path, "MLmodel").read_text():
            # It looks for every type in every module there is: before MLflow's that is faster.
            importlib.import_module("skops.io")
        import mlflow.pyfunc

        self.pyfunc = mlflow.pyfunc.load_model(path)
        schema = self.pyfunc.metadata.get_input_schema()
        self.tensors = schema.inputs if schema is not None and schema.is_tensor_spec() else None
        self.positional = schema is not None and not schema.has_input_names()

    def predict(self, table: Any, params: dict[str, Any] | None) -> tuple[str, Any]:
        """The kind of what the model returned for the rows, and its bytes.

        Raises:
            Exception: whatever the model raises.
            ValueError: it returned no prediction a row.
        """
        rows = table.num_rows
        inputs = self._inputs(table)
        # Without parameters as a model of any age is called.
        raw = self.pyfunc.predict(inputs, params=params) if params else self.pyfunc.predict(inputs)
        return encode(raw, rows)

    def _inputs(self, table: Any) -> Any:
        if self.tensors is None:
            frame = table.to_pandas(use_threads=False, split_blocks=True)
            if self.positional:
                frame.columns = range(len(frame.columns))
            return frame
        arrays = [
            tensor(table.column(index)).astype(spec.type, copy=False)
            for index, spec in enumerate(self.tensors)
        ]
        if self.positional:
            return arrays[0]
        return {spec.name: array for spec, array in zip(self.tensors, arrays)}  # noqa: B905  # Python 3.9


def tensor(column: Any) -> Any:
    """A column as an array, with a first dimension of rows."""
    import pyarrow as pa

    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    if isinstance(whole.type, pa.FixedShapeTensorType):
        return whole.to_numpy_ndarray()
    shape = [len(whole)]
    while pa.types.is_fixed_size_list(whole.type):
        shape.append(whole.type.list_size)
        whole = whole.flatten()
    return whole.to_numpy(zero_copy_only=False).reshape(shape)


def encode(raw: Any, rows: int) -> tuple[str, Any]:
    """``frame``, ``series``, ``vector`` or ``matrix`` with an Arrow stream, else ``json``.

    Raises:
        ValueError: it is not one prediction a row.
    """
    import pyarrow as pa

    found = _length(raw)
    if found != rows:
        count = f"a {type(raw).__name__}" if found is None else f"{found} predictions"
        raise ValueError(f"the model returned {count} for {rows} rows")
    try:
        kind, table = _table(raw)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        kind, table = "json", None  # columns of mixed or unknown types
    if table is None:
        return "json", json.dumps(_listed(raw)).encode()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return kind, sink.getvalue()


def _length(raw: Any) -> int | None:
    if isinstance(raw, dict):
        lengths = {_length(column) for column in raw.values()}
        return lengths.pop() if len(lengths) == 1 else None
    shape = getattr(raw, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(raw) if isinstance(raw, (list, tuple)) else None


def _table(raw: Any) -> tuple[str, Any]:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    kind = "frame"
    if isinstance(raw, pd.Series):
        kind, raw = "series", pd.DataFrame(raw)
    elif isinstance(raw, np.ndarray) and raw.ndim in (1, 2):
        kind = "vector" if raw.ndim == 1 else "matrix"
        raw = pd.DataFrame(raw)
    elif isinstance(raw, dict) and all(getattr(each, "ndim", 0) == 1 for each in raw.values()):
        raw = pd.DataFrame({str(name): np.asarray(column) for name, column in raw.items()})
    if not isinstance(raw, pd.DataFrame):
        return "json", None
    names = [str(name) for name in raw.columns]
    raw = raw.set_axis(names, axis=1)
    table = pa.Table.from_pandas(raw, preserve_index=False, nthreads=1)
    return kind, table.replace_schema_metadata({"headrace.kind": kind})


def _listed(raw: Any) -> list[Any]:
    if isinstance(raw, dict):
        columns = {str(name): _listed(column) for name, column in raw.items()}
        rows = zip(*columns.values())  # noqa: B905  # of one length; Python 3.9
        return [dict(zip(columns, row)) for row in rows]  # noqa: B905
    if hasattr(raw, "to_frame"):
        raw = raw.to_frame()
    if hasattr(raw, "to_dict"):
        raw = raw.to_dict(orient="records")
    return [jsonable(value) for value in raw]


def jsonable(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinity become null, bytes Base64, times ISO 8601."""
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): jsonable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [jsonable(inner) for inner in value]
    if isinstance(value, (datetime, date, time_of_day)):
        return value.isoformat() if value == value else None  # NaT differs from itself
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    import pandas as pd

    return None if value is pd.NA else str(value)


def serve(channel: Channel, config: dict[str, Any]) -> None:
    """Load the model, say so, and answer until the other side is gone."""
    started = time.perf_counter()
    memory = config["memory"]
    try:
        # What a model takes while it is loaded is not what it keeps.
        limit_memory(memory, spare=memory)
        model = Model(config["model"])
        limit_memory(memory)
    except BaseException as error:  # noqa: BLE001  # a model's code runs here; the pool is told
        channel.send({"failed": reason_of(error)})
        return
    gc.collect()
    gc.freeze()  # what is loaded stays
    ready = {"seconds": time.perf_counter() - started, "modules": libraries(config["model"])}
    channel.send({"ready": True, **ready})
    with contextlib.suppress(Gone):
        while True:
            header, payload = channel.receive()
            answer(channel, model, header, payload)
            del payload


def answer(channel: Channel, model: Model, header: dict[str, Any], payload: bytearray) -> None:
    """Answer one message with predictions, or with what the model raised."""
    import pyarrow as pa

    started = time.perf_counter()
    try:
        table = pa.ipc.open_stream(pa.py_buffer(payload)).read_all()
        kind, data = model.predict(table, header.get("params"))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a model may raise anything
        told = {"error": type(error).__name__, "reason": reason_of(error)}
        channel.send({**told, "seconds": time.perf_counter() - started})
        return
    channel.send({"kind": kind, "seconds": time.perf_counter() - started}, data)


def libraries(model: str) -> list[str]:
    """Imported modules of installed libraries, without those that came with the model."""
    home = os.path.realpath(model)
    names = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and not name.startswith("__") and not os.path.realpath(file).startswith(home):
            names.append(name)
    return names


def threads() -> int:
    """Threads of this process, those of libraries too; 0 where that cannot be told."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # no path is wanted
    except OSError:
        return 0


def template(channel: Channel, config: dict[str, Any]) -> None:
    """Import what workers import, then fork one for each pair of descriptors that arrives."""
    for name in config["modules"]:
        # A module that is only there once others are does not stop the rest.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the pages stay shared with the children
    count = threads()
    channel.send({"ready": count == 1, "threads": count})
    with contextlib.suppress(Gone):
        while True:
            text, descriptors, _, _ = socket.recv_fds(channel.socket, PREFIX.size, 2)
            if not text:
                return
            order = receive_rest(channel, text)
            if "reap" in order:
                _, status = os.waitpid(order["reap"], 0)
                channel.send({"status": status})
            elif (count := threads()) != 1:
                for each in descriptors:
                    os.close(each)
                channel.send({"threads": count})
            else:
                fork(channel, order, descriptors)


def receive_rest(channel: Channel, text: bytes) -> dict[str, Any]:
    """The message of which some bytes have come."""
    text += bytes(channel._exactly(PREFIX.size - len(text)))
    size, _ = PREFIX.unpack(text)
    order: dict[str, Any] = json.loads(channel._exactly(size))
    return order


def fork(channel: Channel, config: dict[str, Any], descriptors: Iterable[int]) -> None:
    """Make a worker of a copy of this process; returns in the parent only."""
    connection, errors = descriptors
    parent = os.getpid()
    child = os.fork()
    if child:
        os.close(connection)
        os.close(errors)
        channel.send({"child": child})
        return
    status = 1
    try:
        os.setsid()
        die_with(parent)
        channel.socket.close()
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        os.close(errors)
        begin(Channel(socket.socket(fileno=connection)), config)
        status = 0
    finally:
        os._exit(status)  # not the template's exit handlers


def begin(channel: Channel, config: dict[str, Any]) -> None:
    """Serve, in a directory of its own and with nothing left over from a template."""
    os.makedirs(config["home"], mode=0o700, exist_ok=True)  # noqa: PTH103
    os.chdir(config["home"])
    os.environ["TMPDIR"] = tempfile.tempdir = config["home"]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # forks would draw the same numbers
    serve(channel, config)


def main() -> None:
    """Run as the command line says."""
    role, descriptor, parent = sys.argv[1:4]
    die_with(int(parent))
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file holds the rows of a request
    faulthandler.enable()
    os.dup2(2, 1)
    channel = Channel(socket.socket(fileno=int(descriptor)))
    with contextlib.suppress(Gone):
        config, _ = channel.receive()
        if role == "template":
            template(channel, config)
        else:
            begin(channel, config)
    os._exit(0)  # threads of a model do not keep it


if __name__ == "__main__":
    main()
