"""A trace for people: a tree on a terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from headrace.trace.graph import BRANCHES, Node, Trace

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

Facts = Mapping[str, Any]

_SHOWN_FILES = 10

#: Metrics that a run is known by, best known first.
_HEADLINES = (
    "holdout_average_precision",
    "holdout_roc_auc",
    "holdout_rmse",
    "holdout_mae",
)


def print_trace(trace: Trace, console: Console | None = None) -> None:
    """Print the trace as a tree; without colours and at full width where output is a pipe."""
    from rich.console import Console

    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=10_000, no_color=True, highlight=False)
    console.print(tree(trace), soft_wrap=not console.is_terminal)


def tree(trace: Trace) -> Tree:
    """The trace as a ``rich`` tree. What is reached twice is shown once, and named again."""
    from rich.tree import Tree

    root = trace.node(trace.root)
    top = Tree(_line(root))
    seen = {root.id}
    _grow(trace, top, root, seen, branch="subject")
    return top


def _grow(trace: Trace, parent: Tree, node: Node, seen: set[str], branch: str) -> None:
    from rich.text import Text

    for relation, cause in trace.causes(node.id):
        line = Text(f"{relation} ", style="dim")
        line.append_text(_line(cause))
        if cause.branch != branch and cause.branch in ("training", "scoring"):
            line.append(f"  ({BRANCHES[cause.branch]})", style="italic")
        if cause.id in seen:
            line.append("  (see above)", style="dim")
            parent.add(line)
            continue
        seen.add(cause.id)
        grown = parent.add(line)
        if cause.kind == "files":
            _add_files(grown, cause)
        _grow(trace, grown, cause, seen, cause.branch)


def _line(node: Node) -> Text:
    from rich.text import Text

    line = Text(node.title, style="bold")
    shown = [text for text in _FACTS[node.kind](node.facts) if text]
    if shown:
        line.append("  " + "  ".join(shown), style="not bold")
    return line


def _prediction(facts: Facts) -> list[str]:
    values = facts.get("values") or {"score": facts.get("score")}
    when = facts.get("scored_at") or facts.get("requested_at") or ""
    return [*(f"{name} {_number(value)}" for name, value in values.items()), str(when)]


def _run(facts: Facts) -> list[str]:
    metrics = facts.get("metrics") or {}
    shown = [name for name in _HEADLINES if name in metrics] or list(metrics)
    told = [f"{name} {_number(metrics[name])}" for name in shown[:2]]
    return [str(facts.get("missing") or facts.get("started_at") or ""), *told]


def _code(facts: Facts) -> list[str]:
    commit, bundle = facts.get("commit"), facts.get("bundle")
    changed = " with uncommitted changes" if facts.get("dirty") else ""
    return [
        f"commit {commit[:12]}{changed}" if commit else "",
        f"bundle sha256 {bundle[:12]}" if bundle else "",
    ]


def _table(facts: Facts) -> list[str]:
    rows = facts.get("rows")
    counted = plural(rows, "row") if isinstance(rows, int) else str(rows or "")
    return [counted, str(facts.get("lineage") or "")]


#: What a line says beside its title, by kind of node.
_FACTS: Final[dict[str, Callable[[Facts], list[str]]]] = {
    "prediction": _prediction,
    "row": lambda _: [],
    "request": lambda facts: [str(facts.get("match") or "")],
    "deployment": lambda _: [],
    "model": lambda facts: [str(facts.get("missing") or facts.get("model_id") or "")],
    "run": _run,
    "code": _code,
    "environment": lambda _: [],
    "table": _table,
    "files": lambda _: [],
}


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "row"), plural(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _add_files(parent: Tree, node: Node) -> None:
    from rich.text import Text

    facts = node.facts
    state = ", ".join(f"{count:,} {name}" for name, count in facts["status"].items())
    summary = f"{size_text(facts['bytes'])}, {state}" if state else ""
    parent.add(Text("; ".join(filter(None, (summary, facts["how"]))), style="dim"))
    files = facts["files"] if facts["narrowed"] else []
    files = files or facts["files"][: 1 if facts["count"] == 1 else 0]
    for file in files[:_SHOWN_FILES]:
        rows = f"  {plural(file['rows'], 'row')}" if "rows" in file else ""
        line = Text(file["path"].rpartition("/")[2], style="bold")
        line.append(f"  {size_text(file['size'])}{rows}", style="not bold")
        line.append(f"  sha256 {file['sha256']}", style="dim")
        line.append(
            f"  {file['status']}", style="green" if file["status"] == "unchanged" else "red"
        )
        parent.add(line)
    if len(files) > _SHOWN_FILES:
        parent.add(Text(f"and {len(files) - _SHOWN_FILES:,} more; --json lists all", style="dim"))


def size_text(size: int) -> str:
    """A number of bytes in the unit that reads best.

    >>> size_text(1536)
    '1.5 KiB'
    """
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
