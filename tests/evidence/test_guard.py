"""What may be used under a protected alias."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from headrace.catalog import guards
from headrace.evidence import Decision, check, check_alias, protected_alias
from headrace.evidence.errors import (
    AliasUnstatedError,
    EvidenceMissingError,
    EvidenceRefusedError,
)

if TYPE_CHECKING:
    from tests.evidence.worlds import World


def passes(world: World, version: int = 2, alias: str = "production", away: bool = False) -> None:
    store = None if away else world.store
    check(world.paths, store, "failure", version, alias, world.model)


@pytest.mark.parametrize("kind", ["promoted", "overridden"])
def test_a_version_with_evidence_passes(world: World, kind: str) -> None:
    evidence = world.append(kind=kind)
    passes(world)
    (kept,) = (world.paths.state / "evidence").glob("failure*")
    assert kept.read_bytes() == evidence.envelope


@pytest.mark.parametrize("kind", [None, "refused", "waiting"])
def test_a_version_that_nothing_gives_the_alias_does_not(world: World, kind: str | None) -> None:
    if kind is not None:
        world.append(kind=kind)
    with pytest.raises(EvidenceMissingError, match="Version 2 of failure") as caught:
        passes(world)
    assert (caught.value.model, caught.value.version) == ("failure", 2)
    assert "headrace override failure/2" in str(caught.value.next)


def test_the_evidence_of_another_version_or_alias_is_none(world: World) -> None:
    world.append(version=2)
    with pytest.raises(EvidenceMissingError):
        passes(world, version=3)
    with pytest.raises(EvidenceMissingError):
        passes(world, alias="canary")
    passes(world, alias="Production")


def test_other_files_do_not_pass(world: World) -> None:
    world.append()
    (world.model / "model.skops").write_text("other")
    with pytest.raises(EvidenceRefusedError, match=r"changed: model\.skops") as caught:
        passes(world)
    assert caught.value.next == "headrace verify failure/2"


def test_an_edited_statement_does_not_pass(world: World) -> None:
    world.append()
    with world.store.begin() as connection:
        connection.execute(
            text("UPDATE headrace_evidence SET envelope = replace(envelope, 'x', 'y')")
        )
    with pytest.raises(EvidenceRefusedError):
        passes(world)


def test_a_statement_under_another_version_does_not_pass(world: World) -> None:
    world.append(version=2)
    with world.store.begin() as connection:
        connection.execute(text("UPDATE headrace_evidence SET version = 3"))
    with pytest.raises(EvidenceRefusedError, match="about failure/2, not failure/3"):
        passes(world, version=3)


def test_a_refusal_passed_off_as_a_promotion_does_not_pass(world: World) -> None:
    world.append(kind="refused", candidate=0.1)
    with world.store.begin() as connection:
        connection.execute(text("UPDATE headrace_evidence SET kind = 'promoted'"))
    with pytest.raises(EvidenceRefusedError):
        passes(world)


def test_without_the_database_what_passed_before_passes(world: World) -> None:
    with pytest.raises(EvidenceMissingError):
        passes(world, away=True)
    world.append()
    passes(world)
    passes(world, away=True)
    copy = next((world.paths.state / "evidence").iterdir())
    copy.write_bytes(copy.read_bytes().replace(b"A", b"B", 1))
    with pytest.raises(EvidenceRefusedError):
        passes(world, away=True)


def test_a_later_refusal_takes_nothing_away(world: World) -> None:
    """It is judged again when the rule changes; a person decides what a refusal then means."""
    granting = world.append()
    world.append(kind="refused")
    passes(world)
    (kept,) = (world.paths.state / "evidence").glob("failure*")
    assert kept.read_bytes() == granting.envelope


def test_which_references_need_evidence(world: World) -> None:
    assert protected_alias(world.paths, world.store, "failure@production") == "production"
    assert protected_alias(world.paths, world.store, "failure@PRODUCTION") == "PRODUCTION"
    assert protected_alias(world.paths, world.store, "failure@canary") is None
    assert protected_alias(world.paths, world.store, "failure/3") is None
    guards.protect(world.store, ["canary"], "test")
    assert protected_alias(world.paths, world.store, "failure@canary") == "canary"
    assert protected_alias(world.paths, world.store, "failure@production") is None


def _point(world: World, version: int) -> None:
    with world.store.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE IF NOT EXISTS registered_model_aliases "
                "(workspace TEXT, name TEXT, alias TEXT, version INTEGER)"
            )
        )
        connection.execute(text("DELETE FROM registered_model_aliases"))
        connection.execute(
            text(
                "INSERT INTO registered_model_aliases VALUES ('default', 'failure', 'production', :v)"
            ),
            {"v": version},
        )


def test_an_alias_that_was_moved_back_in_the_database_is_noticed(world: World) -> None:
    """Version 1 has evidence of its own, from when it was in production."""
    world.append(version=1)
    world.append(version=2)
    _point(world, 2)
    check_alias(world.store, "failure", 2, "production")
    _point(world, 1)
    with pytest.raises(AliasUnstatedError, match="leads to version 1") as caught:
        check_alias(world.store, "failure", 1, "production")
    assert caught.value.stated == 2


def test_an_alias_that_was_taken_away_and_put_back_in_the_database_is_noticed(
    world: World,
) -> None:
    world.append(version=1)
    world.append(Decision("overridden", "failure", None, {}, {"override": {"reason": "it harms"}}))
    _point(world, 1)
    with pytest.raises(AliasUnstatedError, match="the last statement takes it away") as caught:
        check_alias(world.store, "failure", 1, "production")
    assert "headrace override failure --none" in str(caught.value.next)


def test_an_alias_that_moved_since_it_was_resolved_is_no_contradiction(world: World) -> None:
    world.append(version=1)
    world.append(version=2)
    _point(world, 2)
    check_alias(world.store, "failure", 1, "production")


def test_bytecode_beside_the_code_is_removed_before_it_could_run(world: World) -> None:
    """Any process that loads a model may write it, so it is not signed; nor may it be loaded."""
    world.append()
    planted = world.model / "code" / "__pycache__" / "scorer.cpython-311.pyc"
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"anything")
    passes(world)
    assert not planted.exists()
    (world.model / "code" / "__pycache__").symlink_to(world.paths.root)
    with pytest.raises(EvidenceRefusedError):
        passes(world)
    assert world.paths.root.is_dir()
