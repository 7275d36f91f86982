"""``headrace init``."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.options import debug_option, json_option


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--template", default="device-health", show_default=True, help="What to start from.")
@json_option
@debug_option
def command(directory: Path, template: str, as_json: bool) -> None:
    """Write a new project into DIRECTORY, with its bearer token and signing key (mode 0600)."""
    from headrace.cli.output import echo_json
    from headrace.project.init import init

    written = init(directory, template)
    if as_json:
        echo_json({"directory": str(directory.resolve()), "files": [str(path) for path in written]})
        return
    click.echo(f"Wrote {len(written)} files to {directory}:")
    for path in written:
        click.echo(f"  {path}")
    click.echo(f"\nNext:  cd {directory}, put raw files where README.md says, and: headrace plan")
