"""From names and paths to pinned Delta versions and existing files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace import lakehouse
from headrace.catalog import Access, Entry, RawFile
from headrace.engine import files, flows, messages, models
from headrace.engine.errors import (
    InvalidTimestampError,
    StreamOutsidePipelineError,
    TableFilesGoneError,
    UnsupportedStatementError,
    ViewCycleError,
)
from headrace.engine.flows.frame import Leaf
from headrace.engine.flows.schemas import declared
from headrace.engine.rewrite import NamedRead, Rewriter, version_number

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import MergeIntoTableCommand, Relation

    from headrace.engine.columns import Names
    from headrace.engine.record import Flow
    from headrace.engine.state import SessionState

# Says in a plan what a list of files is a part of; taken out before the server sees it.
READS_OPTION: Final = "headrace.reads"

_MANY_PATHS: Final = 8
_TARGET: Final = -1  # in place of a plan id: the table that a statement changes
_SESSION_FUNCTIONS: Final = {
    "current_catalog": "spark.catalog.currentCatalog()",
    "current_database": "spark.catalog.currentDatabase()",
    "current_schema": "spark.catalog.currentDatabase()",
}
_MOMENT_OPTIONS: Final = {"versionasof", "timestampasof"}


class PinningResolver:
    """Replaces each read by one of exactly one Delta version, and notes it.

    Within one resolver, which serves one action, a table has one version: two reads of it see
    the same rows.

    Args:
        state: the session.
        streams_as_batches: take streaming reads for reads of everything that is there, which is
            enough to know their columns; otherwise they are refused.
        view: name of the view whose query is resolved.
    """

    def __init__(
        self, state: SessionState, *, streams_as_batches: bool = False, view: str | None = None
    ) -> None:
        self._state = state
        self._streams_as_batches = streams_as_batches
        self._latest: dict[str, int] = {}
        self._views = [] if view is None else [view]
        self._leaves: dict[int, Access] = {}
        self._others: list[Access] = []
        self._paths: list[str] = []
        self._sources: dict[int, list[Access]] = {}
        self._held: dict[tuple[str, int | None], tuple[str, ...]] = {}

    def reads(self, used: Mapping[int, Names] | None = None) -> list[Access]:
        """What was read, with the columns used of each table where they are known.

        Args:
            used: by plan id of each read, from ``columns.used``.
        """
        found = []
        for plan_id, access in self._leaves.items():
            names = (used or {}).get(plan_id)
            if names is not None and access.location and not files.is_remote(access.location):
                held = self._columns_of(access.location, access.version)
                columns = tuple(name for name in held if name.lower() in names)
                access = replace(access, columns=columns)
            found.append(access)
        return [*found, *self._others]

    def flows_into(self, relation: Relation, names: Sequence[str] | None) -> list[Flow]:
        """Where the columns of a relation that this has resolved come from.

        Args:
            relation: the resolved relation.
            names: the columns as they are written; ``None`` where they are not known.
        """
        return self._recorded(flows.of_rows(relation, self.leaf, names))

    def changes(self, made: Relation | MergeIntoTableCommand, target: Access) -> list[Flow]:
        """Where the columns that a resolved statement or merge changes come from.

        Args:
            made: SQL text with the relations it was given, or the message of ``mergeInto``.
            target: the table as it was before.
        """
        location = target.location or ""
        leaf = Leaf(_TARGET, lambda: self._columns_of(location, target.version))
        self._sources[_TARGET] = [target]
        is_merge = made.DESCRIPTOR.name == "MergeIntoTableCommand"
        return self._recorded(
            (flows.of_merge if is_merge else flows.of_statement)(made, self.leaf, leaf)
        )

    def _recorded(self, found: list[flows.Flow]) -> list[Flow]:
        return [
            (column, access, origin.column, origin.how)
            for column, origin in found
            for access in self._sources.get(origin.leaf, ())
        ]

    def leaf(self, relation: Relation) -> Leaf | None:
        """What a read of a resolved plan is; ``None`` for one that is not recorded."""
        plan_id = relation.common.plan_id
        if plan_id not in self._sources:
            return None
        source = relation.read.data_source

        def names() -> Sequence[str] | None:
            if source.schema:
                return declared(source.schema)
            if source.format == "delta" and not files.is_remote(source.paths[0]):
                version = source.options.get("versionAsOf")
                return self._columns_of(source.paths[0], int(version) if version else None)
            return files.parquet_columns(source.paths) if source.format == "parquet" else None

        return Leaf(plan_id, names)

    def _columns_of(self, location: str, version: int | None) -> tuple[str, ...]:
        key = (location, version)
        if key not in self._held:
            self._held[key] = tuple(lakehouse.schema(location, version).names)
        return self._held[key]

    def raw_files(self) -> list[RawFile]:
        """Fingerprints of the files below the paths that were read.

        Raises:
            RawFileError: one cannot be read.
        """
        found = dict.fromkeys(
            path
            for each in self._paths
            if not files.is_remote(each)
            for path in files.listing(each)
        )
        return [self._state.lineage.fingerprint(path) for path in found]

    @property
    def paths(self) -> list[str]:
        """The absolute paths and patterns that were read."""
        return list(self._paths)

    def table(self, read: NamedRead) -> Relation | None:
        """A pinned read of what the name stands for now."""
        if read.streaming and not self._streams_as_batches:
            raise StreamOutsidePipelineError(read.name)
        view = self._state.temp_view(read.parts)
        if view is not None:
            _refuse_moment(read, "temporary view")
            made = type(view)()
            made.CopyFrom(view)
            made.common.plan_id = messages.new_relation().common.plan_id
            Rewriter(self).apply(made)
            return messages.aliased(made, read.parts[-1])
        if is_path(read.parts) or self._state.is_bare_path(read.parts):
            return self._file(read)
        entry = self._state.resolve(read.parts)
        if entry.kind == "view":
            _refuse_moment(read, "view")
            return self._view(entry)
        return messages.aliased(self._delta(entry, read), entry.name.name)

    def source(self, relation: Relation) -> Relation | None:
        """The same read with absolute paths, pinned if it is a Delta table."""
        source = relation.read.data_source
        options = {key.lower(): value for key, value in source.options.items()}
        given = list(source.paths) or ([options["path"]] if options.get("path") else [])
        if relation.read.is_streaming and not self._streams_as_batches:
            raise StreamOutsidePipelineError(", ".join(given) or source.format)
        if not given:
            return None
        resolved = [files.absolute(path, self._state.paths.root) for path in given]
        form = source.format.lower()
        if form not in files.FORMATS and form:
            return None
        if form == "delta" or (not form and _is_delta(resolved[0])):
            return self._delta_path(resolved[0], options, relation.common.plan_id)
        for path, place in zip(given, resolved, strict=True):
            files.check(path, place, form or "parquet")
        made = messages.new_relation()
        made.CopyFrom(relation)
        made.read.is_streaming = False
        made.read.data_source.format = form or "parquet"
        del made.read.data_source.paths[:]
        made.read.data_source.paths.extend(resolved)
        for key in [key for key in source.options if key.lower() == "path"]:
            del made.read.data_source.options[key]
        plan_id = relation.common.plan_id
        self._sources[plan_id] = self._noted(resolved, source.options.get(READS_OPTION))
        if READS_OPTION in made.read.data_source.options:
            del made.read.data_source.options[READS_OPTION]
        return made

    def model(self, uri: str) -> None:
        """Note a model that a function applies, and see to it that it is the one named."""
        models.keep(uri)
        self._others.append(Access(kind="model", name=models.named(uri)))

    def function(self, name: str) -> None:
        """Note the models inside a registered function.

        Raises:
            UnsupportedStatementError: its value would be the server's name, not the session's.
        """
        instead = _SESSION_FUNCTIONS.get(name.lower())
        if instead is not None:
            raise UnsupportedStatementError(
                f"{name.lower()}()", "the server does not know what USE has said", instead
            )
        for uri in self._state.functions.get(name.lower(), ()):
            self.model(uri)

    def pinned(self, location: str) -> int:
        """The version of a table that this action reads."""
        if location not in self._latest:
            version = lakehouse.latest_version(location)
            if version is None:
                version = lakehouse.check_version(location, 0)
            self._latest[location] = version
        return self._latest[location]

    def _view(self, entry: Entry) -> Relation:
        name = str(entry.name)
        if name in self._views:
            raise ViewCycleError([*self._views[self._views.index(name) :], name])
        self._views.append(name)
        made = messages.query(entry.definition or "")
        Rewriter(self).apply(made)
        self._views.pop()
        return messages.aliased(made, entry.name.name)

    def _delta(self, entry: Entry, read: NamedRead) -> Relation:
        location = str(entry.location)
        try:
            version = self._version(location, read.version, read.timestamp)
        except lakehouse.NotADeltaTableError as error:
            raise TableFilesGoneError(str(entry.name), location) from error
        access = Access("table", str(entry.name), version, None, location)
        return self._leaf(access, location, version, read.options)

    def _delta_path(self, location: str, options: dict[str, str], plan_id: int) -> Relation:
        asked = options.get("versionasof")
        version = self._version(
            location,
            None if asked is None else version_number(asked),
            options.get("timestampasof"),
        )
        name = None if files.is_remote(location) else self._state.catalog.at_location(location)
        access = (
            Access("table", str(name), version, None, location)
            if name is not None
            else Access("path", location, version, None, location)
        )
        return self._leaf(access, location, version, options, plan_id)

    def _leaf(
        self,
        access: Access,
        location: str,
        version: int | None,
        options: dict[str, str],
        plan_id: int | None = None,
    ) -> Relation:
        made = messages.new_relation()
        if plan_id is not None:
            made.common.plan_id = plan_id
        source = made.read.data_source
        source.format = "delta"
        source.paths.append(location)
        for key, value in options.items():
            if key == "path" or (key in _MOMENT_OPTIONS and version is not None):
                continue
            source.options[key] = value
        if version is not None:
            source.options["versionAsOf"] = str(version)
            if not files.is_remote(location):
                lakehouse.forget_hint(location, version)
        self._leaves[made.common.plan_id] = access
        self._sources[made.common.plan_id] = [access]
        return made

    def _version(self, location: str, version: int | None, timestamp: str | None) -> int | None:
        if files.is_remote(location):
            # The log cannot be listed from here; the server reads the newest version.
            return version
        if version is not None:
            return lakehouse.check_version(location, version)
        if timestamp is not None:
            return lakehouse.version_at(location, moment(timestamp))
        return self.pinned(location)

    def _file(self, read: NamedRead) -> Relation | None:
        """``delta.`path``` and ``parquet.`path``` in place of a name."""
        made = messages.new_relation()
        source = made.read.data_source
        source.format = read.parts[0].lower()
        source.paths.append(read.parts[1])
        for key, value in read.options.items():
            source.options[key] = value
        if read.version is not None:
            source.options["versionAsOf"] = str(read.version)
        if read.timestamp is not None:
            source.options["timestampAsOf"] = read.timestamp
        found = self.source(made)
        # Under a relation of its own the read keeps the plan id under which it is noted.
        return None if found is None else messages.aliased(found, read.parts[1])

    def _noted(self, resolved: list[str], part_of: str | None) -> list[Access]:
        """Note a read of files; as what it is recorded."""
        if part_of is not None:
            whole = json.loads(part_of)
            if whole["kind"] == "path":
                self._paths += resolved
            made = [Access(whole["kind"], whole["name"], whole["version"])]
        else:
            self._paths += resolved
            names = resolved
            if len(resolved) > _MANY_PATHS:
                names = sorted({str(Path(path).parent) for path in resolved})
            made = [Access("path", name) for name in names]
        self._others += made
        return made


def is_path(parts: tuple[str, ...]) -> bool:
    """Whether a name is a format and a path, such as ``parquet.`/data/*.parquet```."""
    return (
        len(parts) == 2
        and parts[0].lower() in files.FORMATS
        and any(mark in parts[1] for mark in "/:*")
    )


def moment(text: str) -> datetime:
    """A timestamp as written in ``TIMESTAMP AS OF``; in UTC unless it says otherwise.

    Raises:
        InvalidTimestampError: it is none.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidTimestampError(text) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _refuse_moment(read: NamedRead, kind: str) -> None:
    if read.version is not None or read.timestamp is not None:
        raise UnsupportedStatementError(
            f"VERSION AS OF on the {kind} {read.name}",
            "a view has no versions of its own",
            "put VERSION AS OF behind the tables that the view reads",
        )


def _is_delta(location: str) -> bool:
    return not files.is_remote(location) and Path(location, "_delta_log").is_dir()
