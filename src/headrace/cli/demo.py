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
    from headrace.demo.story import tell

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
            _stay(story.url)


def _stay(url: str) -> None:
    import signal

    click.echo(f"\nServing at {url} until Ctrl-C.")
    while True:
        signal.pause()
