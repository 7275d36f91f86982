"""``headrace run``."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import click

from headrace.cli.options import conf_option, debug_option, json_option

if TYPE_CHECKING:
    from headrace.project import Run


@click.command()
@click.argument("names", nargs=-1)
@click.option("--full", is_flag=True, help="Rebuild from scratch, also what is fresh.")
@click.option("--allow-drift", is_flag=True, help="Train although the environment is not the lock.")
@conf_option
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    full: bool,
    allow_drift: bool,
    conf: dict[str, str],
    as_json: bool,
) -> None:
    """Bring everything that is stale up to date, in dependency order.

    A failed step stops only what needs it. Running again picks up where it stopped; with
    nothing changed it does nothing. NAMES narrow the run.

    With --allow-drift each version that is trained says how its environment differed.
    """
    from dataclasses import replace

    from headrace.cli.output import SilentObserver, StepPrinter, echo_json, working
    from headrace.cli.status import show_notices
    from headrace.project import apply, build, narrow, open_project
    from headrace.project.notices import notices
    from headrace.workspace import open_workspace

    with working("reading the project"):
        desired = open_project(open_workspace(), conf)
        desired = replace(desired, allow_drift=allow_drift or None)
        plan = narrow(build(desired), names)
    observer = SilentObserver() if as_json else StepPrinter(plan)
    run = apply(desired, plan, observer, full=full)
    told = notices(desired.workspace, desired.project)
    if as_json:
        echo_json(
            {
                "run": run.id,
                "seconds": round(run.seconds, 3),
                "notices": [notice.as_json() for notice in told],
                "steps": [
                    {
                        "step": outcome.step.id,
                        "state": outcome.state,
                        "seconds": round(outcome.seconds, 3),
                        "message": outcome.message,
                        **({"error": outcome.error.as_json()} if outcome.error else {}),
                        **outcome.facts,
                    }
                    for outcome in run.outcomes
                ],
            }
        )
    else:
        show_notices(told)
        _summary(run)
    if ctx.obj["debug"]:
        for outcome in run.failed:
            if outcome.error is not None:
                traceback.print_exception(outcome.error)
    ctx.exit(1 if run.failed else 0)


def _summary(run: Run) -> None:
    from headrace.cli.output import counted

    if run.failed:
        click.echo(f"\n{len(run.failed)} of {len(run.outcomes)} steps did not finish.")
        click.echo("Mend the first failure and type: headrace run  (finished steps are kept)")
    elif run.changed:
        click.echo(
            f"\n{counted(len(run.changed), 'step')} done in {run.seconds:.1f} s.  Next:  headrace status"
        )
    else:
        click.echo("\nNothing to do: everything is fresh.")
