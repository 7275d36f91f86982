"""From a table at a version back to raw files, through the recorded operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import clock
from headrace.errors import HeadraceError
from headrace.trace import raw
from headrace.trace.graph import Branch, Builder, Node
from headrace.trace.render import plural

if TYPE_CHECKING:
    from headrace.catalog import Access, Operation, RawFile
    from headrace.workspace import Workspace

#: Operations that are listed on a node; a streaming table can have thousands.
_SHOWN_OPERATIONS = 5


class Upstream:
    """Adds tables and what they came from to a trace, each once.

    Args:
        workspace: the project.
        graph: the trace in the making.
        branch: the question that these tables answer.
        entity: what the raw files are narrowed to; ``None`` for all.
        why_not: why there is no entity.
        on_model: called with the table's node id and the address of a model that wrote rows.
    """

    def __init__(
        self,
        workspace: Workspace,
        graph: Builder,
        branch: Branch,
        *,
        entity: raw.Entity | None = None,
        why_not: str = "",
        on_model: Callable[[str, str], object] | None = None,
    ) -> None:
        self._workspace, self._graph, self._branch = workspace, graph, branch
        self._entity, self._why_not, self._on_model = entity, why_not, on_model

    def table(self, name: str, version: int | None) -> str:
        """Add a table at a version and everything before it; the id of its node."""
        node_id = f"{self._branch}:table:{name}@{version}"
        operations = [] if version is None else self._workspace.lineage.producers(name, version)
        node = Node(
            id=node_id,
            kind="table",
            branch=self._branch,
            title=f"{name}@{version}" if version is not None else name,
            facts=self._table_facts(name, version, operations),
        )
        # The node is there before its causes are followed, so that a loop in the records ends.
        if self._graph.add(node):
            self._causes(node_id, (name, version), operations)
        return node_id

    def _causes(
        self, node_id: str, itself: tuple[str, int | None], operations: list[Operation]
    ) -> None:
        tables: dict[tuple[str, int | None], None] = {}
        files: dict[tuple[str, str], RawFile] = {}
        for operation in operations:
            for access in operation.reads:
                if access.kind == "table" and access.name != itself[0]:
                    tables[access.name, access.version] = None
                elif access.kind == "model" and self._on_model is not None:
                    self._on_model(node_id, access.name)
            files.update({(file.path, file.sha256): file for file in operation.files})
        for name, version in self._uncovered(tables):
            self._graph.link(node_id, self.table(name, version), "derived from")
        for directory, group in _by_directory(files.values()):
            self._files(node_id, directory, group)
        for path in _unlisted_paths(operations, files.values()):
            self._path(node_id, path)

    def _uncovered(self, tables: Iterable[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
        """The versions to follow.

        A table written many times has read its source at many versions. A later version of the
        source holds all that an earlier one held, back to the write that replaced its rows, so
        one node stands for all of these.
        """
        versions: dict[str, set[int]] = {}
        found: list[tuple[str, int | None]] = []
        for name, version in tables:
            if version is None:
                found.append((name, None))
            else:
                versions.setdefault(name, set()).add(version)
        for name, left in versions.items():
            while left:
                newest = max(left)
                found.append((name, newest))
                written = [
                    access.version
                    for operation in self._workspace.lineage.producers(name, newest)
                    for access in operation.writes
                    if access.name == name and access.version is not None
                ]
                left = {version for version in left if version < min(written, default=newest)}
        return found

    def _files(self, node_id: str, directory: str, files: list[RawFile]) -> None:
        narrowed = raw.narrow(files, self._entity, self._why_not)
        facts = raw.facts(self._workspace.paths, self._workspace.lineage, narrowed)
        shown = raw.shown(self._workspace.paths, directory)
        total = len(files)
        count = (
            f"{facts['count']:,} of {total:,} files" if facts["left_out"] else plural(total, "file")
        )
        group = Node(
            id=f"{node_id}/files:{shown}",
            kind="files",
            branch=self._branch,
            title=f"{shown}: {count}",
            facts={"directory": shown} | facts,
        )
        self._graph.add(group)
        self._graph.link(node_id, group.id, "read")

    def _path(self, node_id: str, path: str) -> None:
        """A path whose files were not recorded one by one."""
        shown = raw.shown(self._workspace.paths, path)
        how = "not narrowed: the files read there were not recorded"
        facts = {"directory": shown, "count": 0, "bytes": 0, "left_out": 0, "narrowed": False}
        node = Node(
            id=f"{node_id}/files:{shown}",
            kind="files",
            branch=self._branch,
            title=shown,
            facts=facts | {"how": how, "status": {}, "files": []},
        )
        self._graph.add(node)
        self._graph.link(node_id, node.id, "read")

    def _table_facts(
        self, name: str, version: int | None, operations: list[Operation]
    ) -> dict[str, Any]:
        facts: dict[str, Any] = {"table": name, "version": version}
        entry = self._workspace.catalog.find(name)
        if entry is not None and entry.location is not None:
            facts["location"] = raw.shown(self._workspace.paths, entry.location)
            facts["rows"] = _rows(entry.location, version)
        facts["operations"] = len(operations)
        facts["written_by"] = [
            {
                "operation": operation.id,
                "kind": operation.kind,
                "mode": operation.mode,
                "at": clock.iso(operation.finished_at),
                "source": operation.source,
            }
            for operation in operations[:_SHOWN_OPERATIONS]
        ]
        if not operations:
            facts["lineage"] = "none recorded: written without headrace"
        return facts


def _rows(location: str, version: int | None) -> int | str:
    from headrace import lakehouse

    try:
        return lakehouse.row_count(location, version)
    except HeadraceError as error:
        return f"not readable any more: {error.what}"


def _by_directory(files: Iterable[RawFile]) -> list[tuple[str, list[RawFile]]]:
    groups: dict[str, list[RawFile]] = {}
    for file in sorted(files, key=lambda each: each.path):
        groups.setdefault(str(Path(file.path).parent), []).append(file)
    return list(groups.items())


def _unlisted_paths(operations: list[Operation], files: Iterable[RawFile]) -> list[str]:
    """Paths that were read and of which no file is recorded."""
    known = {file.path for file in files}
    reads = (access for operation in operations for access in operation.reads)
    paths = dict.fromkeys(access.name for access in reads if _is_path(access))
    return [p for p in paths if not any(k == p or k.startswith(p.rstrip("/") + "/") for k in known)]


def _is_path(access: Access) -> bool:
    return access.kind == "path" and not any(mark in access.name for mark in "*?[{")
