"""``headrace lineage``."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.options import debug_option, json_option


@click.command()
@click.argument("subject", metavar="OBJECT")
@click.option("--column", metavar="NAME", help="Follow one column of a table or of files.")
@click.option("--up", type=click.IntRange(0), metavar="N", help="At most N operations back.")
@click.option("--down", type=click.IntRange(0), metavar="N", help="At most N operations on.")
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Draw it into a file.",
)
@click.option("--mermaid", is_flag=True, help="Print a Mermaid flowchart.")
@json_option
@debug_option
def command(
    subject: str,
    column: str | None,
    up: int | None,
    down: int | None,
    svg: Path | None,
    mermaid: bool,
    as_json: bool,
) -> None:
    """Show what an object came from, and what came from it.

    \b
    Table:    headrace lineage gold.features     (gold.features@3, gold.features.heat)
    Files:    headrace lineage data/raw/day-1.parquet
    Model:    headrace lineage wear              (wear/3, wear@production)
    Endpoint: headrace lineage wear-endpoint
    """
    from headrace.cli.output import console, echo_json, working
    from headrace.trace import lineage as made
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    with working("following the lineage"):
        picture = made.lineage(workspace, subject, column=column, up=up, down=down)
    if svg is not None:
        partial = svg.with_name(f".{svg.name}.partial")
        partial.write_text(made.svg(picture), encoding="utf-8")
        partial.replace(svg)
    if as_json:
        echo_json(picture.as_json())
    elif mermaid:
        click.echo(made.mermaid(picture), nl=False)
    elif svg is None:
        made.print_picture(picture, console())
    else:
        click.echo(f"drew {svg}")
