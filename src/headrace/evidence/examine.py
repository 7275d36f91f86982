"""The whole chain: is every statement there, in its place, as it was signed?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, RowMapping, column, inspect, select, table

from headrace.evidence.chain import head_of
from headrace.evidence.envelope import Opened, unseal
from headrace.evidence.errors import EnvelopeError
from headrace.evidence.store import statements

if TYPE_CHECKING:
    from headrace.catalog import Store
    from headrace.evidence.keys import PublicKey

_tags: Final = table(
    "model_version_tags", column("name"), column("version"), column("key"), column("value")
)
_moves: Final = table(
    "headrace_alias_moves",
    column("sequence"),
    column("model"),
    column("alias"),
    column("to_version"),
    column("evidence"),
)


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the chain.

    Attributes:
        sequence: of the statement; ``None`` where it is about more than one.
        found: a sentence.
    """

    sequence: int | None
    found: str

    def __str__(self) -> str:
        return self.found if self.sequence is None else f"statement {self.sequence}: {self.found}"


@dataclass(frozen=True)
class Chain:
    """What came of looking at the chain.

    Attributes:
        length: number of the last statement.
        digest: of the last statement; whoever keeps it can tell later that nothing was removed.
        problems: what is wrong.
    """

    length: int
    digest: str | None
    problems: tuple[Problem, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_chain(store: Store, public_keys: Sequence[PublicKey]) -> Chain:
    """Look at every statement, at the signed head, and at all that refers to statements.

    Noticed are statements that were changed, removed (also the last ones), put in or put in
    another order, and version tags and moves of aliases whose statement is gone. That the whole
    database was replaced by an earlier copy of itself is not: compare ``digest`` with one that was
    kept elsewhere.
    """
    with store.reading() as connection:
        head = head_of(connection, public_keys)
        walk = _Walk(public_keys)
        rows = connection.execute(select(statements).order_by(statements.c.sequence)).mappings()
        found = [problem for row in rows for problem in walk.step(row)]
        if head.broken is not None:
            found.append(Problem(None, f"its end: {head.broken}"))
        elif head.keyid is not None and walk.keyid is not None and head.keyid != walk.keyid:
            found.append(Problem(None, "its end names another key than the one that signs"))
        found.extend(_dangling(connection, walk.digests))
    return Chain(head.sequence, head.digest, tuple(found))


class _Walk:
    """From one statement to the next.

    Attributes:
        digests: those of all statements so far.
        keyid: the key that must sign the next one; ``None`` before the first.
    """

    def __init__(self, keys: Sequence[PublicKey]) -> None:
        self.keys = keys
        self.digests: set[str] = set()
        self.keyid: str | None = None
        self._sequence = 0
        self._previous: str | None = None

    def step(self, row: RowMapping) -> Iterator[Problem]:
        """Look at the next row."""
        number = row["sequence"]
        gap = number != self._sequence + 1
        if gap:
            more = number - self._sequence - 2
            others = f", nor are the {more:,} after it" if more else ""
            yield Problem(self._sequence + 1, f"it is not there{others}")
        previous, self._sequence, self._previous = self._previous, number, row["digest"]
        self.digests.add(row["digest"])
        try:
            opened = unseal(row["envelope"].encode(), self.keys)
        except EnvelopeError as error:
            yield Problem(number, str(error.why))
            return
        try:
            yield from self._told(row, opened, previous if not gap else None)
        except (LookupError, TypeError, AttributeError) as error:
            # Signed, and of another shape: by a key that somebody else has.
            yield Problem(number, f"it is no statement: {type(error).__name__} {error}")

    def _told(self, row: RowMapping, opened: Opened, previous: str | None) -> Iterator[Problem]:
        """What a statement says of itself, against where it is."""
        number, says = row["sequence"], opened.payload["predicate"]
        about = says.get("model") or {}
        if opened.digest != row["digest"]:
            yield Problem(number, "it is another than the one that was appended")
        columns = (number, row["kind"], row["model"], row["version"], row["alias"])
        told = (says["sequence"], says["kind"], about.get("name"), about.get("version"))
        if columns != (*told, says.get("alias")):
            yield Problem(number, f"it is number {says['sequence']}, {says['kind']}, by itself")
        first = number == 1
        if (first or previous is not None) and says["previous"] != previous:
            yield Problem(number, "it does not name the one before it")
        if "chain_broken" in says:
            yield Problem(number, f"it was appended to a broken chain: {says['chain_broken']}")
        yield from self._signer(number, opened, says)

    def _signer(self, number: int, opened: Opened, says: dict[str, Any]) -> Iterator[Problem]:
        lost = says["kind"] == "key" and says["lost"]
        if lost:
            yield Problem(number, "the key before it was lost, and could not sign the change")
        elif self.keyid not in (None, opened.key.keyid):
            yield Problem(number, f"key {opened.key.short} signed it, which nobody announced")
        self.keyid = says["key"]["keyid"] if says["kind"] == "key" else opened.key.keyid


def _dangling(connection: Connection, known: set[str]) -> Iterator[Problem]:
    """Statements that are referred to and are not there."""
    tables = set(inspect(connection).get_table_names())
    if _tags.name in tables:
        query = select(_tags).where(_tags.c.key == "headrace.evidence")
        for row in connection.execute(query):
            if row.value not in known:
                yield Problem(None, f"{row.name}/{row.version} names {row.value[:16]}: not there")
    if _moves.name in tables:
        query = select(_moves).where(_moves.c.evidence.is_not(None)).order_by(_moves.c.sequence)
        for row in connection.execute(query):
            if row.evidence not in known:
                to = "nothing" if row.to_version is None else f"version {row.to_version}"
                where = f"the move of {row.model}@{row.alias} to {to}"
                yield Problem(None, f"{where} names {row.evidence[:16]}: not there")
