"""``headrace doctor``."""

from __future__ import annotations

import click

from headrace.cli.options import debug_option, json_option


@click.command()
@json_option
@debug_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check this machine and this project; exit 1 if something would not work."""
    from dataclasses import asdict

    from headrace.cli.output import echo_json, table, working
    from headrace.project.doctor import examine

    with working("looking"):
        checks = examine()
    if as_json:
        echo_json({"checks": [asdict(check) for check in checks]})
    else:
        table(
            "Doctor",
            ["", "check", "found", "next"],
            [(check.state, check.name, check.found, check.next) for check in checks],
        )
    ctx.exit(1 if any(check.state == "failed" for check in checks) else 0)
