"""``headrace pins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pins import BrokenPin, Pin


@click.group(invoke_without_command=True)
@json_option
@debug_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show the table versions that models need, and which of them are lost."""
    if ctx.invoked_subcommand is None:
        _show(as_json)


@command.command()
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--reason", required=True, help="Why, for the audit log.")
@json_option
@debug_option
def release(version: str, reason: str, as_json: bool) -> None:
    """Let the pins of a model version go; it may not be reproducible afterwards."""
    from headrace import pins
    from headrace.cli.output import counted, echo_json
    from headrace.identity import principal
    from headrace.workspace import open_workspace

    model, _, number = version.rpartition("/")
    if not model or not number.isdigit():
        raise click.BadParameter("it is written as MODEL/VERSION, such as device_failure/3")
    released = pins.release(open_workspace(), model, int(number), reason=reason, by=principal())
    if as_json:
        echo_json({"released": [_as_json(pin) for pin in released]})
        return
    click.echo(
        f"{counted(len(released), 'pin')} of {version} released.  "
        "Next:  headrace maintain frees what they kept"
    )


def show_broken(broken: Sequence[BrokenPin]) -> None:
    """A line for each model version that can no longer be built again."""
    for each in broken:
        click.echo(f"{each.pin} cannot be reproduced: {each.why}.  Next:  headrace pins")


def _show(as_json: bool) -> None:
    from headrace.cli.output import echo_json, table
    from headrace.maintenance.policy import expiries
    from headrace.pins import broken, pinned
    from headrace.project.config import load_project
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    spec = load_project(workspace.paths).maintenance
    found = pinned(workspace.store)
    lost = {each.pin: each for each in broken(workspace.store, workspace.catalog)}
    until = expiries(workspace, spec)
    if as_json:
        echo_json(
            {
                "pins": [
                    {
                        **_as_json(pin),
                        "expires": until[pin.model, pin.version].as_json(pin.pinned_at),
                        "broken": lost[pin].as_json() if pin in lost else None,
                    }
                    for pin in found
                ]
            }
        )
        return
    table(
        "Pins",
        ["model version", "table", "version", "why", "pinned", "expires", "state"],
        [
            (
                pin,
                pin.name,
                pin.table_version,
                pin.why,
                pin.pinned_at.strftime("%Y-%m-%d"),
                until[pin.model, pin.version].text(pin.pinned_at),
                "broken" if pin in lost else "ok",
            )
            for pin in found
        ],
        right="version",
        whole="model version,table",
    )
    for each in lost.values():
        click.echo(f"{each.pin} cannot be reproduced: {each.why}")
        for file in each.files[:10]:
            click.echo(f"  {file}")
        if len(each.files) > 10:
            click.echo(f"  and {len(each.files) - 10:,} more")


def _as_json(pin: Pin) -> dict[str, Any]:
    from dataclasses import asdict

    from headrace.clock import iso

    released = None if pin.released_at is None else iso(pin.released_at)
    return {**asdict(pin), "pinned_at": iso(pin.pinned_at), "released_at": released}
