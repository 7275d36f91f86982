"""Streaming reads as batch reads of exactly the files that are new."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.engine import files, messages
from headrace.engine.errors import StreamOutsidePipelineError
from headrace.engine.resolve import READS_OPTION
from headrace.engine.rewrite import Rewriter
from headrace.lakehouse import DataFile

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Expression, Relation

    from headrace.catalog import TableName
    from headrace.engine.rewrite import NamedRead
    from headrace.engine.state import SessionState


@dataclass(frozen=True)
class StreamBatch:
    """The part of a stream that one refresh reads.

    Attributes:
        files: absolute paths, or the data files of a Delta table.
        version: the table's version up to which they are new.
    """

    files: Sequence[str | Path | DataFile]
    version: int | None = None


class StreamBinder:
    """A resolver that replaces streaming reads and leaves everything else.

    Args:
        state: the session.
        bindings: by ``Reference.name`` of the streaming reads.
    """

    def __init__(self, state: SessionState, bindings: Mapping[str, StreamBatch]) -> None:
        self._state = state
        self._bindings = bindings

    def table(self, read: NamedRead) -> Relation | None:
        """A table's new rows; of a temporary view, what its own streams bring."""
        view = self._state.temp_view(read.parts)
        if view is not None:
            made = type(view)()
            made.CopyFrom(view)
            made.common.plan_id = messages.new_relation().common.plan_id
            Rewriter(self).apply(made)
            return messages.aliased(made, read.parts[-1])
        if not read.streaming:
            return None
        batch = self._batch(read.name.lower())
        name = self._state.resolve(read.parts).name
        return messages.aliased(self._data(name, batch), read.parts[-1])

    def source(self, relation: Relation) -> Relation | None:
        """A path's new files."""
        if not relation.read.is_streaming:
            return None
        source = relation.read.data_source
        options = {key.lower(): value for key, value in source.options.items()}
        path = files.absolute(
            source.paths[0] if source.paths else options.get("path", ""), self._state.paths.root
        )
        name = self._state.catalog.at_location(path)
        if name is not None:
            return self._data(name, self._batch(str(name)))
        return _files(relation, path, [_path(each) for each in self._batch(path).files])

    def model(self, uri: str) -> None:
        """Models stay."""

    def function(self, name: str) -> None:
        """Functions stay."""

    def _batch(self, name: str) -> StreamBatch:
        if name not in self._bindings:
            raise StreamOutsidePipelineError(name)
        return self._bindings[name]

    def _data(self, name: TableName, batch: StreamBatch) -> Relation:
        from pyspark.sql.pandas.types import from_arrow_schema

        location = str(self._state.catalog.resolve(name).location)
        schema = from_arrow_schema(lakehouse.schema(location, batch.version))
        note: dict[str, object] = {"kind": "table", "name": str(name), "version": batch.version}
        groups: dict[tuple[tuple[str, Any], ...], list[str]] = {}
        for each in batch.files:
            values = tuple(each.partition_values.items()) if isinstance(each, DataFile) else ()
            groups.setdefault(values, []).append(_path(each))
        if not groups:
            return _nothing_of(name, batch.version)
        parts = [_group(schema, dict(values), paths, note) for values, paths in groups.items()]
        return _union(parts)


def _group(
    schema: Any, partition: dict[str, Any], paths: list[str], note: dict[str, object]
) -> Relation:
    """Data files of one partition, whose values stand in the log and not in the files."""
    from pyspark.sql.types import StructType

    stored = StructType([each for each in schema.fields if each.name not in partition])
    made = messages.new_relation()
    source = made.read.data_source
    source.format = "parquet"
    source.schema = stored.json()
    source.paths.extend(paths)
    source.options[READS_OPTION] = json.dumps(note)
    if not partition:
        return made
    projected = messages.new_relation()
    projected.project.input.CopyFrom(made)
    for each in schema.fields:
        expression = projected.project.expressions.add()
        if each.name in partition:
            _constant(expression, each, partition[each.name])
        else:
            expression.unresolved_attribute.unparsed_identifier = f"`{each.name}`"
    return projected


def _constant(expression: Expression, column: Any, value: object) -> None:
    """``CAST('value' AS type) AS name``."""
    alias = expression.alias
    alias.name.append(column.name)
    alias.expr.cast.type_str = column.dataType.simpleString()
    literal = alias.expr.cast.expr.literal
    if value is None:
        literal.null.null.SetInParent()
    else:
        literal.string = str(value)


def _files(relation: Relation, path: str, paths: list[str]) -> Relation:
    made = messages.new_relation()
    made.read.CopyFrom(relation.read)
    made.read.is_streaming = False
    source = made.read.data_source
    if "path" in source.options:
        del source.options["path"]
    source.options[READS_OPTION] = json.dumps({"kind": "path", "name": path, "version": None})
    del source.paths[:]
    if paths:
        source.paths.extend(paths)
        return made
    # Nothing is new: the same columns and no rows.
    if source.schema:
        return messages.empty(source.schema)
    source.paths.append(path)
    return _limited(made)


def _nothing_of(name: TableName, version: int | None) -> Relation:
    """The table's columns and none of its rows."""
    made = messages.new_relation()
    made.read.named_table.unparsed_identifier = str(name)
    if version is not None:
        made.read.named_table.options["versionAsOf"] = str(version)
    return _limited(made)


def _limited(relation: Relation) -> Relation:
    made = messages.new_relation()
    made.limit.input.CopyFrom(relation)
    made.limit.limit = 0
    return made


def _union(parts: list[Relation]) -> Relation:
    whole = parts[0]
    for part in parts[1:]:
        made = messages.new_relation()
        made.set_op.left_input.CopyFrom(whole)
        made.set_op.right_input.CopyFrom(part)
        made.set_op.set_op_type = 2
        made.set_op.is_all = True
        whole = made
    return whole


def _path(file: str | Path | DataFile) -> str:
    return file.path if isinstance(file, DataFile) else str(file)
