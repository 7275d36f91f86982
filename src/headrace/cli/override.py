"""``headrace override``."""

from __future__ import annotations

import click

from headrace.cli.options import debug_option, json_option


@click.command()
@click.argument("what", metavar="MODEL/VERSION")
@click.option("--reason", required=True, help="Why; it is signed, and shown everywhere.")
@click.option("--none", "nothing", is_flag=True, help="Take the alias away: WHAT is a MODEL.")
@click.option("--alias", default="production", show_default=True, help="The alias to move.")
@json_option
@debug_option
def command(what: str, reason: str, nothing: bool, alias: str, as_json: bool) -> None:
    """Move a protected alias without the gate's yes, in an emergency.

    The override is signed with its reason, and is told by status, plan, endpoints, verify, the
    planes' metrics and the audit log until the gate promotes another version.
    """
    from dataclasses import asdict

    from headrace.cli.output import echo_json
    from headrace.clock import iso
    from headrace.project.config import load_project
    from headrace.promotion import override, take_away
    from headrace.registry import resolve
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    if nothing:
        move = take_away(workspace, what, alias, reason=reason)
    elif "/" not in what:
        # The newest version is not what a person means in an emergency.
        raise click.UsageError(f"name the version, {what}/VERSION, or take the alias away: --none")
    else:
        version = resolve(workspace, what)
        entry = load_project(workspace.paths).models.get(version.name)
        gate = None if entry is None else entry.gate
        move = override(workspace, version, alias, reason=reason, gate=gate)
    if as_json:
        echo_json({**asdict(move), "at": iso(move.at)})
        return
    before = "no version" if move.before is None else f"version {move.before}"
    after = "no version" if move.after is None else f"version {move.after}"
    click.secho(f"OVERRIDDEN: {move.model}@{move.alias} is {after}, was {before}.", fg="red")
    click.echo(f"  why:   {move.reason}")
    click.echo(f"  by:    {move.by}")
    click.echo("  next:  headrace run, to deploy it and to score with it; headrace audit")
