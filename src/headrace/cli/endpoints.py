"""``headrace endpoints``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headrace.cli.options import debug_option, json_option
from headrace.errors import HeadraceError
from headrace.identity import principal

if TYPE_CHECKING:
    from headrace.catalog.guards import Override
    from headrace.endpoints import Decision, DeploymentStatus, EndpointStatus
    from headrace.workspace import Workspace

#: States in which a deployment is part of the endpoint, and not of its history.
_PRESENT = ("loading", "ready", "standby", "draining")


class SharesError(HeadraceError):
    """Shares that are not written as colours with whole percents."""

    code = "shares_unreadable"

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f'"{text}" is no share of the traffic.',
            why="a share is a colour and a whole percent",
            next="headrace endpoints shift NAME blue=90 green=10",
        )


class _Group(click.Group):
    """A word that is no subcommand is the name of an endpoint."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            return super().resolve_command(ctx, ["show", *args])
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group,
    invoke_without_command=True,
    subcommand_metavar="[NAME | COMMAND [ARGS]...]",
)
@json_option
@debug_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show endpoints and their rollouts, or NAME with its decisions; move their traffic."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = {**(ctx.obj or {}), "json": as_json}
        return
    from headrace.cli.output import echo_json, table
    from headrace.endpoints import decisions, endpoint_names, endpoint_status
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    found = [
        (endpoint_status(workspace, name), decisions(workspace, name, limit=1))
        for name in endpoint_names(workspace)
    ]
    served = {each.model for status, _ in found for each in status.deployments}
    overridden = _overridden(workspace, served)
    if as_json:
        echo_json(
            {
                "endpoints": [_as_json(status, made) for status, made in found],
                "overrides": [each.as_json() for each in overridden],
            }
        )
        return
    columns = ["endpoint", "state", "deployment", "version", "share", "rollout"]
    columns += ["requests", "errors", "p50", "p99", "last decision"]
    rows = [row for status, made in found for row in _rows(status, made)]
    table("Endpoints", columns, rows, right="share,requests,errors,p50,p99", whole="endpoint")
    _tell(overridden)


