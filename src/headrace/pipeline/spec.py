"""The two files that configure a pipeline: its spec, and the expectations in ``headrace.yaml``."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headrace.pipeline.errors import SpecError

if TYPE_CHECKING:
    from pyspark.pipelines.cli import PipelineSpec

Action = Literal["expect", "drop", "fail"]


class Expectations(BaseModel):
    """Conditions on the rows of one table, SQL expressions by name.

    A row meets a condition only if it is true: NULL fails it, as false does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    expect: dict[str, str] = Field(
        default_factory=dict, description="rows that fail are kept and counted"
    )
    drop: dict[str, str] = Field(
        default_factory=dict, description="rows that fail are left out and counted"
    )
    fail: dict[str, str] = Field(
        default_factory=dict, description="a row that fails stops the refresh; nothing is written"
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        seen: set[str] = set()
        for name, condition in self.conditions():
            if name in seen:
                raise ValueError(f'the expectation "{name}" is there twice')
            if not condition.strip():
                raise ValueError(f'the expectation "{name}" has no condition')
            seen.add(name)
        return self

    def conditions(self, action: Action | None = None) -> list[tuple[str, str]]:
        """Names and conditions, of one action or of all, in the order of the file."""
        chosen = [self.expect, self.drop, self.fail]
        if action is not None:
            chosen = [{"expect": self.expect, "drop": self.drop, "fail": self.fail}[action]]
        return [pair for group in chosen for pair in group.items()]


def pipelines_cli() -> ModuleType:
    """PySpark's own module that loads specs and definitions."""
    import pyspark

    # It ends the interpreter when it finds no Spark installation, which a client has not got.
    before = os.environ.get("SPARK_HOME")
    os.environ["SPARK_HOME"] = str(Path(pyspark.__file__).parent)
    try:
        return importlib.import_module("pyspark.pipelines.cli")
    finally:
        if before is None:
            del os.environ["SPARK_HOME"]
        else:
            os.environ["SPARK_HOME"] = before


def load_spec(path: Path) -> PipelineSpec:
    """Read a pipeline spec with PySpark's loader.

    Raises:
        SpecError: the file is absent, is no YAML, or is no pipeline spec.
    """
    import yaml
    from pyspark.errors import PySparkException

    cli = pipelines_cli()
    try:
        data = yaml.safe_load(path.read_text())
        if not isinstance(data, Mapping):
            raise SpecError(path, "it is empty, or not a mapping of keys to values")
        _check_libraries(path, data)
        return cli.unpack_pipeline_spec(data)
    except FileNotFoundError:
        raise SpecError(path, "there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(path, str(error)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SpecError(path, f"it is not YAML: {error.problem}", line) from error
    except yaml.YAMLError as error:
        raise SpecError(path, f"it is not YAML: {error}") from error
    except PySparkException as error:
        raise SpecError(path, str(error)) from error


def _check_libraries(path: Path, data: Mapping[str, Any]) -> None:
    """PySpark's loader takes the shape of ``libraries`` for granted."""
    libraries = data.get("libraries", [])
    if not isinstance(libraries, list):
        raise SpecError(path, "libraries must be a list of glob patterns")
    for entry in libraries:
        pattern = entry.get("glob") if isinstance(entry, dict) else None
        if not isinstance(pattern, dict) or not isinstance(pattern.get("include"), str):
            raise SpecError(
                path, f"{entry!r} in libraries should be: glob: {{include: transformations/**}}"
            )


@contextmanager
def quiet(cli: ModuleType) -> Iterator[None]:
    """Keep PySpark's loader from printing its progress to standard output."""
    before = cli.log_with_curr_timestamp
    cli.log_with_curr_timestamp = _discard  # type: ignore[attr-defined]
    try:
        yield
    finally:
        cli.log_with_curr_timestamp = before  # type: ignore[attr-defined]


def _discard(message: str) -> None:
    """Take a progress message and drop it."""
