"""Trees of SQL text, which are only looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.engine import sql

if TYPE_CHECKING:
    from sqlglot import exp


def tree(text: str) -> exp.Expr:
    """The tree of one statement."""
    return sql.read(text).tree


def entries(expression: str) -> list[exp.Expr]:
    """The trees of an expression string, such as ``a + 1 AS k``."""
    return list(sql.read(f"SELECT {expression}").tree.expressions)
