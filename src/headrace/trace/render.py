"""A trace for people: a tree on a terminal or in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.trace.graph import BRANCHES, Node, Trace

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

_SHOWN_FILES = 10

#: Facts that a line shows beside its title, by kind of node, in this order.
_SHOWN = {
    "prediction": ("values", "score", "prediction", "scored_at", "requested_at"),
    "row": (),
    "request": ("inputs", "match"),
    "deployment": ("colour", "state"),
    "model": ("model_id", "registered_at"),
    "run": ("experiment", "started_at", "metrics"),
    "code": ("commit", "bundle", "source"),
    "environment": ("packages", "digest"),
    "table": ("rows", "lineage"),
    "files": (),
}


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


def _line(node: Node) -> Any:
    from rich.text import Text

    line = Text(node.title, style="bold")
    shown = [text for name in _SHOWN[node.kind] if (text := _fact(name, node.facts.get(name)))]
    if shown:
        line.append("  " + "  ".join(shown), style="not bold")
    return line


def _fact(name: str, value: Any) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, dict):
        return " ".join(f"{key}={_number(each)}" for key, each in value.items())
    if name == "rows" and isinstance(value, int):
        return f"{value:,} rows"
    if name == "packages":
        return f"{value:,} packages"
    if name in ("score", "prediction", "colour", "state", "commit", "bundle", "digest"):
        return f"{name} {_number(value)}"
    return str(value)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _add_files(parent: Tree, node: Node) -> None:
    from rich.text import Text

    facts = node.facts
    state = ", ".join(f"{count:,} {name}" for name, count in facts["status"].items())
    summary = f"{size_text(facts['bytes'])}, {state}" if state else ""
    parent.add(Text("; ".join(filter(None, (summary, facts["how"]))), style="dim"))
    files = facts["files"] if facts["narrowed"] else []
    files = files or facts["files"][: 1 if facts["count"] == 1 else 0]
    for file in files[:_SHOWN_FILES]:
        rows = f"  {file['rows']:,} rows" if "rows" in file else ""
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
