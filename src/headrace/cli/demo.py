"""``headrace demo``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from headrace.cli.options import debug_option, json_option


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default="demo")
@click.option("--serve", is_flag=True, help="Leave everything up until Ctrl-C.")
@json_option
@debug_option
def command(directory: Path, serve: bool, as_json: bool) -> None:
    """Run the whole loop on simulated telemetry, in DIRECTORY (demo/ by default).

    Writes a project, simulates a month of telemetry, builds tables, trains and gates a model,
    deploys it, and moves live traffic to a better version. Ends with a summary.
    """
    from headrace.cli.output import StepPrinter, Telling, echo_json, quiet_observer
    from headrace.cli.summary import show
    from headrace.demo.facts import facts
    from headrace.demo.story import ENDPOINT, tell
    from headrace.demo.tracking_ui import running_ui

    telling = Telling(silent=as_json)
    with ExitStack() as stack:
        story = tell(
            directory,
            telling,
            quiet_observer if as_json else StepPrinter,
            stack,
        )
        if as_json:
            echo_json(facts(story))
        else:
            show(story)
        if serve:
            with telling.waiting("starting MLflow's user interface"):
                ui = stack.enter_context(running_ui(story.workspace.paths))
            click.echo("\nUp until Ctrl-C:")
            click.echo(f"  endpoint  {story.url}/endpoints/{ENDPOINT}/invocations")
            click.echo(f"  MLflow    {ui}")
            _wait_for_ctrl_c()


def _wait_for_ctrl_c() -> None:
    import signal
    import threading

    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    over.wait()
