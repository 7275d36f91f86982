"""``headrace up``."""

from __future__ import annotations

import click

from headrace.cli.options import debug_option


@click.command()
@click.option("--host", help="Address to listen on; HEADRACE_HOST if not given.")
@click.option("--port", type=int, help="Port to listen on; HEADRACE_PORT if not given.")
@debug_option
def command(host: str | None, port: int | None) -> None:
    """Serve the project's endpoints until Ctrl-C.

    The scoring plane is a process of its own; it is restarted when it dies, drains on
    Ctrl-C, and picks up deployments and shifts without a restart.
    """
    from headrace.cli.output import working
    from headrace.project.config import load_project
    from headrace.serving import supervise
    from headrace.settings import find_project, port_setting, setting

    paths = find_project()
    project = load_project(paths)

    def ready(address: str) -> None:
        if spinner is not None:
            spinner.stop()
        click.echo(f"Scoring plane at {address}  (token in {paths.token_file})")
        for name in project.endpoints:
            click.echo(f"  POST {address}/endpoints/{name}/invocations")
        click.echo("Ctrl-C drains and stops it.")

    with working("starting the scoring plane") as spinner:
        supervise(
            paths,
            host=host or setting("HEADRACE_HOST"),
            port=port if port is not None else port_setting(),
            once_ready=ready,
        )
