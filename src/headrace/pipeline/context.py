"""What the steps of a pipeline share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import lakehouse
from headrace.engine import files as engine_files
from headrace.pipeline import graph
from headrace.pipeline.registry import project_imports, relative

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.pipeline.graph import Dataset, Names
    from headrace.pipeline.spec import Expectations
    from headrace.workspace import Workspace


@dataclass(frozen=True)
class Context:
    """One loaded pipeline.

    Attributes:
        root: directory of the pipeline spec; messages name files relative to it.
        name: the pipeline's name.
        names: how names without a schema resolve.
        datasets: by name.
        expectations: by qualified table name.
        configuration: Spark configuration that user code can read.
    """

    workspace: Workspace
    root: Path
    name: str
    names: Names
    datasets: dict[str, Dataset]
    expectations: Mapping[str, Expectations]
    configuration: Mapping[str, str]

    @property
    def spark(self) -> SparkSession:
        """The project's session."""
        return self.workspace.spark()

    def location(self, name: str) -> Path:
        """Directory of a table's Delta log: where the catalog has it, else where it will be."""
        entry = self.workspace.catalog.find(name)
        if entry is not None and entry.location is not None:
            return Path(entry.location)
        return self.workspace.catalog.location_for(name)

    def version(self, name: str) -> int | None:
        """The newest version of a table; ``None`` if it does not exist."""
        return lakehouse.latest_version(self.location(name))

    def table_id(self, name: str) -> str | None:
        """What tells a table from one that was dropped; ``None`` if it does not exist."""
        return lakehouse.table_id(self.location(name))

    def made_anew(self, name: str, inputs: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether a table was dropped and made again since a refresh: its versions begin anew.

        Args:
            inputs: those that the refresh remembers.
        """
        known = inputs.get("ids", {}).get(name)
        return known is not None and known != self.table_id(name)

    def shown(self, path: str) -> str:
        """A path as a person in the project's directory would write it."""
        return relative(path, self.workspace.paths.root)

    def listing(self, path: str) -> list[tuple[Path, os.stat_result]] | None:
        """The files below a path with their sizes and times; ``None`` where it is not local."""
        resolved = engine_files.absolute(path, self.workspace.paths.root)
        if engine_files.is_remote(resolved):
            return None
        found = []
        for file in engine_files.listing(resolved):
            # One that goes away while the others are listed was not there.
            with suppress(FileNotFoundError):
                found.append((file, file.stat()))
        return found

    def views(self, name: str) -> list[Dataset]:
        """The temporary views that a dataset reads, inputs first."""
        return graph.upstream(self.datasets, name)

    @contextmanager
    def user_code(self, conf: Mapping[str, str] | None = None) -> Iterator[None]:
        """Run code of the project: in its directory, with its imports, schema and configuration."""
        values = {**self.configuration, **(conf or {})}
        with (
            project_imports(self.root, fresh=False),
            default_schema(self.spark, self.names),
            session_conf(self.spark, values),
        ):
            yield


@contextmanager
def session_conf(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    """Set Spark configuration, and put back what was there."""
    before = {key: spark.conf.get(key, None) for key in values}
    try:
        for key, value in values.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, old in before.items():
            if old is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, old)


@contextmanager
def default_schema(spark: SparkSession, names: Names) -> Iterator[None]:
    """Let names without a schema mean the pipeline's, and put back what was there."""
    catalog, schema = spark.catalog.currentCatalog(), spark.catalog.currentDatabase()
    if (catalog, schema) == (names.catalog, names.schema):
        yield
        return
    try:
        spark.catalog.setCurrentCatalog(names.catalog)
        spark.catalog.setCurrentDatabase(names.schema)
        yield
    finally:
        spark.catalog.setCurrentCatalog(catalog)
        spark.catalog.setCurrentDatabase(schema)
