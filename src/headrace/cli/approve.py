"""``headrace approve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from headrace.project import Project
    from headrace.promotion import Waiting
    from headrace.workspace import Workspace


def _new_key(ctx: click.Context, _param: click.Parameter, name: str | None) -> None:
    if name is None or ctx.resilient_parsing:
        return
    from headrace.approvals import new_key

    path, line = new_key(name)
    click.echo(f"The key of {name} is in {path}; keep it to yourself.")
    click.echo("Its public half goes into headrace.yaml, under a group of groups:")
    click.echo(f'  {name}: "{line}"')
    ctx.exit()


@click.command()
@click.argument("what", metavar="MODEL[/VERSION]")
@click.option("--as", "name", help="Member who approves; HEADRACE_USER or your login if not given.")
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Private key, such as ~/.ssh/id_ed25519; that of --as in HEADRACE_KEYS if not given.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--new-key",
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    callback=_new_key,
    help="Make the key of a person who approves, and exit.",
)
@json_option
@debug_option
def command(what: str, name: str | None, key: Path | None, yes: bool, as_json: bool) -> None:
    """Approve a version that the gate let through; the last approval promotes it.

    What is signed is this version, this evidence and this alias, for as long as the gate's rule
    lets an approval count.
    """
    from headrace.approvals import approve, key_file, signer_of
    from headrace.cli.output import echo_json
    from headrace.identity import principal
    from headrace.project.config import load_project
    from headrace.promotion import promote_approved
    from headrace.promotion.proof import prove_waiting
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    project = load_project(workspace.paths)
    waits = _waiting(workspace, project, what)
    prove_waiting(workspace, waits)
    who = name or principal()
    if not as_json:
        show_waiting(waits)
    if not (yes or as_json):
        click.confirm(f"Approve it as {who}?", abort=True)
    signer = signer_of(key or key_file(who), _passphrase)
    approve(workspace.store, waits.ask, who, signer, by=principal())
    gate = project.models[waits.ask.model].gate
    decided = promote_approved(workspace, waits.decided, gate, project.groups)
    after = None if decided.state == "promoted" else _waiting(workspace, project, what)
    if as_json:
        echo_json(
            {
                "model": waits.ask.model,
                "version": waits.ask.version,
                "evidence": waits.ask.evidence,
                "approved_by": sorted({who, *waits.approved}),
                "state": decided.state,
                "waits_for": [] if after is None else after.may,
            }
        )
    elif after is None:
        click.echo(
            f"Approved, and promoted: {waits.ask.model}@{waits.ask.alias} is version {waits.ask.version}."
        )
        click.echo("Next:  headrace run")
    else:
        click.echo(f"Approved: {after.summary}")


def show_waiting(waits: Waiting) -> None:
    """What an approver looks at before he signs."""
    from headrace.cli.output import table
    from headrace.gate.verdict import gain_text

    verdict, ask = waits.decided.verdict, waits.ask
    found = [
        ("model", f"{ask.model} version {ask.version}, for {ask.alias}"),
        ("requested by", ask.requester),
        (verdict.metric, f"{verdict.candidate:.4g}"),
    ]
    if verdict.difference is not None:
        over = f"{gain_text(verdict.difference)} over version {verdict.champion}"
        found.append(("gain", over))
    found += [
        (
            f"{bound.metric}" + (f" where {bound.column} = {bound.slice}" if bound.column else ""),
            f"{bound.value:.4g}, bound {bound.bound:g}",
        )
        for bound in verdict.bounds
    ]
    found += [
        ("hold-out", f"{verdict.rows:,} rows, {verdict.holdout_digest[:16]}"),
        ("evidence", ask.evidence),
        (
            "approvals",
            f"{len(waits.approved)} of {ask.count}, {', '.join(waits.approved) or 'none yet'}",
        ),
    ]
    found += [
        ("does not count", f"{each.approver or 'somebody'}: {each.refused}")
        for each in waits.given
        if each.refused is not None
    ]
    table(f"To approve: {ask.model}/{ask.version}", ["", "found"], found)


def _waiting(workspace: Workspace, project: Project, what: str) -> Waiting:
    from headrace.promotion import waits_for
    from headrace.registry import InvalidReferenceError, ModelNotFoundError

    model, _, number = what.partition("/")
    if number and not (number.isascii() and number.isdecimal()):
        raise InvalidReferenceError(what)
    if model not in project.models:
        raise ModelNotFoundError(model, list(project.models))
    version = int(number) if number else None
    return waits_for(workspace, model, project.models[model].gate, project.groups, version)


def _passphrase() -> str:
    passphrase: str = click.prompt("Passphrase of the key", hide_input=True, err=True)
    return passphrase
