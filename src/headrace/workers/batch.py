"""One worker for batch scoring: the same process, driven by blocking calls.

The class can be sent to an engine's Python workers by value: it carries the worker's script, and
its methods other than the constructor import nothing of Headrace.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

    from headrace.environments import Environment
    from headrace.workers.result import Result


class BatchWorkerError(RuntimeError):
    """A worker of a batch did not score.

    Attributes:
        reason: what the model raised, or how the process ended.
        died: whether the process is gone; the next call starts another.
    """

    def __init__(self, model: str, reason: str, *, died: bool) -> None:
        self.model, self.reason, self.died = model, reason, died
        super().__init__(f"{model}: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _error, (self.model, self.reason, self.died)


def _error(model: str, reason: str, died: bool) -> BatchWorkerError:  # of a pickle
    return BatchWorkerError(model, reason, died=died)


class BatchWorker:
    """A process with the model loaded; it starts at the first prediction.

    A pickled one comes without its process. Threads take turns. It ends with ``close``, with the
    object, and with this process, however that ends.

    Args:
        model: directory of an MLflow model.
        environment: whose Python it runs with.
        memory: bytes that it may take; 0 for no limit.
        start_seconds: time to load the model.
    """

    def __init__(
        self,
        model: Path | str,
        environment: Environment,
        *,
        memory: int = 0,
        start_seconds: float = 120.0,
    ) -> None:
        from headrace.workers.launch import SCRIPT, variables_of

        self.model, self.python = str(Path(model).absolute()), str(environment.python)
        self.memory, self.start_seconds = memory, start_seconds
        self._script = SCRIPT.read_text()
        self._variables = variables_of(current=environment.current)
        self._reset()

    def predict(
        self,
        table: pa.Table,
        params: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> Result:
        """Predictions of the rows, one a row, as ``WorkerPool.predict`` gives them.

        Args:
            table: typed by the model's signature.
            params: passed to the model.
            seconds: time for it; the process is ended when it is over.

        Raises:
            BatchWorkerError: the model raised an error, or the process ended or was too slow.
        """
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        with self._lock:
            if self._process is None:
                self._start()
            assert self._socket is not None  # noqa: S101  # it has started
            self._socket.settimeout(seconds)
            header, payload = self._ask({"params": dict(params)} if params else {}, sink.getvalue())
        if "error" in header:
            raise BatchWorkerError(self.model, header["reason"], died=False)
        if header["kind"] == "json":
            values: list[Any] = json.loads(payload)
            return values
        return pa.ipc.open_stream(pa.py_buffer(payload)).read_all()

    @property
    def pid(self) -> int | None:
        """Of its process, if there is one."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End its process, also under a prediction, which fails."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        with self._lock:
            self._end()

    def __enter__(self) -> BatchWorker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self._end()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_lock", "_process", "_socket", "_keeper", "_home")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._keeper: threading.Thread | None = None
        self._home = ""

    def _start(self) -> None:
        self._home = tempfile.mkdtemp(prefix="headrace-worker-")
        started = threading.Event()
        failed: list[OSError] = []
        ours, theirs = socket.socketpair()

        def keep() -> None:
            # The child ends with the thread that started it, so that thread waits for its end.
            try:
                process = self._process = self._popen(theirs)
            except OSError as error:
                failed.append(error)
                return
            finally:
                theirs.close()
                started.set()
            process.wait()

        self._socket = ours
        self._keeper = threading.Thread(target=keep, name="batch-worker", daemon=True)
        self._keeper.start()
        started.wait()
        if failed:
            self._end()
            raise BatchWorkerError(self.model, str(failed[0]), died=True)
        self._socket.settimeout(self.start_seconds)
        config = {"model": self.model, "memory": self.memory, "home": self._home}
        told, _ = self._ask(config, b"")
        if not told.get("ready"):
            self._end()
            reason = f"the model does not load: {told.get('failed')}"
            raise BatchWorkerError(self.model, reason, died=True)

    def _popen(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        script = Path(self._home) / "process.py"
        script.write_text(self._script)
        dropped, first, last = self._variables
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        with open(Path(self._home) / "errors", "wb") as errors:  # noqa: PTH123
            return subprocess.Popen(  # noqa: S603  # the environment's own Python
                [self.python, script, "worker", str(theirs.fileno()), str(os.getpid())],
                cwd=self._home,
                env={**first, **kept, **last, "TMPDIR": self._home},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def _ask(self, header: dict[str, Any], payload: Any) -> tuple[dict[str, Any], bytearray]:
        assert self._socket is not None  # noqa: S101  # the caller holds the lock, and started it
        text = json.dumps(header).encode()
        prefix = struct.Struct("!IQ")
        try:
            self._socket.sendall(prefix.pack(len(text), len(payload)) + text)
            self._socket.sendall(payload)
            size, rest = prefix.unpack(self._receive(prefix.size))
            told: dict[str, Any] = json.loads(self._receive(size))
            return told, self._receive(rest)
        except TimeoutError:
            self._end()
            raise BatchWorkerError(self.model, "it did not answer in time", died=True) from None
        except OSError as error:
            raise BatchWorkerError(self.model, self._how(error), died=True) from error
        except BaseException:
            # What it still answers would be taken for the next answer.
            self._end()
            raise

    def _receive(self, size: int) -> bytearray:
        assert self._socket is not None  # noqa: S101  # see _ask
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise ConnectionResetError("its process ended")
            view = view[count:]
        return data

    def _how(self, error: OSError) -> str:
        """Why it is gone; it has closed its socket."""
        process, home = self._process, Path(self._home)
        if process is None or self._keeper is None:
            return str(error)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self._keeper.join(10)
        with open(home / "errors", "rb") as errors:  # noqa: PTH123
            errors.seek(max(0, (home / "errors").stat().st_size - 4096))
            words = errors.read().decode(errors="replace").strip().splitlines()
        self._end()
        status = process.returncode
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        return f"its process ended ({how})" + (f": {words[-1][:300]}" if words else "")

    def _end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._keeper is not None and self._keeper is not threading.current_thread():
            self._keeper.join(10)
        if self._socket is not None:
            self._socket.close()
        if self._home:
            shutil.rmtree(self._home, ignore_errors=True)
        self._process = self._socket = self._keeper = None
        self._home = ""
