"""Write ``docs/cli.md`` and ``docs/settings.md`` from the code: ``make reference``."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from headrace.cli import COMMANDS, cli
from headrace.settings import SETTINGS

DOCS = Path(__file__).resolve().parent.parent / "docs"


def command_line() -> str:
    """The help of every command, as a page."""
    parts = ["# The command line\n", "Made by `make reference`.\n"]
    parts.append(_block(cli, "headrace", None))
    root = click.Context(cli, info_name="headrace")
    for name in COMMANDS:
        command = importlib.import_module(f"headrace.cli.{name}").command
        parts.append(f"## headrace {name}\n")
        parts.append(_block(command, name, root))
    return "\n".join(parts)


def _block(command: click.Command, name: str, parent: click.Context | None) -> str:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=88)
    return f"```\n{command.get_help(context)}\n```\n"


def settings() -> str:
    """The settings table, as a page."""
    lines = [
        "# Settings\n",
        "Environment variables. Made by `make reference` from `headrace.settings`.\n",
        "| variable | default | what it does |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{s.name}` | {f'`{s.default}`' if s.default else ''} | {s.help} |"
        for s in SETTINGS.values()
    ]
    lines.append(
        "\nMLflow's own variables, such as `MLFLOW_TRACKING_URI`, keep their meaning: one that is "
        "set is left alone. MLflow's usage reports are off unless `MLFLOW_DISABLE_TELEMETRY=false`.\n"
    )
    return "\n".join(lines)


PAGES = {"cli.md": command_line, "settings.md": settings}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write())
