"""Temporary views: kept on this side, so that lineage flows through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.catalog import InvalidNameError
from headrace.engine import messages, sql
from headrace.engine.errors import TableExistsError
from headrace.engine.resolve import is_path
from headrace.engine.rewrite import NamedRead, Rewriter
from headrace.engine.state import GLOBAL_TEMP

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import CreateDataFrameViewCommand, Relation

    from headrace.catalog import TableName
    from headrace.engine.state import SessionState


class BindingResolver:
    """Fixes what each name of a view means when it is created.

    Temporary views inside are replaced by their relations, and tables get their full names, so
    that a view created later under one of the names changes nothing. Versions stay open.
    """

    def __init__(self, state: SessionState) -> None:
        self._state = state

    def table(self, read: NamedRead) -> Relation | None:
        """The relation that the name stands for now."""
        view = self._state.temp_view(read.parts)
        if view is not None:
            made = type(view)()
            made.CopyFrom(view)
            made.common.plan_id = messages.new_relation().common.plan_id
            return messages.aliased(made, read.parts[-1])
        if is_path(read.parts) or self._state.is_bare_path(read.parts):
            return None
        return messages.aliased(_named(read, self._state.qualified(read.parts)), read.parts[-1])

    def source(self, relation: Relation) -> Relation | None:
        """Paths stay as they are."""
        del relation
        return None

    def model(self, uri: str) -> None:
        """Models are noted when the view is read."""

    def function(self, name: str) -> None:
        """Functions are looked up when the view is read."""


def _named(read: NamedRead, name: TableName) -> Relation:
    """The same read of a table under its full name."""
    made = messages.new_relation()
    made.read.is_streaming = read.streaming
    made.read.named_table.unparsed_identifier = ".".join(
        sql.quoted(part) for part in (name.catalog, name.schema, name.name)
    )
    options = made.read.named_table.options
    for key, value in read.options.items():
        options[key] = value
    if read.version is not None:
        options["versionAsOf"] = str(read.version)
    if read.timestamp is not None:
        options["timestampAsOf"] = read.timestamp
    return made


def create(state: SessionState, command: CreateDataFrameViewCommand) -> None:
    """Keep a view.

    Raises:
        InvalidNameError: the name has a schema.
        TableExistsError: a temporary view has the name, and it is not to be replaced.
    """
    define(
        state,
        command.name.strip("`"),
        command.input,
        is_global=command.is_global,
        replace=command.replace,
    )


def define(
    state: SessionState,
    name: str,
    relation: Relation,
    *,
    is_global: bool,
    replace: bool,
) -> None:
    """As ``create``, of a relation."""
    if "." in name:
        # It would hide the table of that name.
        raise InvalidNameError(name, "a temporary view lies in no schema")
    key = (f"{GLOBAL_TEMP}.{name}" if is_global else name).lower()
    if key in state.temp_views and not replace:
        raise TableExistsError(name)
    made = type(relation)()
    made.CopyFrom(relation)
    Rewriter(BindingResolver(state)).apply(made)
    state.temp_views[key] = made
