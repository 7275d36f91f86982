"""The signed form: nobody else's tool is needed to read it, and no byte of it can change."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from headrace.evidence import PublicKey, verify
from headrace.evidence.envelope import canonical, digest_of, peek, seal, unseal
from headrace.evidence.errors import EnvelopeError

if TYPE_CHECKING:
    from tests.evidence.worlds import World

SIGNER = CryptoSigner.generate_ed25519()


def public_of(signer: CryptoSigner) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    crypto = signer._private_key.public_key()
    pem = crypto.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey.from_pem(pem.decode())


PUBLIC = public_of(SIGNER)
ENVELOPE = seal({"b": [1.5, "é"], "a": None}, SIGNER)


def test_what_was_sealed_is_read_again() -> None:
    opened = unseal(ENVELOPE, [PUBLIC])
    assert opened.payload == {"a": None, "b": [1.5, "é"]}
    assert opened.key == PUBLIC
    assert opened.digest == digest_of(ENVELOPE)


@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(position: int, change: int) -> None:
    changed = bytearray(ENVELOPE)
    changed[position] ^= change
    with pytest.raises(EnvelopeError):
        unseal(bytes(changed), [PUBLIC])


def test_no_byte_of_a_statement_can_be_changed(world: World) -> None:
    envelope = world.append().envelope
    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1 << position % 8
        found = verify(bytes(changed), world.public, model=world.model)
        assert not found.ok, position
        assert found.statement is None
        assert found.problems


@given(st.integers(0, len(ENVELOPE)), st.sampled_from([b" ", b"\n", b"A", b"=", b"0"]))
def test_no_byte_can_be_added(position: int, added: bytes) -> None:
    with pytest.raises(EnvelopeError):
        unseal(ENVELOPE[:position] + added + ENVELOPE[position:], [PUBLIC])


@given(st.integers(0, len(ENVELOPE) - 1))
def test_no_byte_can_be_taken_away(position: int) -> None:
    with pytest.raises(EnvelopeError):
        unseal(ENVELOPE[:position] + ENVELOPE[position + 1 :], [PUBLIC])


@given(st.binary(max_size=200))
def test_bytes_that_are_nothing_are_refused_with_a_reason(envelope: bytes) -> None:
    with pytest.raises(EnvelopeError) as caught:
        unseal(envelope, [PUBLIC])
    assert caught.value.part == "form"
    assert caught.value.why


def _edited(edit: Callable[[dict[str, Any]], None]) -> bytes:
    body = json.loads(ENVELOPE)
    edit(body)
    return canonical(body) + b"\n"


def test_the_same_json_in_another_form_is_refused() -> None:
    pretty = json.dumps(json.loads(ENVELOPE), indent=2).encode()
    with pytest.raises(EnvelopeError, match="not those that were signed") as caught:
        unseal(pretty, [PUBLIC])
    assert caught.value.part == "form"


def test_a_payload_with_a_key_twice_is_refused() -> None:
    twice = b'{"a":1,"a":2}'
    made = Envelope(twice, "application/vnd.in-toto+json", {})
    made.sign(SIGNER)
    with pytest.raises(EnvelopeError, match="one form"):
        unseal(canonical(made.to_dict()) + b"\n", [PUBLIC])


def test_a_signature_of_another_payload_is_refused() -> None:
    other = json.loads(seal({"a": 2}, SIGNER))

    def swap(body: dict[str, Any]) -> None:
        body["signatures"] = other["signatures"]

    with pytest.raises(EnvelopeError, match="was changed") as caught:
        unseal(_edited(swap), [PUBLIC])
    assert caught.value.part == "signature"


def test_another_key_under_the_same_id_is_refused() -> None:
    """The id in the envelope is a hint; the key itself decides."""
    thief = CryptoSigner.generate_ed25519()
    thief.public_key.keyid = SIGNER.public_key.keyid
    with pytest.raises(EnvelopeError, match="was changed"):
        unseal(seal({"a": 1}, thief), [PUBLIC])


def test_an_unknown_key_is_named() -> None:
    other = public_of(CryptoSigner.generate_ed25519())
    with pytest.raises(EnvelopeError, match=PUBLIC.short) as caught:
        unseal(ENVELOPE, [other])
    assert caught.value.part == "signer"
    assert other.short in str(caught.value)


def test_an_envelope_of_another_kind_is_refused() -> None:
    with pytest.raises(EnvelopeError, match="it holds application"):
        unseal(ENVELOPE, [PUBLIC], "application/vnd.headrace.approval+json")


def test_one_signature_is_asked_for() -> None:
    def unsigned(body: dict[str, Any]) -> None:
        body["signatures"] = []

    with pytest.raises(EnvelopeError, match="0 signatures"):
        unseal(_edited(unsigned), [PUBLIC])


def test_a_file_of_gigabytes_is_not_read_as_one() -> None:
    with pytest.raises(EnvelopeError, match="larger than"):
        unseal(b" " * (17 << 20), [PUBLIC])


def test_numbers_that_json_has_not_cannot_be_signed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        seal({"a": float("nan")}, SIGNER)


def test_what_is_claimed_can_be_read_without_a_key() -> None:
    assert peek(ENVELOPE)["b"][0] == 1.5


def test_securesystemslib_verifies_what_we_sign(world: World) -> None:
    """The library as it is, with the key and the file as they are exported."""
    envelope = Envelope.from_dict(json.loads(world.append().envelope))
    key = SSlibKey.from_crypto(load_pem_public_key(world.public[0].pem.encode()))
    assert list(envelope.verify([key], 1)) == [key.keyid]
    stranger = SSlibKey.from_crypto(CryptoSigner.generate_ed25519()._private_key.public_key())
    with pytest.raises(VerificationError):
        envelope.verify([stranger], 1)


def test_in_toto_reads_our_statements(world: World) -> None:
    from google.protobuf.json_format import Parse
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    payload = base64.b64decode(json.loads(world.append().envelope)["payload"])
    message = Parse(payload, Message())
    statement = Statement.copy_from_pb(message)
    statement.validate()
    assert {each.name for each in statement.pb.subject} >= {"MLmodel", "kernel/model.onnx"}
    assert statement.pb.predicate["sequence"] == 1
