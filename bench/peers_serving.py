"""The systems that ``make bench-serving`` compares: how each is set up, asked and read.

Each peer is set up as its own documentation advises for throughput on two cores. OpenMP is held
to one thread a process, because each of them runs a process a core.
"""

# ruff: noqa: ARG002  # each system needs other arguments of one interface
from __future__ import annotations

import json
import os
import shlex
import sys
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import peers

if TYPE_CHECKING:
    from bench.serving_models import Trained

HERE = Path(__file__).resolve().parent
JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
MODELS = ("scikit-learn==1.9.1", "lightgbm==4.7.0", "joblib==1.6.0")
NUMPY = "numpy==2.4.6"
CORES = 2

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Launch:
    """A command that serves one model.

    Attributes:
        argv: the command; it stays in the foreground.
        cwd: where it runs.
        url: of the scoring route.
        env: additions to the environment.
        headers: of every request.
    """

    argv: list[str]
    cwd: Path
    url: str
    env: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class System:
    """One of the compared. ``packages`` is empty for what runs in Headrace's own environment."""

    name: str
    settings: str
    packages: tuple[str, ...] = ()
    formats: tuple[str, ...] = (JSON,)

    def install(self, home: Path) -> None:
        """Make the environment, where it has one of its own."""
        if self.packages:
            peers.environment(home, self.name, self.packages)

    def program(self, home: Path, name: str) -> str:
        """A program of the system's environment."""
        folder = (
            home / "peers" / self.name / "bin" if self.packages else Path(sys.executable).parent
        )
        return str(folder / name)

    @abstractmethod
    def launch(self, home: Path, model: Trained, folder: Path, port: int) -> Launch:
        """Prepare ``folder`` for a model and say how it is served on a port."""

    def body(self, model: Trained, rows: Rows, kind: str) -> bytes:
        """A request of rows; ``kind`` is one of ``formats``."""
        if kind == ARROW:
            return arrow_body(model.columns, rows)
        return json.dumps({"rows": rows}).encode()

    def scores(self, answer: bytes, kind: str) -> list[float]:
        """The positive class's score of each row in an answer."""
        if kind == ARROW:
            return arrow_scores(answer)
        found: list[float] = json.loads(answer)["scores"]
        return found


class Headrace(System):
    name = "headrace"
    settings = "headrace up: token, checks, request log on"
    formats = (JSON, ARROW)

    def __init__(self, project: Path) -> None:
        self.project = project

    def launch(self, home: Path, model: Trained, folder: Path, port: int) -> Launch:
        from headrace.settings import Paths, read_token

        token = read_token(Paths(self.project)).reveal()
        return Launch(
            [sys.executable, "-m", "headrace", "up", "--port", str(port)],
            self.project,
            f"http://127.0.0.1:{port}/endpoints/{model.name}/invocations",
            headers={"authorization": f"Bearer {token}"},
        )

    def body(self, model: Trained, rows: Rows, kind: str) -> bytes:
        return super().body(model, rows, kind) if kind == ARROW else split_body(model, rows)

    def scores(self, answer: bytes, kind: str) -> list[float]:
        if kind == ARROW:
            return super().scores(answer, kind)
        return [row["score"] for row in json.loads(answer)["predictions"]]


class Bare(System):
    formats = (JSON, ARROW)

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.name = "bare" if workers == 1 else f"bare x{workers}"
        self.settings = f"uvicorn, uvloop, httptools, orjson, {workers} process(es), same kernel"

    def launch(self, home: Path, model: Trained, folder: Path, port: int) -> Launch:
        return Launch(
            [self.program(home, "uvicorn"), "peers_bare:app", "--port", str(port), "--loop",
             "uvloop", "--http", "httptools", "--workers", str(self.workers), "--no-access-log",
             "--log-level", "warning", "--lifespan", "off"],
            HERE,
            f"http://127.0.0.1:{port}/",
            env={"KERNEL": str(model.files / "kernel/model.onnx")},
        )  # fmt: skip

    def body(self, model: Trained, rows: Rows, kind: str) -> bytes:
        return super().body(model, rows, kind) if kind == ARROW else split_body(model, rows)

    def scores(self, answer: bytes, kind: str) -> list[float]:
        if kind == ARROW:
            return super().scores(answer, kind)
        found: list[float] = json.loads(answer)["predictions"]
        return found


class MLflow(System):
    name = "mlflow"
    settings = "mlflow models serve --env-manager local --workers 2; uvloop, httptools"
    packages = ("mlflow==3.17.2", "skops==0.14.0", "uvloop", "httptools", NUMPY, *MODELS)

    def launch(self, home: Path, model: Trained, folder: Path, port: int) -> Launch:
        path = str(Path(self.program(home, "mlflow")).parent)
        return Launch(
            [self.program(home, "mlflow"), "models", "serve", "-m", str(model.files / "mlflow"),
             "-h", "127.0.0.1", "-p", str(port), "--workers", str(CORES),
             "--env-manager", "local"],
            folder,
            f"http://127.0.0.1:{port}/invocations",
            env={"PATH": f"{path}:{os.environ['PATH']}", "UVICORN_ACCESS_LOG": "0",
                 "UVICORN_LOG_LEVEL": "warning"},
        )  # fmt: skip

    def body(self, model: Trained, rows: Rows, kind: str) -> bytes:
        return split_body(model, rows)

    def scores(self, answer: bytes, kind: str) -> list[float]:
        found = json.loads(answer)["predictions"]
        return [row[-1] if isinstance(row, list) else row for row in found]


