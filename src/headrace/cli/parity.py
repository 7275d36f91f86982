"""``headrace parity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from headrace.cli.options import debug_option, json_option
from headrace.errors import HeadraceError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from headrace.parity.environment import EnvironmentReport
    from headrace.parity.features import FeatureParity
    from headrace.parity.version import VersionParity
    from headrace.workspace import Workspace


_STATE: Final = {True: "ok", False: "failed", None: "warning"}


class ParityTargetError(HeadraceError):
    """Neither an endpoint nor a model has that name."""

    code = "parity_target"

    def __init__(self, name: str, endpoints: Sequence[str], models: Sequence[str]) -> None:
        self.name, self.endpoints, self.models = name, list(endpoints), list(models)
        known = ", ".join([*endpoints, *(f"{model}/1" for model in models)][:10])
        super().__init__(
            f'"{name}" is neither an endpoint nor a version of a model.',
            why=did_you_mean(name, [*endpoints, *models]) or f"there are {known or 'none yet'}",
            next="headrace status",
        )


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    from headrace.durations import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("target", metavar="MODEL/VERSION | ENDPOINT")
@click.option("--again", is_flag=True, help="Send the rows through batch scoring again.")
@click.option(
    "--since", callback=_duration, metavar="SPAN", help="Requests of this last while, such as 1d."
)
@click.option(
    "--sample", type=click.IntRange(1, 100_000), default=500, show_default=True,
    help="At most so many requests.",
)  # fmt: skip
@click.option("--table", "features", metavar="NAME", help="Compare with this table alone.")
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    target: str,
    again: bool,
    since: timedelta | None,
    sample: int,
    features: str | None,
    as_json: bool,
) -> None:
    """Whether the same rows give the same answers, and requests hold what the table says.

    \b
    MODEL/VERSION, MODEL@ALIAS or MODEL: recorded rows in batch, live, and the environments.
    ENDPOINT: its logged requests against the feature rows of the same key and time.

    Exits 1 if something does not agree.
    """
    from headrace.cli.output import echo_json, working
    from headrace.endpoints import endpoint_names
    from headrace.workspace import open_workspace

    workspace = open_workspace()
    found: FeatureParity | VersionParity
    with working("comparing"):
        if target in endpoint_names(workspace):
            from headrace.parity.features import compare_features

            found = compare_features(workspace, target, since=since, sample=sample, table=features)
        else:
            found = _version(workspace, target, again)
    if as_json:
        echo_json(found.as_json())
    else:
        _show(found)
    ctx.exit(0 if found.agreed is not False else 1)


def _version(workspace: Workspace, target: str, again: bool) -> VersionParity:
    from headrace.endpoints import endpoint_names
    from headrace.parity.version import version_parity
    from headrace.promotion.parity_check import check
    from headrace.registry import resolve
    from headrace.registry.errors import ModelNotFoundError

    try:
        version = resolve(workspace, target)
    except ModelNotFoundError as error:
        raise ParityTargetError(target, endpoint_names(workspace), error.known) from error
    if again:
        check(workspace, version)
    return version_parity(workspace, version)


def _show(found: Any) -> None:
    from headrace.parity.features import FeatureParity

    if isinstance(found, FeatureParity):
        _show_features(found)
    else:
        _show_version(found)


def _show_version(found: VersionParity) -> None:
    from headrace.cli.output import table

    click.echo(f"{found.model}: {found.recorded}")
    table(
        "The recorded rows",
        ["way", "at", "by", "rows", "differ", "largest", "", "why"],
        [
            (
                kept.report.route if kept.subject.endpoint is None
                else f"{kept.report.route}, {kept.subject.endpoint}",
                kept.at.strftime("%Y-%m-%d %H:%M:%S UTC"),
                _short(kept.report.by),
                kept.report.rows,
                kept.report.disagreements,
                "" if kept.report.difference is None else f"{kept.report.difference:.1e}",
                _STATE[kept.report.agreed],
                kept.report.reason or "",
            )
            for kept in found.reports
        ],
        right="rows,differ,largest",
    )  # fmt: skip
    if found.environment is not None:
        _show_environment(found.environment)


def _show_environment(found: EnvironmentReport) -> None:
    from headrace.cli.output import table

    if not found.differences:
        click.echo(f"The environment that serves ({found.serves}) is the one that trained.")
        return
    table(
        f"The environment that serves ({found.serves}, Python {found.python})",
        ["", "trained", "serves", "what is known", "source"],
        [
            (
                "failed" if each.blocks else "warning",
                each.line,
                each.found or "not installed",
                each.known or "",
                each.source or "",
            )
            for each in found.differences
        ],
    )


def _short(by: str | None) -> str:
    kind, _, digest = (by or "").partition(" ")
    return f"{kind} {digest[:12]}".strip()


def _show_features(found: FeatureParity) -> None:
    from headrace.cli.output import table

    click.echo(
        f"{found.endpoint}: {found.requests:,} requests to {found.model}, "
        f"{found.matched:,} with their feature row"
    )
    for name, count in found.tables.items():
        click.echo(f"  {count:,} in {name}")
    for count, text in (
        (found.later, "whose row came there after the request"),
        (found.without_key, "that do not name a row"),
        (found.without_row, "whose row no table holds"),
        (found.ambiguous, "that name several rows"),
        (
            found.left_out,
            "not looked up: at too many versions of a table, or at ones that are gone",
        ),
    ):
        if count:
            click.echo(f"  {count:,} {text}")
    if not found.matched:
        return
    table(
        "Features",
        ["feature", "compared", "equal", "different", "largest", "not sent", "not in table"],
        [
            (
                each.name,
                f"{each.compared:,}",
                f"{each.equal:,}",
                f"{each.different:,}",
                "" if each.largest is None else f"{each.largest:.4g}",
                f"{each.missing_in_request:,}",
                f"{each.missing_in_table:,}",
            )
            for each in found.columns
        ],
        right="compared,equal,different,largest,not sent,not in table",
    )
    for each in found.columns:
        for example in each.examples:
            click.echo(f"{each.name}: {example}")
