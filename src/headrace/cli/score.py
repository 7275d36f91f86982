"""``headrace score``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from headrace.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from headrace.scoring.spec import PredictionSpec


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--full", is_flag=True, help="Score every row, not only new and changed ones.")
@json_option
@debug_option
def command(tables: tuple[str, ...], full: bool, as_json: bool) -> None:
    """Score the project's predictions, or only the named TABLES.

    Rows whose input and model did not change keep their prediction.
    """
    from headrace.cli.output import echo_json, table, working
    from headrace.project.config import load_project
    from headrace.project.lock import run_lock
    from headrace.scoring import score
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    specs = _chosen(load_project(workspace.paths).prediction_specs(), tables)
    done = []
    with run_lock(workspace.paths):
        for spec in specs:
            with working(f"scoring {spec.input} into {spec.table}"):
                done.append((spec, score(workspace, spec, full=full)))
    if as_json:
        echo_json({"predictions": [{"table": s.table, **asdict(scoring)} for s, scoring in done]})
        return
    table(
        "Predictions",
        ["table", "version", "scored", "unchanged", "removed", "model", "scored by", "input"],
        [
            (
                spec.table,
                scoring.version,
                f"{scoring.scored:,}",
                f"{scoring.unchanged:,}",
                f"{scoring.removed:,}",
                scoring.model,
                _short(scoring.scorer),
                f"{spec.input} version {scoring.input_version}",
            )
            for spec, scoring in done
        ],
        right="version,scored,unchanged,removed",
    )


def _short(scorer: str | None) -> str:
    kind, _, digest = (scorer or "").partition(" ")
    return f"{kind} {digest[:12]}".strip()


def _chosen(specs: list[PredictionSpec], names: tuple[str, ...]) -> list[PredictionSpec]:
    from headrace.project.plan import UnknownStepError, qualified

    if not names:
        return specs
    known = {qualified(spec.table): spec for spec in specs}
    for name in names:
        if qualified(name) not in known:
            raise UnknownStepError(name, list(known))
    return [known[qualified(name)] for name in names]
