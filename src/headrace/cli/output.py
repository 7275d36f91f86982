"""Tables and progress: rich on a terminal, plain lines in a pipe, JSON on request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

_STYLE = {
    "done": "green",
    "fresh": "dim",
    "failed": "bold red",
    "blocked": "yellow",
    "stale": "yellow",
    "ok": "green",
    "warning": "yellow",
}


def console() -> Console:
    """Standard output; wide enough in a pipe that no cell is cut."""
    from rich.console import Console

    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=200, no_color=True)


def echo_json(value: Any) -> None:
    """Print a value as JSON, two spaces deep."""
    print(json.dumps(value, indent=2, default=str))  # noqa: T201  # the one place that prints


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: str = ""
) -> None:
    """Print a titled table.

    Args:
        right: comma separated names of the columns to align right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    drawn = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    numeric = right.split(",")
    for column in columns:
        drawn.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell), style=_STYLE.get(str(cell), "")) for cell in row))
    out.print(drawn)


@contextmanager
def working(text: str) -> Iterator[Status | None]:
    """A spinner with a text on a terminal; nothing in a pipe."""
    out = console()
    if not out.is_terminal:
        yield None
        return
    with out.status(text) as status:
        yield status


class Telling:
    """Says where a long story is: a heading, then a line for each thing that happened."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._out = console()

    def heading(self, text: str) -> None:
        """The next chapter."""
        if not self._silent:
            self._out.print(f"\n[bold cyan]{text}[/]")

    def line(self, text: str) -> None:
        """One thing that happened."""
        if not self._silent:
            self._out.print(f"  {text}", markup=False)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner while something is awaited."""
        if self._silent:
            yield
            return
        with working(text):
            yield


class SilentObserver:
    """An ``Observer`` for ``--json``."""

    def started(self, step: Any) -> None:
        """Say nothing: the output is JSON."""

    def finished(self, outcome: Any) -> None:
        """Say nothing: the output is JSON."""


def quiet_observer(_total: int) -> SilentObserver:
    """An observer that prints nothing, made as ``StepPrinter`` is."""
    return SilentObserver()


class StepPrinter:
    """An ``Observer`` that shows the step at work and prints a line for each that ended."""

    def __init__(self, total: int) -> None:
        self._total, self._ended = total, 0
        self._out = console()
        self._status: Status | None = None

    def started(self, step: Any) -> None:
        """Show the step at work."""
        if self._out.is_terminal:
            self._status = self._out.status(f"{step.action} {step.name}")
            self._status.start()

    def finished(self, outcome: Any) -> None:
        """Print what became of the step."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        self._ended += 1
        from rich.text import Text

        line = Text(f"{self._ended:>3}/{self._total} ", style="dim")
        line.append(f"{outcome.state:<8}", style=_STYLE[outcome.state])
        line.append(f"{outcome.step.kind:<12}{outcome.step.name:<42} ")
        line.append(outcome.message)
        if outcome.seconds >= 0.05:
            line.append(f"  {outcome.seconds:.1f} s", style="dim")
        self._out.print(line, soft_wrap=True)
        if outcome.error is not None:
            self._error(outcome.error)

    def _error(self, error: Any) -> None:
        for line in str(error).splitlines()[1:]:
            self._out.print("      " + line, style="red", markup=False, soft_wrap=True)
