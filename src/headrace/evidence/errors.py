"""What is wrong with evidence or with the keys that sign it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from headrace.errors import HeadraceError

Part = Literal["form", "signer", "signature"]


class EvidenceError(HeadraceError):
    """A version may not be used: its evidence is missing or does not verify."""

    code = "evidence_refused"
    status = 409
    model: str
    version: int


class EvidenceMissingError(EvidenceError):
    """No statement says that the version may have the alias."""

    code = "evidence_missing"

    def __init__(self, model: str, version: int, alias: str) -> None:
        self.model, self.version, self.alias = model, version, alias
        super().__init__(
            f"Version {version} of {model} has no evidence.",
            where=f"{model}@{alias}",
            why=f"{alias} is protected, and no signed statement lets version {version} have it",
            next=f"headrace run judges it; in an emergency: headrace override {model}/{version} "
            "--reason TEXT",
        )


class EvidenceRefusedError(EvidenceError):
    """The statement, or the model's files, are not what was signed."""

    def __init__(self, model: str, version: int, alias: str, problems: Sequence[str]) -> None:
        self.model, self.version, self.alias = model, version, alias
        self.problems = list(problems)
        super().__init__(
            f"The evidence of version {version} of {model} does not verify.",
            where=f"{model}@{alias}",
            why="; ".join(problems[:5]) + (" ..." if len(problems) > 5 else ""),
            next=f"headrace verify {model}/{version}",
        )


class AliasUnstatedError(EvidenceError):
    """The alias leads elsewhere than the last statement on it says."""

    code = "alias_unstated"

    def __init__(self, model: str, version: int, alias: str, stated: int | None) -> None:
        self.model, self.version, self.alias, self.stated = model, version, alias, stated
        says = "takes it away" if stated is None else f"gives it to {stated}"
        right = f"{model} --none" if stated is None else f"{model}/{stated}"
        super().__init__(
            f"The alias {alias} of {model} was moved without a statement.",
            where=f"{model}@{alias}",
            why=f"it leads to version {version}, and the last statement {says}",
            next=f"headrace audit --object {model}@{alias}; to put it right: headrace override "
            f"{right} --reason TEXT",
        )


class EnvelopeError(HeadraceError):
    """Bytes that are no signed envelope of ours.

    Attributes:
        part: what is wrong: the form, who signed, or the signature.
    """

    code = "envelope_invalid"

    def __init__(self, part: Part, why: str) -> None:
        self.part = part
        super().__init__("The envelope is not valid.", why=why)


class NoEvidenceError(HeadraceError):
    """A version that was asked for by name has no statement at all."""

    code = "no_evidence"
    status = 404

    def __init__(self, model: str, version: int) -> None:
        self.model, self.version = model, version
        super().__init__(
            f"Version {version} of {model} has no evidence.",
            where=f"{model}/{version}",
            why="the gate has not decided on it since decisions are signed",
            next="headrace run judges the newest version",
        )


class KeyFileError(HeadraceError):
    """A file that should hold a key cannot be used."""

    code = "key_unusable"

    def __init__(self, path: Path, why: str, next: str = "headrace key show") -> None:
        self.path = path
        super().__init__("The key cannot be used.", where=str(path), why=why, next=next)


class SigningKeyMissingError(HeadraceError):
    """The private key of the workspace is not on this machine."""

    code = "signing_key_missing"

    def __init__(self, directory: Path, keyid: str) -> None:
        self.directory, self.keyid = directory, keyid
        super().__init__(
            f"The key {keyid[:16]} that signs for this project is not here.",
            where=str(directory),
            why="statements are signed with one key until it is rotated; this directory lacks it",
            next=f"bring back {directory.name}/{keyid}.pem from the machine that has it, or, if "
            "it is lost: headrace key rotate --lost",
        )


class KeyNotLostError(HeadraceError):
    """A key was called lost that is here."""

    code = "key_not_lost"
    status = 409

    def __init__(self, directory: Path, keyid: str) -> None:
        self.directory, self.keyid = directory, keyid
        super().__init__(
            f"The key {keyid[:16]} is not lost.",
            where=str(directory / f"{keyid}.pem"),
            why="here it is, and a rotation that it signs itself is worth more",
            next="headrace key rotate",
        )


class NoKeyToTrustError(HeadraceError):
    """A file is to be verified where no project says which key to trust."""

    code = "no_key_to_trust"

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            "Which key should have signed it?",
            where=str(path),
            why="outside of a project there is none to trust; the file itself cannot say",
            next=f"headrace verify {path} --key PUBLIC.pem (made by: headrace key export)",
        )


class BundleExistsError(HeadraceError):
    """A bundle is to be written where something is."""

    code = "bundle_exists"
    status = 409

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            "A bundle is written into a new directory.",
            where=str(directory),
            why="there is something of that name, and files of two bundles would be mixed",
            next="name a directory that does not exist yet",
        )
