"""What a plane must survive while clients ask at a constant rate, whatever it answers."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from functools import partial

import pytest
from tests.planes import Client, Served, eventually, has_state, spec
from tests.serving.test_plane import up
from tests.serving.underload import (
    asked,
    assert_answers_are_right,
    assert_logged_once,
    kill,
    logged,
    plane_pid,
    prediction_ids,
    shippers,
    templates,
    version_of,
    workers,
)

from headrace.endpoints import endpoint_status, rollback, shift
from headrace.serving import running_plane
from headrace.workers import WorkerSpec

pytestmark = pytest.mark.slow


def wait_for_share(client: Client, green: int) -> None:
    """Until the plane has taken in a shift."""
    eventually(lambda: client.request("/endpoints/scores").json["traffic"]["green"] == green)


def another_worker(project: Served, before: set[int]) -> set[int]:
    """Workers that were not there before."""
    return set(workers(project)) - before


def test_a_killed_worker_takes_only_its_own_call_with_it(project: Served) -> None:
    project.deploy("third")
    with running_plane(project.paths) as url, asked(project, url) as load:
        load.more(50)
        for _ in range(2):
            before = set(eventually(partial(workers, project)))
            kill(min(before))
            eventually(partial(another_worker, project, before))
            load.more(50)
        kill(templates(project)[0])
        load.more(100)
    failed = load.failed()
    assert {sent.status for sent in failed} <= {500, 502, 503}, load.outcomes()
    # At 50 a second and some milliseconds a call, few requests share one.
    assert len(failed) <= 2 * 16
    assert_answers_are_right(load)
    assert_logged_once(project, load)


def test_a_killed_shipper_is_not_noticed_by_clients(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url, asked(project, url) as load:
        for _ in range(3):
            load.more(60)
            (shipper,) = eventually(shippers)
            kill(shipper)
        load.more(60)
        # Shipped while the load goes on, not only by the last round of a drain.
        so_far = prediction_ids(load)
        eventually(lambda: so_far.items() <= logged(project).items(), 15)
    assert load.failed() == []
    assert_logged_once(project, load)


@pytest.mark.parametrize("kind", ["first", "third"], ids=["kernel", "worker"])
def test_a_killed_plane_loses_only_what_it_was_answering(project: Served, kind: str) -> None:
    project.deploy(kind)
    with running_plane(project.paths) as url, asked(project, url, connections=32) as load:
        load.more(50)
        killed = len(load.ended)
        kill(plane_pid(project.paths))
        eventually(lambda: len(load.ended) > killed + 32 and load.ended[-1].status == 200)
        load.more(50)
    failed = load.failed()
    # On each connection at most the request that was under way; new ones wait in the queue of
    # the listening socket, which the supervisor holds.
    assert all((sent.error or "").startswith("lost") for sent in failed), load.outcomes()
    assert len(failed) <= 32
    assert_answers_are_right(load)
    assert_logged_once(project, load, unanswered=len(failed))
    assert endpoint_status(project.workspace, "scores").served == len(logged(project))


def test_a_drain_answers_all_that_was_accepted(project: Served) -> None:
    project.deploy("first")
    with up(project) as (process, url), asked(project, url) as load:
        load.more(100)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        load.more(5)
    assert all(
        (sent.error or "").startswith(("lost", "connect")) or sent.status == 503
        for sent in load.failed()
    ), load.outcomes()
    assert len(load.answered()) >= 100
    # Logged and answered are the same: nothing that was accepted went without its answer.
    assert logged(project) == prediction_ids(load)
    assert_answers_are_right(load)


def test_a_shift_and_a_rollback_fail_no_request(project: Served) -> None:
    project.deploy("first")
    with running_plane(project.paths) as url, asked(project, url) as load:
        client = project.client(url)
        load.more(20)
        green = project.deploy("second", spec(steps=[1, 100], every="1h"))
        eventually(lambda: has_state(project.workspace, green, "ready"))
        for share in (0, 10, 50, 100):
            shift(project.workspace, "scores", {"blue": 100 - share, "green": share})
            wait_for_share(client, share)
            load.more(60)
        assert version_of(load.ended[-1]) == "2"
        rollback(project.workspace, "scores", by="test")
        wait_for_share(client, 0)
        load.more(100)
        assert version_of(load.ended[-1]) == "1"
    assert load.failed() == []
    assert_answers_are_right(load)
    assert set(Counter(version_of(sent) for sent in load.ended)) == {"1", "2"}
    assert_logged_once(project, load)


def test_a_scale_up_fails_no_request(project: Served) -> None:
    bounds = WorkerSpec(min=1, max=2, batch_rows=1)
    endpoint = spec().model_copy(update={"workers": bounds})
    project.deploy("slow", endpoint)  # 0.3 s a call: one worker answers three a second
    with running_plane(project.paths) as url, asked(project, url, rate=5) as load:
        load.more(1)
        eventually(lambda: len(workers(project)) == 2, 60)
        load.more(30)
    assert load.failed() == []
    assert_answers_are_right(load)
    assert_logged_once(project, load)


def test_a_database_that_goes_away_and_comes_back(project: Served) -> None:
    project.deploy("first")
    file = project.paths.state / "headrace.db"
    with running_plane(project.paths) as url, asked(project, url, connections=32) as load:
        load.more(50)
        with sqlite3.connect(file, isolation_level=None) as lock:
            lock.execute("BEGIN IMMEDIATE")
            kill(shippers()[0])
            load.more(150)
            lock.execute("ROLLBACK")
        lock.close()
        assert load.failed() == []
        project.workspace.store.close()
        gone = file.with_suffix(".gone")
        file.rename(gone)
        killed = len(load.ended)
        kill(plane_pid(project.paths))
        eventually(lambda: len(load.ended) > killed + 32 and load.ended[-1].status == 200)
        load.more(50)
        gone.rename(file)
    assert all((sent.error or "").startswith("lost") for sent in load.failed()), load.outcomes()
    assert_answers_are_right(load)
    assert_logged_once(project, load, unanswered=len(load.failed()))
