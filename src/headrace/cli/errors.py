"""Errors on the terminal: what, where, why, next; no stack trace."""

from __future__ import annotations

import click

from headrace.errors import HeadraceError


def report(error: Exception) -> int:
    """Print an error for a person and return the exit code."""
    if isinstance(error, HeadraceError):
        show(error)
        return error.exit_code
    if (unavailable := _of_the_database(error)) is not None:
        show(unavailable)
        return unavailable.exit_code
    if isinstance(error, OSError) and error.errno is not None:
        place = f" ({error.filename})" if error.filename else ""
        click.secho(f"Error: {error.strerror}{place}", fg="red", err=True)
        click.echo("  next:  mend it and type the command again", err=True)
        return 1
    text = str(error).strip().splitlines()
    click.secho(f"Error: {type(error).__name__}: {text[0] if text else ''}", fg="red", err=True)
    click.echo("  next:  type the command again with --debug for the stack trace", err=True)
    return 70


def _of_the_database(error: Exception) -> HeadraceError | None:
    """A database that is full, locked or away, in words: any command can run into it."""
    from sqlalchemy.exc import OperationalError

    from headrace.catalog.errors import DatabaseUnavailableError

    if not isinstance(error, OperationalError):
        return None
    return DatabaseUnavailableError("the project's database", str(error.orig).strip())


def show(error: HeadraceError) -> None:
    """Print one error: its first line in red, then where, why and next."""
    first, *rest = str(error).splitlines()
    click.secho(f"Error: {first}", fg="red", err=True)
    for line in rest:
        click.echo(line, err=True)
