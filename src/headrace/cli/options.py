"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from headrace.errors import HeadraceError

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")
debug_option = click.option("--debug", is_flag=True, expose_value=False, help="Show stack traces.")


class ConfValueError(HeadraceError):
    """``--conf`` without an equals sign."""

    code = "conf_value"

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f'--conf "{text}" is not KEY=VALUE.', next="headrace run --conf raw=/data/raw"
        )


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfValueError(text)
        pairs[key] = value
    return pairs


conf_option = click.option(
    "--conf",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_pairs,
    help="Pipeline configuration that overrides the files.",
)
