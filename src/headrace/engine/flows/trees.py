"""Trees of SQL text, each text read once: refreshes run the same text again and again."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from headrace.engine import sql

if TYPE_CHECKING:
    from sqlglot import exp


@lru_cache(maxsize=256)
def tree(text: str) -> exp.Expr:
    """The tree of one statement, which is only looked at."""
    return sql.read(text).tree


@lru_cache(maxsize=1024)
def entries(expression: str) -> tuple[exp.Expr, ...]:
    """The trees of an expression string, such as ``a + 1 AS k``."""
    return tuple(sql.read(f"SELECT {expression}").tree.expressions)
