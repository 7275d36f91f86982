"""Approvals: which count, and why others do not. Weighed as the offline check weighs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace import clock
from headrace.approvals import ApprovalRefusedError, Ask, approve, counted
from headrace.catalog import Audit, Store
from headrace.evidence.approval import problems, sign, weigh

from .conftest import Member, signer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path / 'headrace.db'}")
    yield store
    store.close()


@pytest.fixture
def ask(member: Member) -> Ask:
    """Two of ann, bob and eve, not of dan, who asked."""
    return Ask(
        model="failure",
        version=2,
        alias="production",
        evidence="e" * 64,
        requester="dan",
        members={name: member(name) for name in ("ann", "bob", "eve", "dan")},
        count=2,
        expires=timedelta(days=7),
    )


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON)


def test_members_approve_each_once(store: Store, ask: Ask) -> None:
    approve(store, ask, "ann", signer("ann"), by="ann")
    approve(store, ask, "bob", signer("bob"), by="bob")
    with store.reading() as connection:
        found = counted(connection, ask)
    assert [(each.approver, each.refused, each.expires) for each in found] == [
        ("ann", None, NOON + timedelta(days=7)),
        ("bob", None, NOON + timedelta(days=7)),
    ]
    with pytest.raises(ApprovalRefusedError, match="ann cannot approve") as raised:
        approve(store, ask, "ann", signer("ann"), by="ann")
    assert raised.value.why == "ann has approved already"
    entries = Audit(store).entries("failure")
    assert [(each.outcome, each.by, each.details["approver"]) for each in entries] == [
        ("refused", "ann", "ann"),
        ("done", "bob", "bob"),
        ("done", "ann", "ann"),
    ]


def test_who_cannot_approve_is_told_why(store: Store, ask: Ask, member: Member) -> None:
    member("mallory")
    for name, key, why in (
        ("dan", "dan", "the requester cannot approve"),
        ("mallory", "mallory", "no member's key signed it"),
        ("bob", "ann", "the key is ann's, not bob's"),
    ):
        with pytest.raises(ApprovalRefusedError) as raised:
            approve(store, ask, name, signer(key), by=name)
        assert why in str(raised.value.why)
    with store.reading() as connection:
        assert counted(connection, ask) == []


def test_an_approval_counts_for_what_it_was_given_for_alone(ask: Ask) -> None:
    given = sign(ask, NOON + timedelta(days=7), signer("ann"))
    assert [each.refused for each in weigh([given], ask, NOON)] == [None]
    replayed: list[tuple[dict[str, Any], str]] = [
        ({"version": 3}, "it is for failure/2"),
        ({"model": "other"}, "it is for failure/2"),
        ({"alias": "staging"}, "it is for the alias production"),
        ({"evidence": "f" * 64}, "it is for other evidence"),
        ({"members": {"bob": ask.members["bob"]}}, "no member's key signed it"),
        ({"members": {**ask.members, "eve": ask.members["ann"]}}, "have one key"),
        ({"requester": "ann"}, "the requester cannot approve"),
    ]
    for changes, why in replayed:
        found = weigh([given], replace(ask, **changes), NOON)[0].refused
        assert found is not None
        assert why in found, changes
    assert [each.refused for each in weigh([given, given], ask, NOON)] == [
        None,
        "ann has approved already",
    ]


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (timedelta(days=7), "it expired"),
        (timedelta(days=70), "it expired"),
        (-timedelta(hours=1), "later than the rule allows; is the clock right?"),
        (timedelta(days=6, hours=23), None),
    ],
)
def test_an_approval_expires_also_when_the_clock_jumps(
    ask: Ask, later: timedelta, why: str | None
) -> None:
    given = sign(ask, NOON + timedelta(days=7), signer("ann"))
    found = weigh([given], ask, NOON + later)[0].refused
    assert (found is None) == (why is None)
    if why is not None and found is not None:
        assert why.split(",")[0].split(";")[0] in found


def test_a_changed_byte_is_noticed(ask: Ask) -> None:
    given = sign(ask, NOON + timedelta(days=7), signer("ann"))
    for place in range(0, len(given), 7):
        changed = bytearray(given)
        changed[place] ^= 1
        assert weigh([bytes(changed)], ask, NOON)[0].refused is not None, place


def test_approvals_in_a_statement_are_checked_offline(ask: Ask) -> None:
    given = [sign(ask, NOON + timedelta(days=1), signer(name)).decode() for name in ("ann", "bob")]
    body = {"ask": ask.as_json(), "at": clock.iso(NOON), "given": given}
    assert list(problems(body, "failure", 2, "production")) == []
    assert list(problems({**body, "given": given[:1]}, "failure", 2, "production")) == [
        "1 of 2 approvals count"
    ]
    assert list(problems({**body, "given": given[:1] * 2}, "failure", 2, "production")) == [
        "an approval of ann does not count: ann has approved already",
        "1 of 2 approvals count",
    ]
    assert len(list(problems(body, "failure", 3, "production"))) == 3
    assert "not of the form" in next(problems({"ask": {}}, "failure", 2, "production"))
