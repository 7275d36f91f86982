"""``headrace recall``."""

from __future__ import annotations

import click

from headrace.cli.options import debug_option, json_option


@click.command()
@click.argument("what", required=False)
@click.option("--column", "columns", multiple=True, help="Follow this column alone; repeatable.")
@click.option("--sha256", help="Which contents of the path, where it held several.")
@click.option("--copies", is_flag=True, help="Follow files of the same bytes elsewhere too.")
@click.option("--all", "every", is_flag=True, help="Show every row, and how the data came there.")
@json_option
@debug_option
def command(
    what: str | None,
    columns: tuple[str, ...],
    sha256: str | None,
    copies: bool,
    every: bool,
    as_json: bool,
) -> None:
    """List all that a raw file or a table version reached.

    \b
    headrace recall raw/telemetry/2026-01-03.parquet
    headrace recall silver.readings@7
    headrace recall silver.readings@7.temperature
    """
    from headrace.cli.output import console, echo_json, working
    from headrace.recall import find, parse
    from headrace.recall.render import print_recall
    from headrace.workspace import open_workspace

    if what is None:
        raise click.UsageError("name a file or a table version, such as silver.readings@7")
    workspace = open_workspace()
    with working("following the records"):
        origin = parse(workspace, what, columns=columns, sha256=sha256, copies=copies)
        recall = find(workspace, origin)
    if as_json:
        echo_json(recall.as_json())
        return
    print_recall(recall, console(), every=every)
