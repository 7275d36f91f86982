"""``headrace recall``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from headrace.recall import Origin, Recall, RecallRecord
    from headrace.recall.store import StepRecord
    from headrace.workspace import Workspace

_STYLES = {"done": "green", "left": "yellow", "failed": "red", "waiting": None}


@click.command()
@click.argument("what", required=False)
@click.option("--column", "columns", multiple=True, help="Follow this column alone; repeatable.")
@click.option("--sha256", help="Which contents of the path, where it held several.")
@click.option("--copies", is_flag=True, help="Follow files of the same bytes elsewhere too.")
@click.option("--all", "every", is_flag=True, help="Show every row, and how the data came there.")
@click.option("--apply", "carry_out", is_flag=True, help="Quarantine, refresh, score and mark.")
@click.option("--reason", default="", help="Why, with --apply; kept with the files.")
@click.option("--yes", is_flag=True, help="Do not ask before --apply.")
@click.option("--undo", metavar="ID", help="Put the files of an applied recall back.")
@click.option("--list", "listing", is_flag=True, help="Show the recalls that were applied.")
@json_option
@debug_option
def command(
    what: str | None,
    columns: tuple[str, ...],
    sha256: str | None,
    copies: bool,
    every: bool,
    carry_out: bool,
    reason: str,
    yes: bool,
    undo: str | None,
    listing: bool,
    as_json: bool,
) -> None:
    """List all that a raw file or a table version reached; with --apply, take it out.

    \b
    headrace recall raw/telemetry/2026-01-03.parquet
    headrace recall silver.readings@7
    headrace recall silver.readings@7.temperature
    """
    from headrace.cli.output import console, echo_json, working
    from headrace.recall import find, parse
    from headrace.recall.render import print_recall
    from headrace.workspace import open_workspace

    given = [what is not None, undo is not None, listing]
    if sum(given) != 1:
        raise click.UsageError("name a file or a table version, or give --list, or --undo ID")
    workspace = open_workspace()
    if undo is not None:
        _undo(workspace, undo, as_json)
    elif listing:
        _list(workspace, as_json)
    else:
        with working("following the records"):
            origin = parse(workspace, what or "", columns=columns, sha256=sha256, copies=copies)
            recall = find(workspace, origin)
        if carry_out:
            _apply(workspace, origin, recall, reason, yes=yes, as_json=as_json)
        elif as_json:
            echo_json(recall.as_json())
        else:
            print_recall(recall, console(), every=every)
            _next(recall)


def _next(recall: Recall) -> None:
    if any(each.holds_now and each.kind == "table" for each in recall.tables):
        click.echo(f"Next:  headrace recall {recall.origin.text} --apply --reason TEXT")
    elif any(each.aliases for each in recall.models):
        click.echo("Next:  headrace run, which trains on the tables without it")


def _apply(
    workspace: Workspace, origin: Origin, recall: Recall, reason: str, *, yes: bool, as_json: bool
) -> None:
    from headrace.cli.output import console, echo_json
    from headrace.recall import apply
    from headrace.recall.apply import preview
    from headrace.recall.render import print_recall

    steps = preview(workspace, recall)
    if not as_json:
        print_recall(recall, console(), brief=True)
        _announce(origin, steps)
    if not yes:
        click.confirm("Carry it out?", abort=True, err=as_json)
    record = apply(workspace, origin, reason=reason, observer=None if as_json else _line)
    if as_json:
        echo_json(record.as_json())
        return
    for step in record.steps:
        if step.kind == "people":
            _line(step)
    moved = sum(each.state == "quarantined" for each in record.files)
    click.echo(f"\nRecall {record.id} is {record.state}; files in quarantine: {moved}.")
    if moved:
        click.echo(f"  undo:  headrace recall --undo {record.id}")
    click.echo("  next:  headrace run, which trains on the mended tables; headrace status")


def _announce(origin: Origin, steps: list[StepRecord]) -> None:
    for file in origin.files[:10]:
        words = "to quarantine" if file.state == "unchanged" else f"left: it is {file.state}"
        click.echo(f"  file     {file.path}: {words}")
    if len(origin.files) > 10:
        click.echo(f"  and {len(origin.files) - 10:,} more files")
    for step in steps:
        if step.state != "left":
            click.echo(f"  {step.kind:<8} {step.name}")


def _line(step: StepRecord) -> None:
    text = f"  {step.kind:<8} {step.name}: {step.message}"
    click.secho(text, fg=_STYLES[step.state])


def _undo(workspace: Workspace, recall: str, as_json: bool) -> None:
    from headrace.cli.output import echo_json
    from headrace.recall import undo

    record = undo(workspace, recall)
    if as_json:
        echo_json(record.as_json())
        return
    for file in record.files:
        if file.state == "returned":
            click.echo(f"  returned  {file.path}")
    click.echo(f"Recall {record.id} is undone.")
    click.echo("  next:  headrace run, which reads the files again")


def _list(workspace: Workspace, as_json: bool) -> None:
    from headrace.cli.output import echo_json, table
    from headrace.recall.store import every

    found: list[RecallRecord] = every(workspace.store)
    if as_json:
        echo_json({"recalls": [each.as_json() for each in found]})
        return
    table(
        "Recalls",
        ["id", "of", "state", "files", "left to people", "by", "reason", "started"],
        [
            (
                each.id,
                each.label,
                each.state,
                sum(file.state == "quarantined" for file in each.files),
                sum(step.state == "left" for step in each.steps),
                each.by,
                each.reason,
                each.started_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            )
            for each in found
        ],
        right="files,left to people",
        whole="id",
    )
