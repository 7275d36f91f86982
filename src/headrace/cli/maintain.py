"""``headrace maintain``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.maintenance import TableReport
    from headrace.settings import Paths


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Remove nothing; show what would go.")
@json_option
@debug_option
@click.pass_context
def command(ctx: click.Context, tables: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Keep the project's tables small, or only the named TABLES.

    Merges small files, writes checkpoints, and removes the files and the log that neither the
    retention nor a pin nor a stream needs. Safe beside readers and writers.
    """
    from headrace.cli.output import echo_json, working
    from headrace.maintenance import maintain
    from headrace.project.config import load_project
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    spec = load_project(workspace.paths).maintenance
    with ExitStack() as held, working("maintaining"):
        alone = dry_run or _alone(workspace.paths, held)
        reports = maintain(workspace, spec, tables or None, dry_run, compact=alone)
    for name in spec.tables:
        if workspace.catalog.find(name) is None:
            click.echo(
                f"headrace.yaml gives {name} a retention, and there is no such table", err=True
            )
    if as_json:
        echo_json({"tables": [report.as_json() for report in reports]})
    else:
        _show(reports, dry_run)
    ctx.exit(1 if any(report.state == "failed" for report in reports) else 0)


def _alone(paths: Paths, held: ExitStack) -> bool:
    """Whether no run of the project is in progress; then none begins until the end of this."""
    from headrace.project.lock import RunInProgressError, run_lock

    try:
        held.enter_context(run_lock(paths))
    except RunInProgressError:
        return False
    return True


def _show(reports: Sequence[TableReport], dry_run: bool) -> None:
    from headrace.cli.output import size, table

    table(
        "Maintenance, nothing changed" if dry_run else "Maintenance",
        ["table", "state", "files", "bytes", "merged", "freed", "kept by pins", "note"],
        [
            (
                report.table,
                report.state,
                f"{report.files_before:,} -> {report.files_after:,}" if report.files_before else "",
                size(report.bytes_after) if report.files_before else "",
                f"{report.compacted:,}" if report.compacted else "",
                size(report.freed) if report.freed else "",
                size(report.pinned_bytes) if report.pinned_bytes else "",
                report.reason,
            )
            for report in reports
        ],
        right="files,bytes,merged,freed,kept by pins",
        whole="table",
    )
    costs = [(pin, report.table) for report in reports for pin in report.pins]
    if costs:
        table(
            "Pins",
            ["model version", "table", "version", "keeps", "frees alone"],
            [
                (pin, name, pin.table_version, size(pin.bytes), size(pin.exclusive))
                for pin, name in costs
            ],
            right="version,keeps,frees alone",
        )
