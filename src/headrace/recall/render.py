"""A recall for people: what matters most in a few lines, then all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace import clock

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console, RenderableType

    from headrace.recall.found import (
        ReachedDeployment,
        ReachedModel,
        ReachedPredictions,
        ReachedTable,
        Recall,
    )

_WORST: Final = "bold red"
_BAD: Final = "yellow"
_PAST: Final = "dim"
_WIDE: Final = 110  # columns of a terminal that all columns of a table fit into
_FIRST_TO_GO: Final = ("scorings", "last", "first", "until", "pins")
_SHOWN: Final = 12  # rows of a section, unless all are asked for


def print_recall(
    recall: Recall, console: Console, *, every: bool = False, brief: bool = False
) -> None:
    """Print the summary, then what was reached, layer by layer, the worst first.

    Args:
        recall: what to print.
        console: where to.
        every: each row of each layer, and how the data came there.
        brief: the summary alone.
    """
    from rich.text import Text

    console.print(Text.assemble("Data from ", (recall.origin.label, "bold"), _columns(recall)))
    for line, style in summary(recall):
        console.print(Text("  " + line, style=style))
    console.print()
    if brief:
        return
    narrow = console.width < _WIDE
    for title, columns, rows in _layers(recall):
        shown = rows if every else rows[:_SHOWN]
        if rows:
            console.print(_table(title, columns, shown, _FIRST_TO_GO if narrow else ()))
        if len(shown) < len(rows):
            left = len(rows) - len(shown)
            console.print(Text(f"and {left:,} more: --all shows them\n", style=_PAST))
    if every:
        _ways(recall, console)


def summary(recall: Recall) -> Iterator[tuple[str, str]]:
    """Lines that say at a glance what was reached, each with its style; the worst first."""
    if recall.is_empty:
        yield "reached nothing: no recorded operation passed it on.", "green"
    serving = recall.serving
    for endpoint in dict.fromkeys(each.endpoint for each in serving):
        mine = [each for each in serving if each.endpoint == endpoint]
        models = ", ".join(dict.fromkeys(each.model for each in mine))
        share = sum(each.share for each in mine)
        yield f"endpoint {endpoint} answers with {models} now ({share} % of its traffic)", _WORST
    rows = recall.answers
    if rows:
        times = _between(
            [each.first for each in recall.deployments], [each.last for each in recall.deployments]
        )
        yield f"{_count(rows, 'prediction')} answered online{times}", _WORST
    for each in recall.predictions:
        style = _WORST if each.holds_now else _PAST
        state = "" if each.holds_now else ", none of them there now"
        yield (
            f"{_count(each.rows, 'prediction')} written to {short(each.table)} "
            f"by {_count(each.scorings, 'scoring')}{state}",
            style,
        )
    trained = [each for each in recall.models if each.relation == "trained on"]
    held = [each for each in trained if each.aliases]
    if trained:
        names = ", ".join(f"{each.label} @{', @'.join(each.aliases)}" for each in held)
        text = f"{_count(len(trained), 'model version')} trained on it"
        yield text + (f": {names}" if names else ""), _WORST if held else _BAD
    judged = len(recall.models) - len(trained)
    if judged:
        yield f"{_count(judged, 'model version')} judged on a hold-out that holds it", _BAD
    if recall.tables:
        now = sum(each.holds_now is not None for each in recall.tables)
        yield (
            f"{_count(len(recall.tables), 'table')}, {now} of which hold it now",
            _BAD if now else _PAST,
        )
    if recall.collected:
        reads = sum(each.reads for each in recall.collected)
        yield f"{_count(reads, 'read')} by programs, whose results nobody records", _BAD
    yield from _notes(recall)


def short(name: str) -> str:
    """A table without the catalog that every table is in unless it says otherwise."""
    return name.removeprefix("main.")


def _notes(recall: Recall) -> Iterator[tuple[str, str]]:
    possible = recall.as_json()["summary"]["possible"]
    if possible:
        yield (
            f"{possible} of these are possible, not certain: code that cannot be looked into",
            _PAST,
        )
    for copy in recall.origin.copies:
        read = _count(copy.operations, "operation")
        yield f"the same bytes were read as {copy.path} by {read}: --copies follows them", _BAD
    if recall.origin.quarantined:
        yield f"in quarantine since {recall.origin.quarantined}", _PAST
    elif len(recall.origin.files) == 1 and recall.origin.files[0].state != "unchanged":
        gone = recall.origin.files[0].state == "gone"
        yield f"the file {'is gone' if gone else 'has other bytes'} now", _PAST
    if recall.origin.others:
        listed = ", ".join(each[:12] for each in recall.origin.others)
        yield f"the path was also read with other bytes: --sha256 {listed}", _PAST


def _columns(recall: Recall) -> str:
    names = recall.origin.columns
    return f", column{'s' if len(names) > 1 else ''} {', '.join(names)}," if names else ""


def _layers(recall: Recall) -> list[tuple[str, tuple[str, ...], list[Sequence[Any]]]]:
    return [
        (
            "Endpoints",
            ("endpoint", "model", "traffic", "since", "until", "answered", "first", "last", "how"),
            [_deployment(each) for each in recall.deployments],
        ),
        (
            "Predictions",
            ("table", "rows", "scorings", "models", "because of its", "last", "now", "how"),
            [_predictions(each) for each in recall.predictions],
        ),
        (
            "Models",
            ("model", "aliases", "relation", "pins", "recalled by", "how"),
            [_model(each) for each in recall.models],
        ),
        (
            "Tables",
            ("table", "versions", "now", "since", "how"),
            [_reached(each) for each in recall.tables],
        ),
    ]


def _deployment(each: ReachedDeployment) -> Sequence[Any]:
    waiting = f" ({each.waiting:,} in the spool)" if each.waiting else ""
    return (
        each.endpoint,
        each.model,
        (f"{each.share} %", _WORST if each.share else _PAST),
        _when(each.since) if each.since else "never",
        _when(each.until),
        f"{each.rows:,}{waiting}",
        _when(each.first),
        _when(each.last),
        _sure(each.certainty),
    )


def _predictions(each: ReachedPredictions) -> Sequence[Any]:
    return (
        short(each.table),
        f"{each.rows:,}",
        f"{each.scorings:,}",
        ", ".join(each.models),
        " and ".join(each.because),
        _when(each.last),
        _now(each.holds_now),
        _sure(each.certainty),
    )


def _model(each: ReachedModel) -> Sequence[Any]:
    return (
        each.label,
        (", ".join(f"@{alias}" for alias in each.aliases), _WORST),
        each.relation,
        ", ".join(short(pin) for pin in each.pinned),
        (each.recalled or "")[:19],
        _sure(each.certainty),
    )


def _reached(each: ReachedTable) -> Sequence[Any]:
    versions = ", ".join(
        f"{part}{'' if part.columns is None else ' ' + ', '.join(part.columns)}"
        for part in each.versions[:6]
    )
    if len(each.versions) > 6:
        versions += f", {len(each.versions) - 6} more"
    state = _now(each.holds_now) if each.state != "dropped" else ("dropped", _PAST)
    return (short(each.name), versions or "files", state, _when(each.since), _sure(each.certainty))


def _now(holds: str | None) -> tuple[str, str]:
    return ("clean", _PAST) if holds is None else ("holds it", _BAD)


def _sure(certainty: str) -> tuple[str, str]:
    return certainty, "" if certainty == "certain" else "magenta"


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], without: Collection[str]
) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    cells = [
        [Text(*cell) if isinstance(cell, tuple) else Text(str(cell)) for cell in row]
        for row in rows
    ]
    # A column that says nothing in any row is left out.
    kept = [
        index
        for index, name in enumerate(columns)
        if name not in without and any(row[index].plain for row in cells)
    ]
    for index in kept:
        right = columns[index] in ("rows", "scorings", "answered", "traffic")
        drawn.add_column(
            columns[index],
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=index == 0,
        )
    for row in cells:
        drawn.add_row(*(row[index] for index in kept))
    return drawn


def _ways(recall: Recall, console: Console) -> None:
    """How the data came to each thing, by the fewest operations: a tree from the origin."""
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(recall.origin.label, style="bold"), guide_style=_PAST)
    branches: dict[tuple[str, ...], Tree] = {(): tree}
    ways = [*(each.how for each in recall.tables), *(each.how for each in recall.models)]
    for how in sorted(ways, key=len):
        path: tuple[str, ...] = ()
        for step in how:
            above, path = path, (*path, f"{step.operation} {step.to}")
            if path not in branches:
                told = "  ".join(filter(None, (step.what, _when(step.at), step.source)))
                words = Text.assemble(short(step.to), ("  " + told, _PAST))
                branches[path] = branches[above].add(words)
    console.print(Text("How it came there", style="bold"))
    console.print(tree, soft_wrap=True)
    console.print()


def _between(firsts: Sequence[datetime | None], lasts: Sequence[datetime | None]) -> str:
    first = min((each for each in firsts if each), default=None)
    last = max((each for each in lasts if each), default=None)
    return f", from {_when(first)} to {_when(last)}" if first and last else ""


def _when(moment: datetime | None) -> str:
    return "" if moment is None else clock.iso(moment)[:16].replace("T", " ")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
