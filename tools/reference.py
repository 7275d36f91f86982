"""Write the pages of ``docs`` that the code itself tells: ``make reference``."""

from __future__ import annotations

import importlib
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import BaseModel, ByteSize, PlainSerializer

from headrace.cli import COMMANDS, cli
from headrace.endpoints.spec import EndpointSpec, RollbackRules, Rollout
from headrace.gate.approvals import ApprovalRule
from headrace.gate.spec import FairnessRule, GateSpec, LeakRules
from headrace.maintenance import MaintenanceSpec, TableMaintenance
from headrace.pipeline.spec import Expectations
from headrace.project.config import ModelEntry, PredictionEntry, Project
from headrace.requestlog.policy import LogPolicy
from headrace.settings import SETTINGS
from headrace.tracking.spec import Holdout
from headrace.workers.spec import WorkerSpec

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

DOCS = Path(__file__).resolve().parent.parent / "docs"


def command_line() -> str:
    """The help of every command, as a page."""
    parts = ["# The command line\n", "Made by `make reference`.\n"]
    parts.append(_block(cli, "headrace", None))
    root = click.Context(cli, info_name="headrace", **cli.context_settings)
    for name in COMMANDS:
        command = importlib.import_module(f"headrace.cli.{name}").command
        parts.append(f"## headrace {name}\n")
        parts.append(_block(command, name, root))
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=root)
            parts += [_block(sub, each, context) for each, sub in command.commands.items()]
    return "\n".join(parts)


def _block(command: click.Command, name: str, parent: click.Context | None) -> str:
    context = click.Context(
        command, info_name=name, parent=parent, max_content_width=88, **command.context_settings
    )
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


PROJECT = """\
# headrace.yaml

Made by `make reference` from the models that read the file.

The file says what there should be. `headrace plan` shows what is missing, `headrace run` makes it
so. A mistake is reported with its line, all of them at once, and an unknown key with the one that
was meant. With the first line below, editors complete the keys and mark mistakes.

```yaml
{template}```

Names of tables have a schema, `gold.features`, and lie in the catalog `main`. Durations are
texts with a unit: `90s`, `15m`, `24h`. Shares are texts such as `20%`, or numbers below 1.

What is taken out of the file is not deleted: tables, versions of models and logged requests stay
and are no longer brought up to date. An endpoint that is taken out is no longer served after the
next `headrace run`.
"""

SECTIONS: dict[str, tuple[type[BaseModel], str]] = {
    "The file": (Project, ""),
    "expectations: TABLE:": (Expectations, "SQL conditions by name: [pipelines](pipelines.md)."),
    "models: NAME:": (ModelEntry, "[Training](training.md)."),
    "models: NAME: holdout:": (Holdout, "Exactly one rule."),
    "models: NAME: gate:": (GateSpec, "[The gate](gate.md)."),
    "models: NAME: gate: leaks:": (
        LeakRules,
        "[Leaks](gate.md#leaks). Each check can `refuse`, `warn` or be left out (`skip`).",
    ),
    "models: NAME: gate: fairness:": (FairnessRule, "One rule, or a list of them."),
    "models: NAME: gate: approvals:": (
        ApprovalRule,
        "A number alone, `0`, or [who approves](approvals.md).",
    ),
    "endpoints: NAME:": (EndpointSpec, "[Endpoints](endpoints.md)."),
    "endpoints: NAME: rollout:": (Rollout, ""),
    "endpoints: NAME: rollout: rollback:": (RollbackRules, "[Rules](endpoints.md#rollouts)."),
    "endpoints: NAME: workers:": (WorkerSpec, ""),
    "endpoints: NAME: log:": (LogPolicy, "[The request log](requestlog.md)."),
    "predictions: TABLE:": (PredictionEntry, "[Batch scoring](scoring.md)."),
    "maintenance:": (MaintenanceSpec, "[Maintenance](maintenance.md) and [pins](pins.md)."),
    "maintenance: tables: TABLE:": (TableMaintenance, ""),
}


def project_file() -> str:
    """Every key of ``headrace.yaml``, as a page."""
    template = files("headrace.project") / "templates/device-health/headrace.yaml"
    parts = [PROJECT.format(template=template.read_text())]
    for title, (model, text) in SECTIONS.items():
        parts.append(f"## {title if model is Project else f'`{title}`'}\n")
        if text:
            parts.append(f"{text}\n")
        parts.append("| key | what it says | if not given |\n|---|---|---|")
        # The name of a thing is the key that it stands under.
        named = model in (ModelEntry, EndpointSpec)
        parts += [
            f"| `{name}` | {field.description} | {_default(field)} |"
            for name, field in model.model_fields.items()
            if not (named and name == "name")
        ]
        parts.append("")
    return "\n".join(parts)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ({}, []) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta) and not value % timedelta(days=1):
        value = f"{value.days}d"
    for how in field.metadata:
        if isinstance(how, PlainSerializer) and not isinstance(value, str):
            value = how.func(value)  # type: ignore[call-arg]
    if isinstance(value, ByteSize):
        value = value.human_readable()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


PAGES = {"cli.md": command_line, "settings.md": settings, "project.md": project_file}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write())
