"""Projects on disk, loaded and refreshed for real."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from headrace import lakehouse
from headrace.pipeline import Expectations, Pipeline, Refresh, load_pipeline
from headrace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from headrace.freshness import Freshness

SPEC = """\
name: test
storage: file:///unused
configuration: {raw: raw}
libraries:
  - glob: {include: transformations/**}
"""

EVENTS = """
from pyspark import pipelines as dp

raw = spark.conf.get("raw")


@dp.table(name="bronze.events")
def events():
    return spark.readStream.format("parquet").schema("id bigint, value double").load(f"{raw}/events")
"""


class Project:
    """A project directory. Files are written as a user would write them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._time = 1_700_000_000
        self.write("headrace.yaml", "name: test\n")
        self.write("spark-pipeline.yml", SPEC)

    @property
    def workspace(self) -> Workspace:
        return open_workspace(self.root)

    def write(self, path: str, text: str) -> Path:
        """A text file, its indentation removed."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def python(self, body: str, name: str = "tables") -> None:
        """A definitions file with the usual imports."""
        head = "from pyspark import pipelines as dp\nfrom pyspark.sql import functions as F\n"
        self.write(f"transformations/{name}.py", head + textwrap.dedent(body))

    def sql(self, text: str, name: str = "tables") -> None:
        self.write(f"transformations/{name}.sql", text)

    def parquet(self, path: str, **columns: Any) -> Path:
        """A Parquet file; each one is a second younger than the one before."""
        return self.table(path, pa.table(columns))

    def table(self, path: str, table: pa.Table) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, file)
        self._time += 1
        os.utime(file, (self._time, self._time))
        return file

    def load(
        self,
        expectations: Mapping[str, Mapping[str, Mapping[str, str]]] | None = None,
        **configuration: str,
    ) -> Pipeline:
        wanted = {
            name: Expectations.model_validate(each) for name, each in (expectations or {}).items()
        }
        return load_pipeline(
            self.workspace, self.root / "spark-pipeline.yml", wanted, configuration
        )

    def run(self, pipeline: Pipeline | None = None) -> dict[str, Refresh]:
        """Refresh what is stale, in order; the refreshes by the table's short name."""
        pipeline = pipeline or self.load()
        done = {}
        for name in pipeline.order():
            if pipeline.freshness(name).stale:
                done[name.removeprefix("main.")] = pipeline.refresh(name)
        return done

    def freshness(self, name: str) -> Freshness:
        return self.load().freshness(name)

    def location(self, name: str) -> Path:
        return self.root / "warehouse" / "main" / Path(*name.split("."))

    def rows(self, name: str, version: int | None = None) -> list[tuple[Any, ...]]:
        """The rows of a table, sorted, read by delta-rs and not by the engine."""
        table = lakehouse.read(self.location(name), version)
        return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=str)

    def column(self, name: str, column: str) -> Sequence[Any]:
        """The values of one column, sorted."""
        table = lakehouse.read(self.location(name))
        return sorted(table.column(column).to_pylist(), key=str)


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Makes projects and closes them."""
    made: list[Project] = []

    def make(name: str = "project") -> Project:
        made.append(Project(tmp_path / name))
        return made[-1]

    yield make
    for project in made:
        project.workspace.close()


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """An empty project."""
    return make_project()


@pytest.fixture
def events(project: Project) -> Project:
    """A project with a streaming table over raw files, the first of which is there."""
    project.write("transformations/bronze.py", EVENTS)
    project.parquet("raw/events/1.parquet", id=[1, 2, 3], value=[1.0, 2.0, 3.0])
    return project
