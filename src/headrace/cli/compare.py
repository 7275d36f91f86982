"""``headrace compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from headrace.cli.options import debug_option, json_option
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.gate.spec import GateSpec
    from headrace.promotion.comparison import Comparison
    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace

_FEATURES: Final = 8
_ERRORS: Final = 10
_CHANGES: Final = 20


class OtherModelError(HeadraceError):
    """Two versions of different models."""

    code = "compare_models"

    def __init__(self, one: str, other: str) -> None:
        self.one, self.other = one, other
        super().__init__(
            f"{one} and {other} are versions of different models.",
            why="they are compared on the frozen rows of one of them",
            next="headrace compare MODEL compares its newest version with the one in production",
        )


class SameVersionError(HeadraceError):
    """A version against itself."""

    code = "compare_same"

    def __init__(self, version: str) -> None:
        self.version = version
        super().__init__(
            f"Both are {version}.",
            why="the newest version is the one in production, or the two names mean the same",
            next=f"headrace compare {version} VERSION",
        )


@click.command()
@click.argument("candidate")
@click.argument("champion", default="@production")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one page that opens in any browser.",
)
@json_option
@debug_option
def command(candidate: str, champion: str, html: Path | None, as_json: bool) -> None:
    """Compare two versions of a model on the same frozen rows.

    \b
    headrace compare MODEL                the newest version with the one in production
    headrace compare MODEL/3 2            two versions
    headrace compare MODEL@next MODEL@production
    """
    from headrace.cli.output import echo_json, working, write_whole
    from headrace.promotion.comparison import compare, page
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    ours, theirs = _versions(workspace, candidate, champion)
    with working("scoring both on the frozen rows"):
        found = compare(workspace, ours, theirs, _gate(workspace, ours.name))
    if html is not None:
        write_whole(html, page(found).encode())
    if as_json:
        echo_json(found.as_json())
        return
    show(found)
    if html is not None:
        click.echo(f"Written to {html}.")


def _versions(
    workspace: Workspace, candidate: str, champion: str
) -> tuple[ModelVersion, ModelVersion]:
    """What the two words mean; the second may leave the model's name out."""
    from headrace.registry import resolve

    ours = resolve(workspace, candidate)
    short = champion.removeprefix("@")
    if champion.isdigit():
        champion = f"{ours.name}/{champion}"
    elif champion.startswith("@"):
        champion = f"{ours.name}@{short}"
    theirs = resolve(workspace, champion)
    if ours.name != theirs.name:
        raise OtherModelError(str(ours), str(theirs))
    if ours.version == theirs.version:
        raise SameVersionError(str(ours))
    return ours, theirs


def _gate(workspace: Workspace, model: str) -> GateSpec | None:
    """The gate of a model that the project has."""
    from headrace.project.config import load_project

    entry = load_project(workspace.paths).models.get(model)
    return None if entry is None else entry.gate


def show(found: Comparison) -> None:
    """Print a comparison as tables."""
    from headrace.cli.output import console, table
    from headrace.promotion.comparison.page import WORDS, headline, slice_state, state

    out = console()
    out.print(f"[bold]{found.candidate} against {found.champion}[/]  {headline(found)}")
    out.print(f"{found.rows:,} frozen rows, hold-out {found.holdout}\n", style="dim")
    table(
        "Metrics",
        ["metric", "candidate", "champion", "gain", "interval", ""],
        [
            (
                each.name,
                f"{each.candidate:.4g}",
                f"{each.champion:.4g}",
                f"{each.gain:+.3g}",
                f"{each.low:+.3g} to {each.high:+.3g}",
                WORDS[state(each)],
            )
            for each in found.metrics
        ],
        right="candidate,champion,gain",
    )
    if found.slices:
        table(
            f"Slices, by {found.metrics[0].name}",
            ["slice", "rows", "candidate", "champion", "gain", ""],
            [
                (
                    f"{each.column} = {each.slice}",
                    f"{each.rows:,}",
                    "" if each.candidate is None else f"{each.candidate:.4g}",
                    "" if each.champion is None else f"{each.champion:.4g}",
                    "" if each.test is None else f"{each.test.gain:+.3g}",
                    slice_state(each),
                )
                for each in found.slices
            ],
            right="rows,candidate,champion,gain",
        )
    _show_errors(found)
    _show_importance(found)
    _show_changes(found)


def _show_errors(found: Comparison) -> None:
    from headrace.cli.output import counted, table

    errors = found.error_slices
    tried = f"{counted(errors.tried, 'part')} of single columns tried, p corrected for all"
    if not errors.found:
        click.echo(f"The candidate errs more nowhere with certainty ({tried}).\n")
        return
    table(
        f"Where the candidate errs more, by {errors.loss} ({tried})",
        ["rows where", "rows", "candidate", "champion", "p"],
        [
            (
                f"{each.column} {each.rule}",
                f"{each.rows:,}",
                f"{each.candidate:.4g}",
                f"{each.champion:.4g}",
                f"{each.p_value:.2g}",
            )
            for each in errors.found[:_ERRORS]
        ],
        right="rows,candidate,champion,p",
    )


def _show_importance(found: Comparison) -> None:
    from headrace.cli.output import table

    if found.importance:
        table(
            "Importance, the largest shifts",
            ["feature", "candidate", "champion", "shift"],
            [
                (each.feature, _share(each.candidate), _share(each.champion), f"{each.shift:+.1%}")
                for each in found.importance[:_FEATURES]
            ],
            right="candidate,champion,shift",
        )
    for note in found.notes:
        click.echo(f"{note}\n")


def _share(value: float | None) -> str:
    return "no input" if value is None else f"{value:.1%}"


def _show_changes(found: Comparison) -> None:
    from headrace.cli.output import table

    changes = found.changes.changes
    table(
        "What differs in the making",
        ["of", "what", "candidate", "champion"],
        [
            (each.kind, each.what, each.candidate or "none", each.champion or "none")
            for each in changes[:_CHANGES]
        ],
    )
    if len(changes) > _CHANGES:
        click.echo(f"{len(changes) - _CHANGES} more: --html or --json shows them.\n")
    for line in found.changes.unknown:
        click.echo(line)
