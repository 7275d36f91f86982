"""The chain: whatever is taken out of it, put in or moved, is noticed."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.evidence.worlds import World, make_world

from headrace import clock
from headrace.catalog import Store
from headrace.evidence import Keys, append, evidence_of, find, verify, verify_chain
from headrace.evidence.envelope import seal
from headrace.evidence.store import heads, statements
from headrace.settings import Paths

CHANGES: dict[str, tuple[str, str]] = {
    "removed": ("DELETE FROM headrace_evidence WHERE sequence = 3", "statement 3: it is not there"),
    "several removed": (
        "DELETE FROM headrace_evidence WHERE sequence IN (2, 3)",
        "statement 2: it is not there, nor are the 1 after it",
    ),
    "the first removed": (
        "DELETE FROM headrace_evidence WHERE sequence = 1",
        "statement 1: it is not there",
    ),
    "the last removed": (
        "DELETE FROM headrace_evidence WHERE sequence = 5",
        "its end: statement 5, the last, is not there",
    ),
    "all removed": ("DELETE FROM headrace_evidence", "its end: statement 5, the last"),
    "the head removed": ("DELETE FROM headrace_evidence_head", "the signed head is missing"),
    "the head wound back": (
        "UPDATE headrace_evidence_head SET sequence = 4, digest = "
        "(SELECT digest FROM headrace_evidence WHERE sequence = 4)",
        "the head is not the one that was signed",
    ),
    "reordered": (
        "UPDATE headrace_evidence SET envelope = (SELECT e.envelope FROM headrace_evidence AS e "
        "WHERE e.sequence = 5 - headrace_evidence.sequence) WHERE sequence IN (2, 3)",
        "statement 2: it is another than the one that was appended",
    ),
    "a second head": (
        "INSERT INTO headrace_evidence_head SELECT 2, 0, digest, keyid, envelope "
        "FROM headrace_evidence_head; DELETE FROM headrace_evidence WHERE sequence = 5",
        "its end: statement 5, the last, is not there",
    ),
    "the head of another key": (
        "UPDATE headrace_evidence_head SET keyid = 'none'",
        "the head is not the one that was signed",
    ),
    "a kind changed": (
        "UPDATE headrace_evidence SET kind = 'overridden' WHERE sequence = 2",
        "statement 2: it is number 2, promoted, by itself",
    ),
    "a version changed": (
        "UPDATE headrace_evidence SET version = 9 WHERE sequence = 2",
        "statement 2: it is number 2, promoted, by itself",
    ),
    "an envelope changed": (
        "UPDATE headrace_evidence SET envelope = replace(envelope, 'A', 'B') WHERE sequence = 2",
        "statement 2: ",
    ),
}


@pytest.fixture
def chain(world: World) -> World:
    for version in range(1, 6):
        world.append(version=version)
    return world


def test_statements_are_numbered_and_name_the_one_before(chain: World) -> None:
    found = verify_chain(chain.store, chain.public)
    assert found.ok, found.problems
    assert found.length == 5
    five = evidence_of(chain.store, "failure", 5)[0]
    four = evidence_of(chain.store, "failure", 4)[0]
    assert found.digest == five.digest
    says = verify(five.envelope, chain.public).predicate
    assert (says["sequence"], says["previous"]) == (5, four.digest)
    assert find(chain.store, four.digest) == four
    assert find(chain.store, "0" * 64) is None


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_done_to_the_chain_is_noticed(chain: World, what: str) -> None:
    statement, problem = CHANGES[what]
    with chain.store.begin() as connection:
        for each in statement.split("; "):
            connection.execute(text(each))
    found = verify_chain(chain.store, chain.public)
    assert not found.ok
    assert any(problem in str(each) for each in found.problems), found.problems


def test_the_last_statement_and_its_head_cannot_both_be_removed(chain: World) -> None:
    """Without the key nobody makes the head of four statements out of that of five."""
    with chain.store.begin() as connection:
        connection.execute(statements.delete().where(statements.c.sequence == 5))
        connection.execute(heads.delete())
    assert not verify_chain(chain.store, chain.public).ok


@pytest.mark.parametrize(
    "what",
    ["the last removed", "the head removed", "the head wound back", "the head of another key"],
)
def test_a_break_is_not_healed_by_going_on(chain: World, what: str) -> None:
    with chain.store.begin() as connection:
        connection.execute(text(CHANGES[what][0]))
    made = chain.append(version=6)
    assert verify(made.envelope, chain.public, model=chain.model).ok
    again = chain.append(version=7)
    assert again.sequence == made.sequence + 1
    found = verify_chain(chain.store, chain.public)
    assert any("appended to a broken chain" in str(each) for each in found.problems)


def test_a_statement_of_another_workspace_does_not_fit_in(
    chain: World, make: Callable[..., World]
) -> None:
    other = make()
    for version in range(1, 7):
        other.append(version=version)
    foreign = evidence_of(other.store, "failure", 6)[0]
    with chain.store.begin() as connection:
        row = {**vars(foreign), "envelope": foreign.envelope.decode()}
        connection.execute(statements.insert().values(**row))
    found = verify_chain(chain.store, chain.public)
    assert any("statement 6: it is signed by key" in str(each) for each in found.problems)


def test_a_signed_value_that_is_no_statement_is_a_problem_and_no_crash(chain: World) -> None:
    envelope = seal({"predicate": {}}, chain.keys.signer())
    with chain.store.begin() as connection:
        change = statements.update().where(statements.c.sequence == 2)
        connection.execute(change.values(envelope=envelope.decode()))
    found = verify_chain(chain.store, chain.public)
    assert any("statement 2: it is no" in str(each) for each in found.problems), found.problems


def test_references_to_what_is_gone_are_noticed(chain: World) -> None:
    """Also where chain and head were put back to an earlier copy: the alias has moved since."""
    five = evidence_of(chain.store, "failure", 5)[0]
    with chain.store.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE model_version_tags "
                "(workspace TEXT, name TEXT, version INTEGER, key TEXT, value TEXT)"
            )
        )
        tag = "INSERT INTO model_version_tags VALUES ('default', 'failure', {}, '{}', '{}')"
        connection.execute(text(tag.format(5, "headrace.evidence", five.digest)))
        connection.execute(text(tag.format(6, "headrace.evidence", "0" * 64)))
        connection.execute(text(tag.format(7, "headrace.verdict", "promoted")))
    found = verify_chain(chain.store, chain.public)
    assert [str(each) for each in found.problems] == ["failure/6 names 0000000000000000: not there"]


def test_a_clock_that_jumps_back_changes_nothing(
    chain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = datetime(2001, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: past)
    made = chain.append(version=1)
    assert made.created_at == past
    assert made.sequence == 6
    assert verify_chain(chain.store, chain.public).ok
    newest, oldest = evidence_of(chain.store, "failure", 1)
    assert (newest, oldest.sequence) == (made, 1)
    assert newest.created_at < oldest.created_at - timedelta(days=365)


def test_a_transaction_that_fails_leaves_no_statement(chain: World) -> None:
    def fail() -> None:
        with chain.store.begin() as connection:
            append(connection, chain.keys, chain.decision(version=6))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert evidence_of(chain.store, "failure", 6) == []
    found = verify_chain(chain.store, chain.public)
    assert (found.ok, found.length) == (True, 5)


def _append(root: str, url: str, worker: int, times: int) -> None:
    world = World(Paths(Path(root)), Store.open(url))
    for number in range(times):
        world.append(version=100 * worker + number)
    world.store.close()


def test_those_that_append_at_once_take_turns(url: str, tmp_path: Path) -> None:
    """On SQLite and on PostgreSQL: one chain, with every statement once."""
    world = make_world(tmp_path / "shared", url)
    world.keys.ensure()
    context = multiprocessing.get_context("spawn")
    root = str(world.paths.root)
    workers: list[Any] = [
        context.Process(target=_append, args=(root, url, worker, 5)) for worker in (1, 2, 3)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join(timeout=300)
    assert [process.exitcode for process in workers] == [0, 0, 0]
    found = verify_chain(world.store, Keys(world.paths).public())
    assert found.ok, found.problems
    assert found.length == 15
    versions = [100 * worker + number for worker, number in itertools.product((1, 2, 3), range(5))]
    assert all(len(evidence_of(world.store, "failure", version)) == 1 for version in versions)
    world.store.close()
