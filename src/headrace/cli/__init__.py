"""The command line. Commands load when they are used, so that ``--help`` is fast."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from typing import Final

import click

#: Command -> one line of help. Each lives in the module of its name.
COMMANDS: Final = {
    "init": "Write a new project from a template.",
    "lock": "Lock the libraries of the project, each at one version.",
    "plan": "Show what would change, and why.",
    "run": "Make it so: refresh, train, gate, deploy, score what is stale.",
    "status": "Show tables, models, endpoints and predictions as they are.",
    "compare": "Compare two versions of a model on the same frozen rows.",
    "approve": "Approve a version that the gate let through.",
    "up": "Serve the project's endpoints until Ctrl-C.",
    "endpoints": "Show endpoints and rollouts; pause, resume, shift, roll back.",
    "score": "Score tables with the model in production.",
    "parity": "Whether training, batch and live give the same answers to the same rows.",
    "trace": "Trace a prediction back to its raw file.",
    "lineage": "Show what an object came from and what came from it; draw it.",
    "recall": "From a bad file or table version forward to all that it reached; quarantine.",
    "verify": "Check the evidence of a model version, also offline.",
    "audit": "Show who moved, or tried to move, what is protected.",
    "override": "Move a protected alias without the gate's yes, in an emergency.",
    "key": "Show, rotate and export the key that signs decisions.",
    "reproduce": "Make a version again from what it recorded, and compare.",
    "pins": "Show the table versions that models need; let them go.",
    "maintain": "Compact tables, and remove what nothing needs any more.",
    "doctor": "Check this machine and this project.",
    "demo": "The whole loop on simulated telemetry, in a minute.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"headrace.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from headrace.errors import did_you_mean

        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            hint = did_you_mean(name, COMMANDS)
            ctx.fail(f'no command "{name}"' + (f"; {hint}" if hint else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headrace")
@click.option("--debug", is_flag=True, expose_value=False, help="Show stack traces.")
def cli() -> None:
    """From raw telemetry to a live model, with proof."""


def main() -> None:
    """Entry point: words errors for people, and never shows a stack trace unasked."""
    # The end of the process would look for garbage among all that the libraries made: a third
    # of a second, in which everything goes anyway.
    atexit.register(gc.freeze)
    debug = "--debug" in sys.argv
    _quiet()
    # OpenMP's threads wait by spinning: beside another busy process, the many short predictions
    # of a permutation importance take ten times as long. It is read when scikit-learn loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        status = cli.main(
            args=[word for word in sys.argv[1:] if word != "--debug"],
            prog_name="headrace",
            obj={"debug": debug},
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        sys.exit(_report(error))
    sys.exit(status if isinstance(status, int) else 0)


def _report(error: Exception) -> int:
    from headrace.cli.errors import report

    return report(error)


def _quiet() -> None:
    """Keep libraries from writing over the tables; ``HEADRACE_LOG`` lets them speak."""
    os.environ.setdefault("RUST_LOG", "error")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