class MLServer(System):
    name = "mlserver"
    settings = "parallel_workers 2, adaptive batching 16 / 1 ms, debug off"
    packages = (
        "mlserver==1.7.1", "mlserver-sklearn==1.7.1", "mlserver-lightgbm==1.7.1",
        # Its workers ask for an event loop before there is one, which newer ones refuse.
        "uvloop==0.21.0", NUMPY, *MODELS,
    )  # fmt: skip

    def launch(self, home: Path, model: Trained, folder: Path, port: int) -> Launch:
        forest = model.name == "forest"
        settings = {
            "name": model.name,
            "implementation": "mlserver_sklearn.SKLearnModel"
            if forest
            else "mlserver_lightgbm.LightGBMModel",
            "max_batch_size": 16,
            "max_batch_time": 0.001,
            "parameters": {
                "uri": str(model.files / ("model.joblib" if forest else "model.bst")),
                "extra": {"predict_fn": "predict_proba"} if forest else {},
            },
        }
        server = {
            "host": "127.0.0.1",
            "http_port": port,
            "grpc_port": port + 1,
            "metrics_port": port + 2,
            "debug": False,
            "parallel_workers": CORES,
            "gzip_enabled": False,
        }
        (folder / "model-settings.json").write_text(json.dumps(settings))
        (folder / "settings.json").write_text(json.dumps(server))
        return Launch(
            [self.program(home, "mlserver"), "start", "."],
            folder,
            f"http://127.0.0.1:{port}/v2/models/{model.name}/infer",
        )

    def body(self, model: Trained, rows: Rows, kind: str) -> bytes:
        tensor = {
            "name": "rows",
            "shape": [len(rows), len(rows[0])],
            "datatype": "FP64",
            "data": [value for row in rows for value in row],
        }
        return json.dumps({"inputs": [tensor]}).encode()

    def scores(self, answer: bytes, kind: str) -> list[float]:
        output = json.loads(answer)["outputs"][0]
        found: list[float] = output["data"]
        width = len(found) // output["shape"][0]
        return found[width - 1 :: width]


class Service(System):
    """A peer whose service is a file of ours beside this one."""

    def launch(self, home: Path, model: Trained, folder: Path, port: int) -> Launch:
        file = model.files / ("model.joblib" if model.name == "forest" else "model.bst")
        return Launch(
            self.argv(home, port),
            folder,
            f"http://127.0.0.1:{port}{self.path}",
            env={
                "MODEL": str(file),
                "PORT": str(port),
                "PYTHONPATH": str(HERE),
                "TMPDIR": str(folder),
                **self.extra(folder),
            },
        )

    path = "/"

    @abstractmethod
    def argv(self, home: Path, port: int) -> list[str]:
        """The command."""

    def extra(self, folder: Path) -> dict[str, str]:
        """More of the environment."""
        return {}


class BentoML(Service):
    name = "bentoml"
    settings = "workers 2, adaptive batching 64"
    packages = ("bentoml==1.4.39", NUMPY, *MODELS)
    path = "/score"

    def argv(self, home: Path, port: int) -> list[str]:
        return [self.program(home, "bentoml"), "serve", "peers_bentoml:Scorer", "--host",
                "127.0.0.1", "--port", str(port), "--working-dir", str(HERE), "-q"]  # fmt: skip

    def extra(self, folder: Path) -> dict[str, str]:
        return {"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}

    def scores(self, answer: bytes, kind: str) -> list[float]:
        found: list[float] = json.loads(answer)
        return found


class LitServe(Service):
    name = "litserve"
    settings = "workers_per_device 2, num_api_servers 2, fast_queue, batching 16 / 1 ms"
    packages = ("litserve==0.2.19", "uvloop", "httptools", NUMPY, *MODELS)
    path = "/predict"

    def argv(self, home: Path, port: int) -> list[str]:
        return [self.program(home, "python"), str(HERE / "peers_litserve.py")]


class RayServe(Service):
    name = "ray"
    settings = "num_replicas 2, batching 16 / 1 ms, RAY_SERVE_THROUGHPUT_OPTIMIZED"
    packages = ("ray[serve]==2.60.0", NUMPY, *MODELS)

    def argv(self, home: Path, port: int) -> list[str]:
        return [self.program(home, "python"), str(HERE / "peers_ray.py")]

    def extra(self, folder: Path) -> dict[str, str]:
        # Ray's sockets must have short paths.
        return {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0",
                "TMPDIR": "/tmp"}  # fmt: skip


def systems(project: Path) -> dict[str, System]:
    """All of them by name, Headrace first."""
    listed: list[System] = [
        Headrace(project), Bare(1), Bare(CORES), MLflow(), MLServer(), BentoML(), LitServe(),
        RayServe(),
    ]  # fmt: skip
    return {system.name: system for system in listed}


def split_body(model: Trained, rows: Rows) -> bytes:
    """MLflow's ``dataframe_split``."""
    return json.dumps({"dataframe_split": {"columns": model.columns, "data": rows}}).encode()


def arrow_body(columns: Sequence[str], rows: Rows) -> bytes:
    """An Arrow IPC stream."""
    import pyarrow as pa

    arrays: list[Any] = [pa.array(values) for values in zip(*rows, strict=True)]
    table = pa.table(dict(zip(columns, arrays, strict=True)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def arrow_scores(answer: bytes) -> list[float]:
    """The ``score`` column of an Arrow IPC stream."""
    import pyarrow as pa

    found: list[float] = pa.ipc.open_stream(answer).read_all()["score"].to_pylist()
    return found


def shown(launch: Launch) -> str:
    """The command as one would type it."""
    return shlex.join(launch.argv)
