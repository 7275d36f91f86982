"""Tables and progress: rich on a terminal, plain lines in a pipe, JSON on request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

    from headrace.project import Plan

_STYLE = {
    "done": "green",
    "fresh": "dim",
    "failed": "bold red",
    "blocked": "yellow",
    "stale": "yellow",
    "refused": "bold red",
    "ok": "green",
    "same": "green",
    "close": "green",
    "different": "bold red",
    "missing": "bold red",
    "note": "yellow",
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
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: str = "",
    whole: str = "",
) -> None:
    """Print a titled table.

    Args:
        right: comma separated names of the columns to align right.
        whole: those whose cells stay on one line where others can be folded instead.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    drawn = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    numeric = right.split(",")
    cells = [[Text(str(cell), style=_STYLE.get(str(cell), "")) for cell in row] for row in rows]
    if not cells:
        out.print(Text(f"{title}: none", style="bold"), end="\n\n")
        return
    for column in columns:
        drawn.add_column(
            column,
            justify="right" if column in numeric else "left",
            overflow="fold",
            no_wrap=column in whole.split(","),
        )
    for row in cells:
        drawn.add_row(*row)
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


def counted(number: int, thing: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def size(count: int) -> str:
    """``512 B``, ``1.4 MiB``."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            break
    return f"{value:,.1f} {unit}"


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


def quiet_observer(_plan: Plan) -> SilentObserver:
    """An observer that prints nothing, made as ``StepPrinter`` is."""
    return SilentObserver()


class StepPrinter:
    """An ``Observer`` that shows the step at work and prints a line for each that ended."""

    def __init__(self, plan: Plan) -> None:
        self._total, self._ended = len(plan.steps), 0
        self._kind = max((len(step.kind) for step in plan.steps), default=0)
        self._name = max((len(step.name) for step in plan.steps), default=0)
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
        count = f"{self._ended:>{len(str(self._total))}}/{self._total}"
        seconds = f"{outcome.seconds:.1f} s" if outcome.seconds >= 0.05 else ""
        if self._out.is_terminal:
            self._out.print(self._row(outcome, count, seconds))
        else:
            step = outcome.step
            self._out.print(
                f"{count} {outcome.state:<7} {step.kind:<{self._kind}} {step.name:<{self._name}} "
                f"{seconds:>6} {outcome.message}",
                markup=False,
                soft_wrap=True,
            )
        if outcome.error is not None:
            self._error(outcome.error)

    def _row(self, outcome: Any, count: str, seconds: str) -> Table:
        """A grid of one row: a message that is too long goes on below itself."""
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 1, 0, 0))
        for width in (len(str(self._total)) * 2 + 1, 7, self._kind, self._name):
            line.add_column(min_width=width, no_wrap=True)
        line.add_column(min_width=6, no_wrap=True, justify="right")
        line.add_row(
            Text(count, style="dim"),
            Text(outcome.state, style=_STYLE[outcome.state]),
            outcome.step.kind,
            Text(outcome.step.name),
            Text(seconds, style="dim"),
            Text(outcome.message),
        )
        return line

    def _error(self, error: Any) -> None:
        for line in str(error).splitlines()[1:]:
            self._out.print("      " + line, style="red", markup=False, soft_wrap=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all; its directory is made."""
    from headrace.ids import new_id

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{new_id('partial')}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
