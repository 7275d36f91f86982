"""A cursor over the tokens of a statement, for the parts that sqlglot does not place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from headrace.engine import sql
from headrace.engine.errors import SqlSyntaxError

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*(?P<word>[A-Za-z]+)\b")
_DEPTH: Final = {"(": 1, "<": 1, ")": -1, ">": -1, ">>": -2}
QUERY_WORDS: Final = frozenset({"SELECT", "WITH", "VALUES", "FROM", "TABLE"})


class Scanner:
    """Reads words, names and lists from the start of a statement."""

    def __init__(self, text: str) -> None:
        self.text = text
        # sqlglot takes everything after some first words (SHOW, OPTIMIZE) for one string.
        first = _FIRST_WORD.match(text)
        masked = text
        if first is not None:
            start, end = first.span("word")
            masked = f"{text[:start]}{'x' * (end - start)}{text[end:]}"
        self._tokens: list[Token] = [each for each in sql.tokens_of(masked) if each.text != ";"]
        self._texts = [each.text for each in self._tokens]
        if first is not None:
            self._texts[0] = first["word"]
        self._next = 0

    @property
    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._next >= len(self._tokens)

    @property
    def word(self) -> str:
        """The next token in upper case; empty at the end."""
        return self.peek(0)

    def peek(self, ahead: int) -> str:
        """A later token in upper case; empty past the end."""
        index = self._next + ahead
        return self._texts[index].upper() if index < len(self._texts) else ""

    def accept(self, *words: str) -> bool:
        """Skip these words if they come next, all of them."""
        if any(self.peek(ahead) != word for ahead, word in enumerate(words)):
            return False
        self._next += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Skip these words.

        Raises:
            SqlSyntaxError: something else comes next.
        """
        if not self.accept(*words):
            raise self.error(f"{' '.join(words)} is missing")

    def name(self) -> tuple[str, ...]:
        """The parts of a name."""
        parts = [self._part()]
        while self.accept("."):
            parts.append(self._part())
        return tuple(parts)

    def _part(self) -> str:
        if self.at_end or self.word in {"(", ")", ",", "."}:
            raise self.error("a name is missing")
        self._next += 1
        return self._texts[self._next - 1]

    def string(self) -> str:
        """A quoted text."""
        if self.at_end or self._tokens[self._next].token_type.name != "STRING":
            raise self.error("a quoted text is missing")
        self._next += 1
        return str(self._tokens[self._next - 1].text)

    def number(self) -> float:
        """A number."""
        if self.at_end or self._tokens[self._next].token_type.name != "NUMBER":
            raise self.error("a number is missing")
        self._next += 1
        return float(self._tokens[self._next - 1].text)

    def group(self) -> str:
        """The text between a parenthesis that comes next and the one that closes it."""
        self.expect("(")
        start = self._tokens[self._next - 1].end + 1
        depth = 1
        while not self.at_end:
            word = self.word
            depth += (word == "(") - (word == ")")
            self._next += 1
            if depth == 0:
                return self.text[start : self._tokens[self._next - 1].start]
        raise self.error("a parenthesis is not closed")

    def until(self, words: frozenset[str], *, or_end: bool = False) -> str:
        """The text up to the next of these words outside parentheses and angle brackets."""
        start = self._next
        depth = 0
        while not self.at_end and not (depth == 0 and self.word in words):
            depth += _DEPTH.get(self.word, 0)
            self._next += 1
        if self.at_end and not or_end:
            raise self.error(f"{' or '.join(sorted(words))} is missing")
        if self._next == start:
            return ""
        return self.text[self._tokens[start].start : self._tokens[self._next - 1].end + 1]

    def rest(self) -> str:
        """The text that is left, without a final semicolon."""
        if self.at_end:
            raise self.error("the statement ends too early")
        text = self.text[self._tokens[self._next].start : self._tokens[-1].end + 1]
        self._next = len(self._tokens)
        return text

    def finish(self) -> None:
        """Make sure that nothing is left.

        Raises:
            SqlSyntaxError: something is.
        """
        if not self.at_end:
            raise self.error(f'"{self._tokens[self._next].text}" is not understood')

    def error(self, reason: str) -> SqlSyntaxError:
        """An error at this place."""
        if self.at_end:
            return SqlSyntaxError(self.text, f"{reason} at its end")
        token = self._tokens[self._next]
        line = self.text.count("\n", 0, token.start) + 1
        column = token.start - self.text.rfind("\n", 0, token.start)
        return SqlSyntaxError(
            self.text, f'{reason} before "{token.text}", line {line}, column {column}'
        )


def words_of(text: str) -> list[str]:
    """The names in a list such as ``a, `b c`, d``.

    Raises:
        SqlSyntaxError: something else stands in it.
    """
    scanner = Scanner(text)
    found = []
    while True:
        parts = scanner.name()
        if len(parts) != 1:
            raise scanner.error("a column has one part")
        found.append(parts[0])
        if scanner.at_end:
            return found
        scanner.expect(",")
