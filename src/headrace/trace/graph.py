"""A trace: a prediction, and everything that it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Branch = Literal["subject", "model", "training", "scoring"]
Kind = Literal[
    "prediction", "row", "request", "deployment", "model", "run", "code", "environment",
    "table", "files",
]  # fmt: skip

#: What each branch is, for people. ``training`` and ``scoring`` can hold the same table twice:
#: as what the model learned from, and as what this row was scored on.
BRANCHES: Final[dict[Branch, str]] = {
    "subject": "the prediction itself",
    "model": "what answered",
    "training": "the data that the model was trained on",
    "scoring": "the data that this row was scored on",
}

#: Version of the JSON shape of ``Trace.as_json``; grows when a field changes its meaning.
JSON_VERSION: Final = 1


@dataclass(frozen=True)
class Node:
    """One thing on the way back.

    Attributes:
        id: unique in the trace, and the same each time the same thing is traced.
        kind: what it is.
        branch: which of the questions it answers, see ``BRANCHES``.
        title: one line for a person.
        facts: what is known of it; JSON values.
    """

    id: str
    kind: Kind
    branch: Branch
    title: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """``source`` came from ``target``; ``relation`` reads "source RELATION target"."""

    source: str
    target: str
    relation: str


@dataclass(frozen=True)
class Trace:
    """A directed graph without cycles, from an effect to its causes.

    Attributes:
        root: id of the node that was asked about.
        nodes: in the order in which they were found.
        edges: from each thing to what it came from.
    """

    root: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def node(self, node_id: str) -> Node:
        """The node of that id.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)

    def of_kind(self, kind: Kind, branch: Branch | None = None) -> list[Node]:
        """Nodes of a kind; of one branch if given."""
        return [n for n in self.nodes if n.kind == kind and branch in (None, n.branch)]

    def causes(self, node_id: str) -> list[tuple[str, Node]]:
        """What a node came from: relation and node, in the order found."""
        return [(e.relation, self.node(e.target)) for e in self.edges if e.source == node_id]

    @property
    def raw_files(self) -> list[dict[str, Any]]:
        """Every raw file of the branch ``scoring`` if it has any, else of ``training``.

        Each with ``path``, ``size``, ``sha256``, ``modified``, ``status`` and, where the trace
        was narrowed to one entity, ``rows``.
        """
        groups = self.of_kind("files", "scoring") or self.of_kind("files", "training")
        found = {file["path"]: file for group in groups for file in group.facts["files"]}
        return list(found.values())

    def as_json(self) -> dict[str, Any]:
        """The documented shape: ``version``, ``root``, ``nodes``, ``edges``."""
        return {
            "version": JSON_VERSION,
            "root": self.root,
            "nodes": [
                {
                    "id": node.id,
                    "kind": node.kind,
                    "branch": node.branch,
                    "title": node.title,
                    "facts": dict(node.facts),
                }
                for node in self.nodes
            ],
            "edges": [
                {"source": edge.source, "target": edge.target, "relation": edge.relation}
                for edge in self.edges
            ],
        }

    def to_json(self, indent: int | None = 2) -> str:
        """``as_json`` as text."""
        return json.dumps(self.as_json(), indent=indent, ensure_ascii=False)


class Builder:
    """A trace in the making. Adding a node or an edge again changes nothing."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._edges: dict[Edge, None] = {}

    def add(self, node: Node) -> bool:
        """Whether the node was new."""
        if node.id in self._nodes:
            return False
        self._nodes[node.id] = node
        return True

    def link(self, source: str, target: str, relation: str) -> None:
        """``source`` came from ``target``."""
        self._edges.setdefault(Edge(source, target, relation))

    def build(self, root: str) -> Trace:
        """The finished trace."""
        return Trace(root, tuple(self._nodes.values()), tuple(self._edges))
