"""``headrace audit``."""

from __future__ import annotations

from typing import Any

import click

from headrace.cli.options import debug_option, json_option


@click.command()
@click.option("--object", "name", help="A model, MODEL/VERSION, MODEL@ALIAS or an endpoint.")
@click.option("--by", help="What one person did.")
@click.option("--since", help="No older than this: a duration such as 7d, or a date.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@debug_option
def command(name: str | None, by: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """Show who moved, or tried to move, what is protected; the newest first."""
    from headrace.catalog import Audit
    from headrace.cli.output import echo_json, table
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    moment = None if since is None else _moment(since)
    entries = Audit(workspace.store).entries(name, by=by, since=moment, limit=limit)
    if as_json:
        echo_json({"entries": [each.as_json() for each in entries]})
        return
    table(
        "Audit",
        ["when", "who", "what", "object", "", "details"],
        [
            (
                each.at.strftime("%Y-%m-%d %H:%M:%S"),
                each.by,
                each.action,
                each.object,
                each.outcome,
                _line(each.details),
            )
            for each in entries
        ],
        whole="when,object",
    )


def _line(details: dict[str, Any]) -> str:
    shown = []
    for name, value in details.items():
        if value in (None, [], {}, ""):
            continue
        text = str(value)
        if name in ("evidence", "verdict"):
            text = text[:16]
        shown.append(f"{name}: {text}")
    return ", ".join(shown)


def _moment(text: str) -> Any:
    import re
    from datetime import UTC, datetime

    from headrace.clock import now
    from headrace.durations import parse_duration

    try:
        if not re.match(r"[0-9]{4}-", text):
            return now() - parse_duration(text)
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            "it is a duration such as 7d, or a date", param_hint="--since"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