@command.command()
@click.argument("name")
@json_option
@debug_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show an endpoint: deployments, rollout, rules, decisions."""
    from headrace.endpoints import decisions, endpoint_status
    from headrace.parity.line import line_of
    from headrace.parity.store import reports_of_deployment
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    status, made = endpoint_status(workspace, name), decisions(workspace, name, limit=20)
    overridden = _overridden(workspace, {each.model for each in status.deployments})
    parity = {d.id: reports_of_deployment(workspace.store, d.id) for d in status.deployments}
    if as_json or (ctx.obj or {}).get("json"):
        from headrace.cli.output import echo_json

        seen = [each.as_json() for each in overridden]
        reports = {id: [kept.report.as_json() for kept in found] for id, found in parity.items()}
        echo_json({**_as_json(status, made), "overrides": seen, "parity": reports})
        return
    _show_one(status, made, {id: line_of(found) for id, found in parity.items()})
    _tell(overridden)


def _overridden(workspace: Workspace, models: set[str]) -> list[Override]:
    """Overrides in force of models that are served."""
    from headrace.catalog import guards

    return [each for each in guards.overrides(workspace.store) if each.model in models]


def _tell(overridden: list[Override]) -> None:
    for each in overridden:
        click.secho(f"OVERRIDDEN: {each.sentence}", fg="red", bold=True)


@command.command()
@click.argument("name")
@json_option
@debug_option
def pause(name: str, as_json: bool) -> None:
    """Hold a rollout at its present share. A rule that is violated still rolls back."""
    from headrace.endpoints import pause as hold
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    deployment = hold(workspace, name, by=principal())
    _told(workspace, name, as_json, f"the rollout of {deployment.model} is paused")


@command.command()
@click.argument("name")
@json_option
@debug_option
def resume(name: str, as_json: bool) -> None:
    """Go on with a rollout that was paused, stopped by a shift, or rolled back."""
    from headrace.endpoints import resume as go_on
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    deployment = go_on(workspace, name, by=principal())
    _told(workspace, name, as_json, f"the rollout of {deployment.model} goes on")


@command.command()
@click.argument("name")
@json_option
@debug_option
def rollback(name: str, as_json: bool) -> None:
    """Put all traffic back on the version before, at once."""
    from headrace.endpoints import rollback as go_back
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    deployment = go_back(workspace, name, by=principal())
    _told(workspace, name, as_json, f"{deployment.colour} answers with {deployment.model}")


@command.command()
@click.argument("name")
@click.argument("shares", nargs=-1, required=True, metavar="COLOUR=PERCENT...")
@json_option
@debug_option
def shift(name: str, shares: tuple[str, ...], as_json: bool) -> None:
    """Split the traffic by hand; a rollout under way stops.

    For example: headrace endpoints shift device-failure blue=50 green=50
    """
    from headrace.endpoints import shift as split
    from headrace.workspace import open_workspace

    wanted = _shares(shares)
    workspace = open_workspace()
    split(workspace, name, wanted, by=principal())
    text = ", ".join(f"{colour} {share} %" for colour, share in wanted.items())
    _told(workspace, name, as_json, text)


def _told(workspace: Workspace, name: str, as_json: bool, text: str) -> None:
    from headrace.cli.output import echo_json
    from headrace.endpoints import endpoint_status

    if as_json:
        echo_json(endpoint_status(workspace, name).as_json())
    else:
        click.echo(f"{name}: {text}")


def _shares(words: tuple[str, ...]) -> dict[str, int]:
    shares = {}
    for word in words:
        colour, equals, percent = word.partition("=")
        if not equals or not percent.removesuffix("%").isdecimal():
            raise SharesError(word)
        shares[colour] = int(percent.removesuffix("%"))
    return shares


def _as_json(status: EndpointStatus, made: list[Decision]) -> dict[str, Any]:
    return {**status.as_json(), "decisions": [decision.as_json() for decision in made]}


def _rows(status: EndpointStatus, made: list[Decision]) -> list[tuple[object, ...]]:
    present = [d for d in status.deployments if d.state in _PRESENT] or status.deployments[:1]
    rows = []
    for index, deployment in enumerate(present):
        first = index == 0
        rows.append(
            (
                status.name if first else "",
                status.state if first else "",
                *_numbers(status, deployment),
                _decision(made[0]) if first and made else "",
            )
        )
    return rows


def _numbers(status: EndpointStatus, deployment: DeploymentStatus) -> tuple[object, ...]:
    observed = deployment.observed or {}
    latency = observed.get("latency_ms") or {}
    return (
        f"{deployment.colour} {deployment.state}",
        deployment.version,
        f"{deployment.share} %",
        _progress(status, deployment),
        f"{observed['requests']:,}" if observed else "",
        f"{observed['failed']:,}" if observed else "",
        _ms(latency.get("p50")),
        _ms(latency.get("p99")),
    )


def _progress(status: EndpointStatus, deployment: DeploymentStatus) -> str:
    rollout = status.rollout
    if rollout is None or rollout["deployment"] != deployment.id:
        return ""
    step, steps = rollout["step"], rollout["steps"]
    place = f"step {step}/{len(steps)}"
    if rollout["state"] == "running" and step == 0:
        place = "mirrored"
    if rollout["state"] != "running":
        return f"{rollout['state']}, {place}"
    return f"{place}, then {steps[step]} % {_until(rollout['next_at'])}"


def _until(moment: str | None) -> str:
    from datetime import datetime

    from headrace.clock import now

    if moment is None:
        return ""
    seconds = (datetime.fromisoformat(moment) - now()).total_seconds()
    return "when its rules allow" if seconds <= 0 else f"in {seconds:.0f} s"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} ms"


def _decision(decision: Decision) -> str:
    return f"{decision.action}: {decision.reason}"


def _show_one(status: EndpointStatus, made: list[Decision], parity: dict[str, str | None]) -> None:
    from headrace.cli.output import table

    click.echo(f"{status.name} answers with {status.model}; it is {status.state}.")
    if status.url:
        click.echo(status.url)
    table(
        "Deployments",
        ["deployment", "version", "share", "rollout", "requests", "errors", "p50", "p99", "why"],
        [(*_numbers(status, each), each.reason or "") for each in status.deployments],
        right="share,requests,errors,p50,p99",
    )
    for each in status.deployments:
        if status.rollout and each.id == status.rollout["deployment"] and each.observed:
            click.echo(f"Rules: {each.observed['reason'] or 'not judged yet'}")
    for each in status.deployments:
        if each.state in _PRESENT and parity.get(each.id):
            click.echo(f"Parity: {each.colour} version {each.version}: {parity[each.id]}")
    if status.mirror:
        counted = ", ".join(f"{count:,} {what}" for what, count in status.mirror.items())
        click.echo(f"Mirrored requests: {counted}")
    table(
        "Decisions, newest first",
        ["at", "decision", "by", "traffic", "why"],
        [
            (
                decision.at.strftime("%Y-%m-%d %H:%M:%S UTC"),
                decision.action,
                decision.decided_by,
                _moved(decision),
                decision.reason,
            )
            for decision in made
        ],
    )


def _moved(decision: Decision) -> str:
    before, after = decision.shares_before, decision.shares_after
    moved = [colour for colour in after if after[colour] != before.get(colour, 0)]
    return ", ".join(f"{colour} {before.get(colour, 0)} -> {after[colour]} %" for colour in moved)
