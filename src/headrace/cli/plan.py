"""``headrace plan``."""

from __future__ import annotations

import click

from headrace.cli.options import conf_option, debug_option, json_option


@click.command()
@click.argument("names", nargs=-1)
@conf_option
@json_option
@debug_option
def command(names: tuple[str, ...], conf: dict[str, str], as_json: bool) -> None:
    """Show each step to the desired state, in order, and why it is stale.

    NAMES narrow the plan to some tables, models or endpoints and what they need.
    """
    from headrace.cli.output import counted, echo_json, table, working
    from headrace.cli.status import show_notices
    from headrace.project import build, narrow, open_project
    from headrace.project.notices import notices
    from headrace.workspace import open_workspace

    with working("reading the project"):
        desired = open_project(open_workspace(), conf)
        plan = narrow(build(desired), names)
        told = notices(desired.workspace, desired.project)
    if as_json:
        steps = [
            {
                "step": step.id,
                "kind": step.kind,
                "name": step.name,
                "needs": list(step.needs),
                "stale": step.stale,
                "action": step.action if step.stale else "nothing",
                "reason": step.reason,
            }
            for step in plan.steps
        ]
        seen = [notice.as_json() for notice in told]
        echo_json({"project": plan.project, "steps": steps, "notices": seen})
        return
    table(
        f"Plan of {plan.project}",
        ["", "step", "name", "action", "why"],
        [
            (
                "stale" if step.stale else "fresh",
                step.kind,
                step.name,
                step.action if step.stale else "nothing",
                step.reason,
            )
            for step in plan.steps
        ],
        whole="name",
    )
    show_notices(told)
    if plan.stale:
        of_all = counted(len(plan.steps), "step")
        click.echo(f"Stale: {len(plan.stale)} of {of_all}.  Next:  headrace run")
    else:
        click.echo("Everything is fresh: headrace run would do nothing.")
