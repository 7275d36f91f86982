"""``headrace up``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option

if TYPE_CHECKING:
    from headrace.settings import Paths


@click.command()
@click.option("--host", help="Address to listen on; HEADRACE_HOST if not given.")
@click.option("--port", type=int, help="Port to listen on; HEADRACE_PORT if not given.")
@click.option(
    "--control-port",
    type=int,
    help="Port of the control plane; HEADRACE_CONTROL_PORT if not given.",
)
@click.option("--no-control", is_flag=True, help="Serve the endpoints alone.")
@debug_option
def command(host: str | None, port: int | None, control_port: int | None, no_control: bool) -> None:
    """Serve the project's endpoints, and MLflow's server beside them, until Ctrl-C.

    The scoring plane is a process of its own; it is restarted when it dies, drains on
    Ctrl-C, and picks up deployments and shifts without a restart. The control plane is another:
    MLflow's pages and API on this project, in which protected aliases do not move.
    """
    from headrace.catalog import Store, guards
    from headrace.cli.output import working
    from headrace.identity import principal
    from headrace.project.config import load_project
    from headrace.serving import supervise
    from headrace.settings import find_project, port_setting, setting

    paths = find_project()
    project = load_project(paths)
    paths.make()
    store = Store.open(paths.database_url)
    guards.protect(store, project.protected, principal())
    store.close()
    if no_control:
        control_port = None
    elif control_port is None:
        # With any free port for the endpoints, several projects are served on this machine.
        control_port = 0 if port == 0 else port_setting("HEADRACE_CONTROL_PORT")

    def ready(address: str) -> None:
        if spinner is not None:
            spinner.stop()
        click.echo(f"Scoring plane at {address}  (token in {paths.token_file})")
        for name in project.endpoints:
            click.echo(f"  POST {address}/endpoints/{name}/invocations")
        if control_port is not None:
            _tell_of_control(paths)
        click.echo("Ctrl-C drains and stops it.")

    with working("starting the scoring plane") as spinner:
        supervise(
            paths,
            host=host or setting("HEADRACE_HOST"),
            port=port if port is not None else port_setting(),
            once_ready=ready,
            control_port=control_port,
        )


def _tell_of_control(paths: Paths) -> None:
    """Say where MLflow's pages are, once they are there."""
    import threading
    import time

    from headrace.control import read_control
    from headrace.control.address import login_link

    def wait() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            info = read_control(paths)
            if info is not None:
                click.echo(f"Control plane at {info.url}  (MLflow's API, with the same token)")
                link = login_link(paths, info)
                if link is not None:
                    click.echo(f"  in a browser, once: {link}")
                return
            time.sleep(0.2)

    threading.Thread(target=wait, name="control", daemon=True).start()
