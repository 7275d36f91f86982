"""Why an approval cannot be given."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import HeadraceError


class ApprovalError(HeadraceError):
    """Base of the errors of approvals."""

    code = "approval_error"
    status = 409


class NothingToApproveError(ApprovalError):
    """The version does not wait for approvals."""

    code = "nothing_to_approve"

    def __init__(self, model: str, version: int, why: str) -> None:
        self.model, self.version = model, version
        super().__init__(
            f"Version {version} of {model} does not wait for approvals.",
            where=f"{model}/{version}",
            why=why,
            next="headrace status shows what waits for whom",
        )


class ApprovalRefusedError(ApprovalError):
    """An approval that would not count is not taken."""

    code = "approval_refused"
    status = 403

    def __init__(self, model: str, version: int, approver: str, why: str) -> None:
        self.model, self.version, self.approver, self.reason = model, version, approver, why
        super().__init__(
            f"{approver} cannot approve {model}/{version}.",
            why=why,
            next="headrace status shows what waits for whom",
        )


class ApproverKeyError(ApprovalError):
    """The private key of a person cannot be used."""

    code = "approver_key"
    status = 400

    def __init__(self, path: Path, why: str, name: str | None = None) -> None:
        self.path = path
        super().__init__(
            "The key to approve with cannot be used.",
            where=str(path),
            why=why,
            next=f"headrace approve --new-key {name or 'NAME'}, or --key FILE for a key of ssh",
        )
