"""``headrace key``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from headrace.evidence import PublicKey


@click.group(invoke_without_command=True)
@json_option
@debug_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show, rotate and export the key that signs the project's decisions."""
    if ctx.invoked_subcommand is None:
        _show(as_json)


@command.command()
@json_option
@debug_option
def show(as_json: bool) -> None:
    """Show the public keys, the one that signs first."""
    _show(as_json)


@command.command()
@click.option("--reason", default="", help="Why, for the statement.")
@click.option("--lost", is_flag=True, help="The key is gone; the chain will say so forever.")
@json_option
@debug_option
def rotate(reason: str, lost: bool, as_json: bool) -> None:
    """Make a new key; the present one signs that, and is destroyed.

    What earlier keys signed stays verified. Give the new public key to whoever verifies elsewhere:
    headrace key export.
    """
    from headrace.cli.output import echo_json
    from headrace.evidence import Keys
    from headrace.evidence import rotate as change
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    fresh = change(workspace.store, Keys(workspace.paths), reason, lost=lost)
    if as_json:
        echo_json(fresh.as_json())
        return
    click.echo(f"Key {fresh.keyid} signs from now on.")
    if lost:
        click.echo("The key before is lost: headrace verify --chain says so from now on.")


@command.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to a file instead of the terminal.",
)
@click.option("--all", "every", is_flag=True, help="Earlier keys too.")
@debug_option
def export(output: Path | None, every: bool) -> None:
    """Print the public key (PEM), for those who verify on other machines."""
    from headrace.evidence import Keys
    from headrace.settings import find_project

    keys = Keys(find_project())
    keys.ensure()
    text = "".join(key.pem for key in keys.public()[: None if every else 1])
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)
        click.echo(f"Wrote {output}")


def _show(as_json: bool) -> None:
    from headrace.cli.output import echo_json, table
    from headrace.evidence import Keys
    from headrace.settings import find_project

    keys = Keys(find_project())
    keys.ensure()
    known = keys.public()
    if as_json:
        echo_json(
            {"keys": [{**each.as_json(), "here": keys.has_private(each.keyid)} for each in known]}
        )
        return
    table(
        f"Keys in {keys.directory}",
        ["key", "made", "signs", "private part"],
        [
            (each.keyid, _made(each), _signs(each), _where(keys.has_private(each.keyid)))
            for each in known
        ],
    )


def _made(key: PublicKey) -> str:
    return f"{key.created_at:%Y-%m-%d %H:%M}" if key.created_at else ""


def _signs(key: PublicKey) -> str:
    return "now" if key.last is None else f"until statement {key.last}"


def _where(here: bool) -> str:
    return "here" if here else "not here"
