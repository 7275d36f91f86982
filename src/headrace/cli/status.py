"""``headrace status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.endpoints import EndpointStatus
    from headrace.project.notices import Notice
    from headrace.project.status import ModelStatus, TableStatus
    from headrace.project.store import RunRecord
    from headrace.promotion import Verdict
    from headrace.workspace import Workspace


@click.command()
@json_option
@debug_option
def command(as_json: bool) -> None:
    """Show tables with their versions, models with their champion, and endpoints."""
    from headrace.cli.output import echo_json
    from headrace.cli.pins import show_broken
    from headrace.project.config import load_project
    from headrace.project.status import status
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    found = status(workspace, load_project(workspace.paths))
    if as_json:
        echo_json(found.as_json())
        return
    show_tables(found.tables)
    show_expectations(found.tables)
    show_models(found.models)
    show_endpoints(found.endpoints)
    _show_parity(workspace, found.endpoints)
    show_broken(found.broken_pins)
    show_notices(found.notices)
    _show_run(found.last_run, found.run_holder)


def show_tables(tables: Sequence[TableStatus]) -> None:
    """Tables with version, rows and age."""
    from headrace.cli.output import table

    table(
        "Tables",
        ["table", "version", "rows", "changed"],
        [
            (
                each.name,
                "gone" if each.version is None else each.version,
                "" if each.rows is None else f"{each.rows:,}",
                each.changed_at.strftime("%Y-%m-%d %H:%M:%S UTC") if each.changed_at else "",
            )
            for each in tables
        ],
        right="version,rows",
    )


def show_expectations(tables: Sequence[TableStatus]) -> None:
    """What the newest refresh of each table found, for tables that expect something."""
    from headrace.cli.output import table

    rows = [
        (each.name, count.name, count.action, f"{count.passed:,}", f"{count.failed:,}")
        for each in tables
        for count in each.expectations
    ]
    if rows:
        columns = ["table", "expectation", "on failure", "passed", "failed"]
        table("Expectations, newest refresh", columns, rows, right="passed,failed")


def show_models(models: Sequence[ModelStatus]) -> None:
    """Models with the version in production, and the last challenge on the gate's metric."""
    from headrace.cli.output import table

    rows = []
    for model in models:
        verdict = model.verdict
        if verdict is None:
            rows.append((model.name, _live(model), "", "", "", "not judged yet"))
            continue
        difference = verdict.difference
        rows.append(
            (
                model.name,
                _live(model),
                verdict.metric,
                f"v{verdict.version} {verdict.candidate:.4f}",
                "" if difference is None else f"v{verdict.champion} {difference.champion:.4f}",
                f"{model.state}: {_why(verdict)}",
            )
        )
    table(
        "Models",
        ["model", "live", "metric", "challenger", "champion", "verdict"],
        rows,
    )


def show_notices(notices: Sequence[Notice]) -> None:
    """Overrides and recalls in red, then what waits for whom."""
    for notice in notices:
        if notice.kind == "override":
            click.secho(f"OVERRIDDEN: {notice.text}", fg="red", bold=True)
        elif notice.kind == "recalled":
            click.secho(f"RECALLED: {notice.text}", fg="red", bold=True)
        else:
            click.secho(f"Waiting: {notice.text}", fg="yellow")


def _live(model: ModelStatus) -> str:
    return _version(model.champion) + (" OVERRIDDEN" if model.overridden else "")


def _version(number: int | None) -> str:
    return "none" if number is None else f"v{number}"


def _why(verdict: Verdict) -> str:
    from headrace.gate.verdict import gain_text

    if verdict.reasons:
        return "; ".join(verdict.reasons)
    return gain_text(verdict.difference) if verdict.difference else "meets every bound"


def show_endpoints(endpoints: Sequence[EndpointStatus]) -> None:
    """Deployments with their share of the traffic and what they answered."""
    from headrace.cli.output import table

    table(
        "Endpoints",
        [
            *("endpoint", "state", "deployment", "version", "scored by"),
            *("share", "served", "failed", "rejected"),
        ],
        [
            (
                endpoint.name,
                endpoint.state if deployment is endpoint.deployments[0] else "",
                f"{deployment.colour} {deployment.state}",
                deployment.version,
                (deployment.observed or {}).get("scorer", ""),
                f"{deployment.share} %",
                f"{deployment.served:,}",
                deployment.failed,
                deployment.rejected,
            )
            for endpoint in endpoints
            for deployment in endpoint.deployments
        ],
        right="version,share,served,failed,rejected",
    )
    for endpoint in endpoints:
        for newest in endpoint.deployments[:1]:
            if newest.state == "failed":
                failed = f"{endpoint.name} {newest.colour} version {newest.version} failed"
                click.echo(f"{failed}: {newest.reason}")
        if endpoint.url:
            click.echo(f"{endpoint.name} answers at {endpoint.url}")
        elif endpoint.state == "down":
            click.echo(f"{endpoint.name} is down.  Next:  headrace up")


def _show_parity(workspace: Workspace, endpoints: Sequence[EndpointStatus]) -> None:
    from headrace.parity.line import deployment_line

    for endpoint in endpoints:
        for newest in endpoint.deployments[:1]:
            found = deployment_line(workspace.store, newest.id)
            # Why a deployment failed has been told.
            if found is not None and newest.state != "failed":
                click.echo(f"{endpoint.name} {newest.colour} version {newest.version}: {found}")


def _show_run(run: RunRecord | None, holder: str | None) -> None:
    if holder is not None:
        click.echo(f"A run is in progress ({holder}).")
        return
    if run is None:
        click.echo("Never run.  Next:  headrace run")
        return
    when = run.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    if run.state == "running":
        click.echo(f"The last run ({when}) was killed.  Next:  headrace run")
    elif run.state == "failed":
        failed = [step for step, state, _ in run.steps if state == "failed"]
        click.echo(f"The last run ({when}) failed at {', '.join(failed)}.  Next:  headrace run")
    else:
        click.echo(f"The last run ({when}) finished.  Next:  headrace plan")
