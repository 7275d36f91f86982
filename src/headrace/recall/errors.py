"""Why something cannot be recalled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.errors import HeadraceError, did_you_mean


class RecallError(HeadraceError):
    """Base of the errors of a recall."""

    code = "recall_error"


class UnknownOriginError(RecallError):
    """The text is neither a file that was read, nor a table."""

    code = "unknown_origin"
    status = 404

    def __init__(self, text: str, known: Iterable[str]) -> None:
        self.text = text
        super().__init__(
            f'Nothing is recorded of "{text}".',
            why=did_you_mean(text, known)
            or "no operation read a file there, and no table is called so",
            next="headrace recall PATH, or headrace recall TABLE@VERSION; headrace status lists tables",
        )


class UnknownVersionError(RecallError):
    """The table never had that version."""

    code = "unknown_version"
    status = 404

    def __init__(self, table: str, version: int, newest: int | None) -> None:
        self.table, self.version, self.newest = table, version, newest
        super().__init__(
            f"{table} has no version {version}.",
            where=table,
            why="nothing is recorded of it" if newest is None else f"its newest is {newest}",
            next=f"headrace recall {table}@{newest or 0}",
        )


class UnknownColumnError(RecallError):
    """What is recalled has no such column."""

    code = "unknown_column"
    status = 404

    def __init__(self, origin: str, column: str, known: Sequence[str]) -> None:
        self.origin, self.column, self.known = origin, column, list(known)
        super().__init__(
            f'{origin} has no column "{column}".',
            where=origin,
            why=did_you_mean(column, known) or f"it has: {', '.join(known)}",
            next=f"headrace recall {origin}",
        )


class SeveralContentsError(RecallError):
    """A path held different bytes at different times, and what it holds now was never read."""

    code = "several_contents"

    def __init__(self, path: str, now: str, contents: Sequence[tuple[str, str]]) -> None:
        self.path, self.contents = path, list(contents)
        listed = ", ".join(f"{digest[:12]} until {when}" for digest, when in contents)
        super().__init__(
            f"{path} was read with {len(contents)} different contents.",
            where=path,
            why=f"the file {now}; it was read as {listed}",
            next=f"headrace recall {path} --sha256 {contents[0][0][:12]}",
        )


class UnknownContentError(RecallError):
    """The path was never read with bytes of that checksum."""

    code = "unknown_content"
    status = 404

    def __init__(self, path: str, sha256: str, known: Sequence[str]) -> None:
        self.path, self.sha256, self.known = path, sha256, list(known)
        super().__init__(
            f"{path} was never read with contents {sha256}.",
            where=path,
            why=f"it was read as {', '.join(each[:12] for each in known)}",
            next=f"headrace recall {path}",
        )


class UnknownRecallError(RecallError):
    """There is no recall of that id."""

    code = "unknown_recall"
    status = 404

    def __init__(self, recall: str, known: Sequence[str]) -> None:
        self.recall, self.known = recall, list(known)
        super().__init__(
            f'No recall "{recall}".',
            why=did_you_mean(recall, known) or "none was applied of that id",
            next="headrace recall --list",
        )


class NothingToUndoError(RecallError):
    """The recall put no file into quarantine, or was undone."""

    code = "nothing_to_undo"

    def __init__(self, recall: str, why: str) -> None:
        self.recall = recall
        super().__init__(f"{recall} has nothing to undo.", why=why, next="headrace recall --list")


class PlaceTakenError(RecallError):
    """Another file lies where a quarantined one is to go back to."""

    code = "place_taken"
    status = 409

    def __init__(self, recall: str, path: str) -> None:
        self.recall, self.path = recall, path
        super().__init__(
            f"Another file lies at {path}.",
            where=path,
            why="it was put there after the quarantine, and is not overwritten",
            next=f"move it away and type: headrace recall --undo {recall}",
        )


class QuarantineDamagedError(RecallError):
    """A file in quarantine is gone, or is not what was put there."""

    code = "quarantine_damaged"
    status = 409

    def __init__(self, recall: str, path: str, why: str) -> None:
        self.recall, self.path = recall, path
        super().__init__(
            f"The quarantined {path} cannot be put back.",
            where=path,
            why=why,
            next="restore it from a backup; headrace recall --list says what it was",
        )


class QuarantineFailedError(RecallError):
    """A file cannot be moved into quarantine."""

    code = "quarantine_failed"

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(
            f"{path} cannot be moved into quarantine.",
            where=path,
            why=why,
            next="mend it and type the same command again: it goes on from there",
        )


class NotAppliedError(RecallError):
    """What was asked cannot be done for this origin."""

    code = "not_applied"

    def __init__(self, origin: str, why: str, advice: str) -> None:
        self.origin = origin
        super().__init__(f"{origin} cannot be recalled with --apply.", why=why, next=advice)
