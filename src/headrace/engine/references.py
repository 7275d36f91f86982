"""What a DataFrame reads, told from its plan alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from headrace.catalog import InvalidNameError
from headrace.engine import files, messages
from headrace.engine.resolve import is_path
from headrace.engine.rewrite import NamedRead, Rewriter

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.proto import Relation

    from headrace.engine.state import SessionState


@dataclass(frozen=True)
class Reference:
    """One table or path that a plan reads.

    Attributes:
        kind: ``table`` or ``path``.
        name: the table's name as written, in lower case and without quotes; the absolute path.
        streaming: read with ``readStream`` or ``STREAM``.
        options: read options, keys in lower case.
        format: of a path, in lower case; ``None`` if none is given.
        schema: the columns declared for a path (DDL or JSON); ``None`` if they are inferred.
        fixed: one version or moment of a table is asked for, whatever is newest.
    """

    kind: Literal["table", "path"]
    name: str
    streaming: bool = False
    options: Mapping[str, str] = field(default_factory=dict, compare=False)
    format: str | None = None
    schema: str | None = None
    fixed: bool = False


def plan_of(df: DataFrame) -> Relation:
    """The relation of a DataFrame, without asking the server anything."""
    from pyspark.sql.connect.proto import Relation

    made = Relation()
    made.CopyFrom(df._plan.to_proto(df.sparkSession.client).root)
    return made


def collect(state: SessionState, relation: Relation) -> list[Reference]:
    """The references of a relation, each once, in the order of the plan."""
    collector = Collector(state)
    copied = type(relation)()
    copied.CopyFrom(relation)
    Rewriter(collector).apply(copied)
    return list(dict.fromkeys(collector.found))


class Collector:
    """A resolver that changes nothing and notes what it is asked.

    Views of the catalog are followed to what they read. Temporary views are named: whoever reads
    a graph knows which of its nodes they are.
    """

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._views: set[str] = set()
        self.found: list[Reference] = []

    def table(self, read: NamedRead) -> Relation | None:
        """Note a table."""
        if is_path(read.parts) or self._state.is_bare_path(read.parts):
            path = files.absolute(read.parts[1], self._state.paths.root)
            self._path(path, read.parts[0].lower(), read.streaming, read.options)
        elif not self._view(read):
            name = read.name.lower()
            fixed = read.version is not None or read.timestamp is not None
            self.found.append(Reference("table", name, read.streaming, read.options, fixed=fixed))
        return None

    def source(self, relation: Relation) -> Relation | None:
        """Note a path."""
        source = relation.read.data_source
        options = {key.lower(): value for key, value in source.options.items()}
        paths = list(source.paths) or ([options["path"]] if options.get("path") else [])
        for path in paths:
            place = files.absolute(path, self._state.paths.root)
            form, schema = source.format.lower() or None, source.schema or None
            self._path(place, form, relation.read.is_streaming, options, schema)
        return None

    def model(self, uri: str) -> None:
        """Models are no references."""

    def function(self, name: str) -> None:
        """Functions are no references."""

    def _path(
        self,
        path: str,
        form: str | None,
        streaming: bool,
        options: Mapping[str, str],
        schema: str | None = None,
    ) -> None:
        name = None if files.is_remote(path) else self._state.catalog.at_location(path)
        if name is not None:
            fixed = not {"versionasof", "timestampasof"}.isdisjoint(options)
            self.found.append(Reference("table", str(name), streaming, options, fixed=fixed))
        else:
            self.found.append(Reference("path", path, streaming, options, form, schema))

    def _view(self, read: NamedRead) -> bool:
        if self._state.temp_view(read.parts) is not None:
            return False
        try:
            entry = self._state.catalog.find(self._state.qualified(read.parts))
        except InvalidNameError:
            return False
        if entry is None or entry.kind != "view":
            return False
        if str(entry.name) not in self._views:
            self._views.add(str(entry.name))
            Rewriter(self).apply(messages.query(entry.definition or ""))
        return True
