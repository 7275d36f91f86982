"""The workspace's keys: made once, private, rotated with a statement."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.catalog import Audit
from headrace.evidence import Keys, PublicKey, rotate, verify, verify_chain
from headrace.evidence.errors import KeyFileError, KeyNotLostError, SigningKeyMissingError
from headrace.evidence.keys import read_public
from headrace.settings import Paths

if TYPE_CHECKING:
    from tests.evidence.worlds import World


def test_a_key_is_made_on_first_use_and_stays(world: World) -> None:
    assert world.public == []
    made = world.keys.ensure()
    assert world.keys.ensure() == made
    assert world.keys.signer().public_key.keyid == made.keyid
    assert [key.keyid for key in world.public] == [made.keyid]


def test_the_private_key_is_its_owners_alone(world: World) -> None:
    key = world.keys.ensure()
    path = world.keys.directory / f"{key.keyid}.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, "ring.json"]


def test_the_private_key_prints_nowhere(world: World) -> None:
    signer = world.keys.signer()
    pem = next(world.keys.directory.glob("*.pem")).read_text()
    secret = pem.splitlines()[1]
    evidence = world.append()
    for thing in (signer, world.keys, vars(world.keys), world.public, evidence, vars(signer)):
        assert secret not in repr(thing) + str(thing)


def _first_use(root: str, answers: Any) -> None:
    answers.put(Keys(Paths(Path(root))).ensure().keyid)


def test_processes_that_come_first_together_agree_on_a_key(world: World) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    root = str(world.paths.root)
    processes = [context.Process(target=_first_use, args=(root, answers)) for _ in range(6)]
    for process in processes:
        process.start()
    made = {answers.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(timeout=60)
    assert made == {world.public[0].keyid}
    assert len(list(world.keys.directory.glob("*.pem"))) == 1


def test_a_key_that_others_can_read_does_not_sign(world: World) -> None:
    path = world.keys.directory / f"{world.keys.ensure().keyid}.pem"
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="others than its owner") as caught:
        world.append()
    assert caught.value.next == f"chmod 600 {path}"


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_damaged_private_key_is_named(world: World, text: str) -> None:
    path = world.keys.directory / f"{world.keys.ensure().keyid}.pem"
    path.write_text(text)
    with pytest.raises(KeyFileError) as caught:
        world.keys.signer()
    assert caught.value.path == path


def test_a_private_key_under_the_name_of_another_is_refused(make: Callable[..., World]) -> None:
    one, other = make(), make()
    mine = one.keys.directory / f"{one.keys.ensure().keyid}.pem"
    theirs = other.keys.directory / f"{other.keys.ensure().keyid}.pem"
    mine.write_text(theirs.read_text())
    with pytest.raises(KeyFileError, match="another key than its name"):
        one.keys.signer()


@pytest.mark.parametrize("text", ["", "{}", '{"keys": [{"public": "x"}]}', "[1]"])
def test_a_damaged_ring_is_named(world: World, text: str) -> None:
    world.keys.ensure()
    (world.keys.directory / "ring.json").write_text(text)
    with pytest.raises(KeyFileError, match=r"ring\.json"):
        world.keys.public()


def test_a_public_key_in_the_ring_that_was_swapped_verifies_nothing(
    make: Callable[..., World],
) -> None:
    world, thief = make(), make()
    evidence = world.append()
    ring = world.keys.directory / "ring.json"
    swapped = ring.read_text().replace(
        world.public[0].pem.replace("\n", "\\n"), thief.keys.ensure().pem.replace("\n", "\\n")
    )
    assert swapped != ring.read_text()
    ring.write_text(swapped)
    found = verify(evidence.envelope, world.public)
    assert not found.ok
    assert "signature: it is signed by key" in found.problems[0]


def test_rotation_is_stated_by_the_key_before(world: World) -> None:
    first = world.append()
    before = world.public[0]
    fresh = rotate(world.store, world.keys, "a laptop was stolen")
    last = world.append()
    assert [key.keyid for key in world.public] == [fresh.keyid, before.keyid]
    old = world.public[1]
    assert old.last == 2
    assert old.retired_at is not None
    assert not world.keys.has_private(before.keyid)
    assert verify(first.envelope, world.public, model=world.model).ok
    assert verify(last.envelope, world.public, model=world.model).ok
    assert verify(last.envelope, [fresh]).ok
    assert not verify(last.envelope, [before]).ok
    chain = verify_chain(world.store, world.public)
    assert chain.ok, chain.problems
    assert chain.length == 3
    entry = Audit(world.store).entries()[0]
    assert (entry.action, entry.details["to"]) == ("key.rotate", fresh.keyid)


def test_before_the_first_statement_too(world: World) -> None:
    world.keys.ensure()
    rotate(world.store, world.keys)
    world.append()
    assert verify_chain(world.store, world.public).ok


def test_keys_can_be_rotated_again_and_again(world: World) -> None:
    for _ in range(3):
        world.append()
        rotate(world.store, world.keys)
    assert verify_chain(world.store, world.public).ok
    assert len(world.public) == 4
    assert len(list(world.keys.directory.glob("*.pem"))) == 1


_ROTATE = """
from pathlib import Path
from headrace.catalog import Store
from headrace.evidence import Keys, rotate
from headrace.settings import Paths
import sys
paths = Paths(Path(sys.argv[1]))
rotate(Store.open(paths.database_url), Keys(paths))
"""


@pytest.mark.parametrize("point", ["key.added", "key.stated"])
def test_a_rotation_that_was_killed_is_finished_by_the_next(world: World, point: str) -> None:
    world.append()
    before = world.public[0]
    done = subprocess.run(
        [sys.executable, "-c", _ROTATE, str(world.paths.root)],
        env={**os.environ, "HEADRACE_CRASH_AT": point},
        timeout=60,
    )
    assert done.returncode == 137
    between = world.append()
    assert verify(between.envelope, world.public, model=world.model).ok
    assert verify_chain(world.store, world.public).ok
    rotate(world.store, world.keys)
    last = world.append()
    assert verify(last.envelope, world.public, model=world.model).ok
    assert verify_chain(world.store, world.public).ok
    assert not world.keys.has_private(before.keyid)
    assert len(list(world.keys.directory.glob("*.pem"))) == 1


def test_a_retired_key_signs_nothing_new(world: World) -> None:
    """Who has a copy of it can sign; the number in the statement gives it away."""
    world.append()
    old = next(world.keys.directory.glob("*.pem"))
    copy = old.read_text()
    rotate(world.store, world.keys)
    last = world.append()
    # The thief's workspace: the old ring, the old key, and a chain that goes as far.
    from headrace.evidence.envelope import peek, seal

    old.write_text(copy)
    old.chmod(0o600)
    forged = seal(peek(last.envelope), world.keys.signer(old.stem))
    found = verify(forged, world.public, model=world.model)
    assert not found.ok
    assert "signs nothing after statement 2" in found.problems[0]


def test_a_key_that_is_missing_is_not_made_anew(world: World) -> None:
    """A chain goes on with the key that the project knows, or says so."""
    world.append()
    key = world.public[0]
    (world.keys.directory / f"{key.keyid}.pem").unlink()
    with pytest.raises(SigningKeyMissingError, match=key.short) as caught:
        world.append()
    assert "headrace key rotate --lost" in str(caught.value.next)
    with pytest.raises(SigningKeyMissingError):
        rotate(world.store, world.keys)


def test_another_workspace_on_the_same_database_needs_the_same_key(
    make: Callable[..., World],
) -> None:
    one = make()
    one.append()
    other = make(one.paths.database_url)
    with pytest.raises(SigningKeyMissingError):
        other.append()
    other.keys.directory.mkdir(exist_ok=True)
    for file in one.keys.directory.iterdir():
        copy = other.keys.directory / file.name
        copy.write_bytes(file.read_bytes())
        copy.chmod(0o600)
    other.append()
    assert verify_chain(one.store, one.public).length == 2
    assert verify_chain(one.store, one.public).ok


def test_a_lost_key_is_replaced_and_that_is_told_forever(world: World) -> None:
    world.append()
    before = world.public[0]
    (world.keys.directory / f"{before.keyid}.pem").unlink()
    fresh = rotate(world.store, world.keys, "the disk is gone", lost=True)
    last = world.append()
    assert verify(last.envelope, [fresh], model=world.model).ok
    chain = verify_chain(world.store, world.public)
    assert [str(problem) for problem in chain.problems] == [
        "statement 2: the key before it was lost, and could not sign the change"
    ]


def test_a_key_that_is_here_is_not_lost(world: World) -> None:
    world.append()
    with pytest.raises(KeyNotLostError):
        rotate(world.store, world.keys, lost=True)


def test_public_keys_are_read_from_a_file(world: World, tmp_path: Path) -> None:
    world.append()
    rotate(world.store, world.keys)
    file = tmp_path / "public.pem"
    file.write_text("".join(key.pem for key in world.public))
    assert [key.keyid for key in read_public(file)] == [key.keyid for key in world.public]


def test_a_private_key_is_not_taken_for_a_public_one(world: World) -> None:
    world.keys.ensure()
    path = next(world.keys.directory.glob("*.pem"))
    with pytest.raises(KeyFileError, match="no PEM block PUBLIC KEY"):
        read_public(path)
    with pytest.raises(KeyFileError, match="No such file"):
        read_public(path.with_name("none.pem"))


def test_keys_of_another_kind_are_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = generate_private_key(SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ValueError, match="no Ed25519"):
        PublicKey.from_pem(pem)
