"""Loads a project's definition files with PySpark's own loader."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.pipeline.elements import Flow, Kind, Location, Output
from headrace.pipeline.errors import DefinitionError, UnsupportedDefinitionError
from headrace.pipeline.properties import check_properties
from headrace.pipeline.spec import pipelines_cli, quiet
from headrace.pipeline.sql import check_format, read_sql

if TYPE_CHECKING:
    from pyspark.pipelines.cli import PipelineSpec
    from pyspark.sql import SparkSession


class Registry:
    """PySpark's ``GraphElementRegistry``: collects what definition files declare.

    Attributes:
        outputs: declared datasets, in the order in which they were declared.
        flows: declared queries, in that order.
    """

    def __init__(self, root: Path, configuration: Mapping[str, str], spark: SparkSession) -> None:
        self.root = root
        self.outputs: list[Output] = []
        self.flows: list[Flow] = []
        self._configuration = configuration
        self._spark = spark

    def register_output(self, output: Any) -> None:
        """Take a dataset from ``pyspark.pipelines``.

        Raises:
            UnsupportedDefinitionError: a sink, a cluster key, or a format other than Delta.
        """
        location = self._location(output)
        kinds: dict[str, Kind] = {
            "MaterializedView": "materialized_view",
            "StreamingTable": "streaming_table",
            "TemporaryView": "temporary_view",
        }
        kind = kinds.get(type(output).__name__)
        if kind is None:
            raise UnsupportedDefinitionError(
                f"{type(output).__name__} {output.name}",
                location,
                "write to a streaming table, and copy from it with headrace.spark()",
            )
        if kind == "temporary_view":
            self.outputs.append(Output(output.name, kind, location, output.comment))
            return
        check_format(output.format, location)
        check_properties(output.table_properties, location)
        if output.cluster_by:
            raise UnsupportedDefinitionError(
                f"cluster_by of {output.name}", location, "use partition_cols, or leave it out"
            )
        self.outputs.append(
            Output(
                output.name,
                kind,
                location,
                output.comment,
                output.schema,
                tuple(output.partition_cols or ()),
                dict(output.table_properties),
            )
        )

    def register_flow(self, flow: Any) -> None:
        """Take a query function from ``pyspark.pipelines``; it is not called yet."""
        code = getattr(flow.func, "__code__", None)
        self.flows.append(
            Flow(
                flow.name,
                flow.target,
                self._location(flow),
                flow.func,
                dict(flow.spark_conf),
                defined=code.co_firstlineno if code is not None else None,
            )
        )

    def register_auto_cdc_flow(self, flow: Any) -> None:
        """Refuse an Auto CDC flow.

        Raises:
            UnsupportedDefinitionError: always.
        """
        raise UnsupportedDefinitionError(
            f"The Auto CDC flow into {flow.target}",
            self._location(flow),
            "append the changes to a streaming table, and keep the latest row of each key in a "
            "materialized view",
        )

    def register_sql(self, sql_text: str, file_path: Path) -> None:
        """Take the statements of an SQL file."""
        found = read_sql(sql_text, str(file_path), self._configuration, self._spark.sql)
        self.outputs.extend(found.outputs)
        self.flows.extend(found.flows)

    def _location(self, element: Any) -> Location:
        place = element.source_code_location
        return Location(relative(place.filename, self.root), place.line_number)


def load_definitions(
    spec_path: Path, spec: PipelineSpec, configuration: Mapping[str, str], spark: SparkSession
) -> Registry:
    """Import the Python files and read the SQL files that a spec names.

    Raises:
        DefinitionError: a file raises, or matches no kind of definition.
        UnsupportedDefinitionError: a file declares something that is not supported.
    """
    from pyspark.errors import PySparkException
    from pyspark.pipelines.graph_element_registry import GraphElementRegistry

    cli = pipelines_cli()
    root = spec_path.parent.resolve()
    GraphElementRegistry.register(Registry)
    registry = Registry(root, configuration, spark)
    with quiet(cli), project_imports(root):
        try:
            cli.register_definitions(spec_path, registry, spec, spark, spec.name)
        except HeadraceError:
            raise
        except PySparkException as error:
            where = user_location(error, root) or Location(spec_path.name)
            raise DefinitionError("A definitions file failed.", where, str(error)) from error
        except Exception as error:
            where = user_location(error, root) or Location(spec_path.name)
            raise DefinitionError(
                f"{where.file} failed while it was imported.", where, describe(error)
            ) from error
    return registry


@contextmanager
def project_imports(root: Path, *, fresh: bool = True) -> Iterator[None]:
    """Run project code as it expects: from the project's directory, its modules importable.

    Args:
        root: the project's directory.
        fresh: import modules of the project anew: an edited helper counts.
    """
    before = Path.cwd()
    for name, module in list(sys.modules.items()) if fresh else ():
        file = getattr(module, "__file__", None)
        ours = name == "__main__" or name.partition(".")[0] == "headrace"
        if file and not ours and _is_project_code(Path(file), root):
            del sys.modules[name]
    sys.path.insert(0, str(root))
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(root))


def user_location(error: BaseException, root: Path) -> Location | None:
    """The innermost place in the project's own files that an exception passed through."""
    if isinstance(error, SyntaxError) and error.filename:
        return Location(relative(error.filename, root), error.lineno)
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if _is_project_code(Path(frame.filename), root)]
    if not inside:
        return None
    return Location(relative(inside[-1].filename, root), inside[-1].lineno)


def describe(error: BaseException) -> str:
    """An exception in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def relative(file: str, root: Path) -> str:
    """A path as a person in the project's directory would write it."""
    path = Path(file).resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _is_project_code(file: Path, root: Path) -> bool:
    # A virtual environment inside the project is not project code, nor is "<frozen os>".
    return file.is_absolute() and file.is_relative_to(root) and "site-packages" not in file.parts
