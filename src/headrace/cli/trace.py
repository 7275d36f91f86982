"""``headrace trace``."""

from __future__ import annotations

import click

from headrace.cli.options import debug_option, json_option


@click.command()
@click.argument("what")
@click.argument("key", required=False)
@click.option("--mermaid", is_flag=True, help="Print a Mermaid flowchart.")
@json_option
@debug_option
def command(what: str, key: str | None, mermaid: bool, as_json: bool) -> None:
    """Trace a prediction back to its raw file.

    \b
    Online: headrace trace PREDICTION_ID
    Batch:  headrace trace TABLE device_id=17,window_end=2026-01-31T12:00:00
    """
    from headrace.cli.output import console, echo_json, working
    from headrace.trace import trace_prediction, trace_row
    from headrace.trace.mermaid import mermaid as flowchart
    from headrace.trace.render import print_trace
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    with working("tracing"):
        if key is None:
            trace = trace_prediction(workspace, what)
        else:
            trace = trace_row(workspace, what, key)
    if as_json:
        echo_json(trace.as_json())
    elif mermaid:
        click.echo(flowchart(trace))
    else:
        print_trace(trace, console())
