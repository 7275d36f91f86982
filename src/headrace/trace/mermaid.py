"""A trace as a Mermaid flow chart, for a pull request or an incident report."""

from __future__ import annotations

from typing import Final

from headrace.trace.graph import BRANCHES, Node, Trace

_SHAPES: Final = {
    "prediction": ("([", "])"),
    "row": ("([", "])"),
    "request": ("([", "])"),
    "table": ("[(", ")]"),
    "files": ("[/", "/]"),
}


def mermaid(trace: Trace) -> str:
    """The text of a chart from causes to effects; the two data branches are boxes of their own."""
    names = {node.id: f"n{index}" for index, node in enumerate(trace.nodes)}
    lines = ["flowchart RL"]
    for branch, title in BRANCHES.items():
        inside = [node for node in trace.nodes if node.branch == branch]
        if not inside:
            continue
        boxed = branch in ("training", "scoring")
        if boxed:
            lines.append(f'  subgraph {branch}["{escaped(_first_upper(title))}"]')
        lines += [f"  {'  ' if boxed else ''}{_node(names[node.id], node)}" for node in inside]
        if boxed:
            lines.append("  end")
    lines += [
        f'  {names[edge.source]} -->|"{escaped(edge.relation)}"| {names[edge.target]}'
        for edge in trace.edges
    ]
    return "\n".join(lines) + "\n"


def _node(name: str, node: Node) -> str:
    opening, closing = _SHAPES.get(node.kind, ("[", "]"))
    return f'{name}{opening}"{escaped(f"{node.kind}: {node.title}")}"{closing}'


def escaped(text: str) -> str:
    """Text between quotes: Mermaid takes entity codes for the characters that it would read."""
    for character in '#"<>`':
        text = text.replace(character, f"#{ord(character)};" if character != "#" else "#35;")
    return text.replace("\n", " ")


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
