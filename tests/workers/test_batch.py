"""One worker, driven by blocking calls."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.workers.conftest import rows, values
from tests.workers.test_failures import TROUBLE, alive

from headrace.environments import Environment
from headrace.workers import BatchWorker, BatchWorkerError, batch

Make = Callable[..., Path]


def test_a_batch_worker_predicts_fails_and_comes_again(make_model: Make) -> None:
    with BatchWorker(make_model(TROUBLE), Environment.running()) as worker:
        assert worker.pid is None
        assert values(worker.predict(rows(1.0, 2.0))) == [2.0, 4.0]
        pid = worker.pid
        with pytest.raises(BatchWorkerError, match="SystemExit") as caught:
            worker.predict(rows(-5.0))
        assert not caught.value.died
        assert worker.pid == pid
        with pytest.raises(BatchWorkerError, match="SIGSEGV") as caught:
            worker.predict(rows(-1.0))
        assert caught.value.died
        with pytest.raises(BatchWorkerError, match="in time"):
            worker.predict(rows(-2.0), seconds=0.2)
        assert values(worker.predict(rows(3.0))) == [6.0]
        last = worker.pid
    assert worker.pid is None
    assert pid is not None
    assert last is not None
    assert not alive(pid)
    assert not alive(last)


def test_closing_ends_a_prediction_that_hangs(make_model: Make) -> None:
    worker = BatchWorker(make_model(TROUBLE), Environment.running())
    worker.predict(rows(1.0))
    pid = worker.pid
    assert pid is not None
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(worker.predict, rows(-2.0))
        while not worker._lock.locked():
            time.sleep(0.001)
        worker.close()
        with pytest.raises(BatchWorkerError, match="SIGKILL"):
            hung.result(timeout=10)
    assert not alive(pid)
    assert worker.pid is None


def test_an_answer_that_nobody_took_is_not_the_next_one_s(
    make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BatchWorker(make_model(), Environment.running()) as worker:
        worker.predict(rows(1.0))
        with monkeypatch.context() as patch:

            def interrupted(size: int) -> bytearray:
                raise KeyboardInterrupt

            patch.setattr(worker, "_receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                worker.predict(rows(2.0))
        assert values(worker.predict(rows(3.0))) == [6.0]


def test_a_batch_worker_is_limited(make_model: Make) -> None:
    model = make_model(TROUBLE)
    with (
        BatchWorker(model, Environment.running(), memory=1 << 30) as worker,
        pytest.raises(BatchWorkerError, match="MemoryError"),
    ):
        worker.predict(rows(-3.0))


def test_a_model_that_does_not_load_is_told(make_model: Make) -> None:
    worker = BatchWorker(make_model("raise KeyError('weights')"), Environment.running())
    with pytest.raises(BatchWorkerError, match="does not load: KeyError: 'weights'"):
        worker.predict(rows(1.0))
    assert worker.pid is None


def test_a_batch_worker_travels_without_its_process_and_without_headrace(
    make_model: Make, tmp_path: Path
) -> None:
    import cloudpickle

    cloudpickle.register_pickle_by_value(batch)
    try:
        with BatchWorker(make_model(), Environment.running()) as worker:
            worker.predict(rows(1.0))
            sent = tmp_path / "worker.pickle"
            sent.write_bytes(cloudpickle.dumps(worker))
    finally:
        cloudpickle.unregister_pickle_by_value(batch)
    code = """
        import pickle, sys
        sys.modules["headrace"] = None
        import pyarrow as pa
        worker = pickle.load(open(sys.argv[1], "rb"))
        print(worker.predict(pa.table({"x": [21.0]})).column(0).to_pylist())
        worker.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), sent],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "[42.0]\n", done.stderr


def test_its_error_travels() -> None:
    error = BatchWorkerError("model", "it ended", died=True)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reason, again.died) == ("model: it ended", "it ended", True)
