"""``headrace reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from headrace.reproduce import Reproduction


@click.command()
@click.argument("version")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Leave rows, code and the model in DIRECTORY."
)
@click.option("--offline", is_flag=True, help="Build the environment without a network.")
@click.option(
    "--find-links",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory of wheels to build the environment from.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that the training may take.",
)
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    version: str,
    keep: Path | None,
    offline: bool,
    find_links: Path | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Make a version again from its lock, its pinned rows and its recorded code, and compare.

    VERSION is MODEL/3 or MODEL@production. Exit status 0: the same, or close within the
    kernel's tolerance; 1: different; 2: impossible.
    """
    from headrace.cli.errors import show
    from headrace.cli.output import echo_json, working
    from headrace.errors import HeadraceError
    from headrace.reproduce import reproduce
    from headrace.workspace import open_workspace

    try:
        with working("making it again"):
            found = reproduce(
                open_workspace(),
                version,
                keep=keep,
                offline=offline,
                wheels=find_links,
                seconds=timeout,
            )
    except HeadraceError as error:
        # Exit status 1 says that it was made, and came out different.
        show(error)
        ctx.exit(2)
    if as_json:
        echo_json(found.as_json())
    else:
        _show(found)
    ctx.exit(found.exit_code)


def _show(found: Reproduction) -> None:
    from headrace.cli.output import table

    rows = [(each.state, each.name, each.text) for each in found.findings]
    table(f"{found.model}/{found.version}, made again", ["", "what", "found"], rows)
    colour = {"same": "green", "close": "green", "different": "red", "impossible": "red"}
    click.secho(f"{found.verdict}: {found.summary}", fg=colour[found.verdict])
    if found.next:
        click.echo(f"Next:  {found.next}")
