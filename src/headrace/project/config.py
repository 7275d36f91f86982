"""``headrace.yaml``: the desired state of a project, validated, with errors that name the line."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from headrace.catalog import TableName
from headrace.endpoints.spec import EndpointSpec
from headrace.errors import HeadraceError, did_you_mean
from headrace.gate.spec import GateSpec
from headrace.maintenance.spec import MaintenanceSpec
from headrace.pipeline.spec import Expectations
from headrace.project.approvers import approval_problems
from headrace.project.yaml_lines import LinedYaml, Location, load
from headrace.registry.reference import PinnedModel
from headrace.registry.versions import PRODUCTION
from headrace.scoring.spec import PredictionSpec
from headrace.settings import InvalidSettingError, Paths, setting
from headrace.tracking.spec import TrainingSpec

AliasName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]

#: Keys under these sections name a thing; the name becomes the field of the same thing.
_NAMED = {"models": "name", "endpoints": "name"}


class ModelEntry(TrainingSpec):
    """A model: how it is trained, and what it must show before it goes live."""

    gate: GateSpec = Field(description="what it must show")


class PredictionEntry(BaseModel):
    """A table of predictions: the model, the table it scores, and the key of a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: PinnedModel = Field(description="name@alias or name/version")
    table: str = Field(description="the table to score")
    key: list[str] = Field(default_factory=list, description="columns that identify a row")
    columns: list[str] = Field(default_factory=list, description="input columns to carry along")

    def spec(self, output: str) -> PredictionSpec:
        """The entry as the scoring knows it, for the table that is written."""
        return PredictionSpec(
            table=output, model=self.model, input=self.table, key=self.key, columns=self.columns
        )


class Project(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="name of the project")
    protected: list[AliasName] = Field(
        default_factory=lambda: [PRODUCTION],
        description="aliases of models that move only through the gate",
    )
    groups: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="who may approve, by group: the public key (ssh-ed25519 ...) by name",
    )
    pipeline: str | None = Field(
        default=None, description="path of a Spark Declarative Pipelines spec"
    )
    configuration: dict[str, str] = Field(
        default_factory=dict, description="Spark configuration; overrides the pipeline spec's"
    )
    expectations: dict[str, Expectations] = Field(
        default_factory=dict, description="conditions on the rows of tables, by table"
    )
    models: dict[str, ModelEntry] = Field(
        default_factory=dict, description="what is trained and gated, by model name"
    )
    endpoints: dict[str, EndpointSpec] = Field(
        default_factory=dict, description="what answers over HTTP, by endpoint name"
    )
    predictions: dict[str, PredictionEntry] = Field(
        default_factory=dict, description="what is scored in batch, by the table that is written"
    )
    maintenance: MaintenanceSpec = Field(
        default_factory=MaintenanceSpec, description="how long the past of tables stays"
    )

    @field_validator("configuration", mode="before")
    @classmethod
    def _scalars_are_text(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: str(v) if isinstance(v, int | float) else v for k, v in value.items()}
        return value

    def prediction_specs(self) -> list[PredictionSpec]:
        """The batch predictions, in the order of the file."""
        return [entry.spec(table) for table, entry in self.predictions.items()]


class InvalidProjectError(HeadraceError):
    """``headrace.yaml`` parses but does not say something that can be done."""

    code = "invalid_project"

    def __init__(self, path: Path, problems: list[tuple[int | None, str]]) -> None:
        self.path, self.problems = path, problems
        listed = "\n         ".join(
            f"line {line}: {text}" if line else text for line, text in problems
        )
        first = next((line for line, _ in problems if line), None)
        super().__init__(
            f"{path.name} has {len(problems)} problem{'s' if len(problems) > 1 else ''}.",
            where=f"{path}:{first}" if first else str(path),
            why=listed,
            next="mend the file and type: headrace plan",
        )


def load_project(paths: Paths) -> Project:
    """Read and validate the project file.

    Raises:
        MalformedYamlError: it is not YAML.
        InvalidProjectError: unknown keys, wrong types, or references to what is not there.
    """
    document = load(paths.project_file)
    try:
        project = Project.model_validate(_with_names(document.data))
    except ValidationError as error:
        problems = [_describe(document, dict(detail)) for detail in error.errors()]
        raise InvalidProjectError(paths.project_file, _merge(problems)) from None
    problems = list(_dangling(paths, project, document))
    if problems:
        raise InvalidProjectError(paths.project_file, problems)
    return project


def configuration(project: Project, overrides: dict[str, str] | None = None) -> dict[str, str]:
    """Configuration in force: the file, then ``HEADRACE_CONF``, then ``--conf``.

    Raises:
        InvalidSettingError: ``HEADRACE_CONF`` is no list of ``key=value``.
    """
    merged = dict(project.configuration)
    for pair in filter(str.strip, setting("HEADRACE_CONF").split(";")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InvalidSettingError(
                "HEADRACE_CONF", pair, "it is not key=value;key=value", "raw=/data/raw"
            )
        merged[key.strip()] = value.strip()
    return merged | (overrides or {})


def json_schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    schema = Project.model_json_schema()
    for definition in schema.get("$defs", {}).values():
        if "name" in definition.get("properties", {}):
            del definition["properties"]["name"]
            definition["required"] = [x for x in definition.get("required", []) if x != "name"]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Headrace project"
    return schema


def schema_file(paths: Paths) -> Path:
    """Where the first line of ``headrace.yaml`` points editors."""
    return paths.state / "headrace.schema.json"


def write_schema(paths: Paths) -> Path:
    """Write the JSON Schema of ``headrace.yaml`` for editors."""
    target = schema_file(paths)
    fresh = target.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(json_schema(), indent=2) + "\n")
    fresh.replace(target)
    return target


def _with_names(data: dict[str, Any]) -> dict[str, Any]:
    filled = dict(data)
    for section, attribute in _NAMED.items():
        entries = filled.get(section)
        if isinstance(entries, dict):
            filled[section] = {
                name: {attribute: name, **entry} if isinstance(entry, dict) else entry
                for name, entry in entries.items()
            }
    return filled


def _describe(document: LinedYaml, detail: dict[str, Any]) -> tuple[int | None, str]:
    location: Location = tuple(detail["loc"])
    if location[0] in _NAMED and len(location) > 2 and location[2] == _NAMED[str(location[0])]:
        location = location[:2]  # the name is the key that the entry stands under
    place = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        present = _at(document.data, location[:-1])
        free = [key for key in _known_keys(location[:-1]) if key not in present]
        hint = did_you_mean(str(location[-1]), free)
        message = f'"{place}" is not a known key' + (f"; {hint}" if hint else "")
    elif detail["type"] == "missing":
        message = f'"{place}" is missing'
    elif detail["type"] == "string_pattern_mismatch":
        message = f'"{place}": "{detail["input"]}" is not of the form {detail["ctx"]["pattern"]}'
    else:
        message = f'"{place}": {detail["msg"].removeprefix("Value error, ")}'
    return document.line(location), message


def _at(data: Any, location: Location) -> Any:
    """The mapping at a location, as far as there is one."""
    for part in location:
        data = data.get(part, {}) if isinstance(data, dict) else {}
    return data


def _known_keys(location: Location) -> list[str]:
    """The keys that may stand at a location, read from the models' own fields."""
    model: Any = Project
    sections: dict[str, Any] = {
        "expectations": Expectations,
        "models": ModelEntry,
        "endpoints": EndpointSpec,
        "predictions": PredictionEntry,
        "maintenance": MaintenanceSpec,
    }
    for index, part in enumerate(location):
        if index == 0:
            model = sections.get(str(part))
        elif index >= 2 and model is not None:
            field = model.model_fields.get(str(part))
            inner = field.annotation if field else None
            model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return [name for name in model.model_fields if name != "name"] if model else []


def _merge(problems: list[tuple[int | None, str]]) -> list[tuple[int | None, str]]:
    """Sorted by line, each once (a union reports its branches separately)."""
    return sorted(set(problems), key=lambda problem: (problem[0] or 0, problem[1]))


def _dangling(paths: Paths, project: Project, document: LinedYaml) -> list[tuple[int | None, str]]:
    problems: list[tuple[int | None, str]] = []

    def problem(text: str, *location: str | int) -> None:
        problems.append((document.line(location), text))

    if project.pipeline and not (paths.root / project.pipeline).is_file():
        problem(f'the pipeline spec "{project.pipeline}" does not exist', "pipeline")
    if project.expectations and not project.pipeline:
        problem("expectations need a pipeline", "expectations")
    for location, table in _table_names(project):
        try:
            TableName.parse(table)
        except HeadraceError as error:
            problem(f"{error.what} {error.why or ''}".strip(), *location)
    for table, entry in project.predictions.items():
        try:
            entry.spec(table)
        except ValidationError as error:
            for detail in error.errors():
                problem(detail["msg"].removeprefix("Value error, "), "predictions", table)
    for name, model in project.models.items():
        text = _missing_function(paths.root, model.train)
        if text:
            problem(text, "models", name, "train")
    for location, text in approval_problems(project.groups, project.models):
        problem(text, *location)
    references = [
        (("endpoints", name, "model"), endpoint.model)
        for name, endpoint in project.endpoints.items()
    ] + [
        (("predictions", name, "model"), entry.model) for name, entry in project.predictions.items()
    ]
    for location, reference in references:
        model_name = reference.partition("@")[0].partition("/")[0]
        if project.models and model_name not in project.models:
            hint = did_you_mean(model_name, project.models)
            text = f'no model "{model_name}" in this file' + (f"; {hint}" if hint else "")
            problem(text, *location)
    return problems


def _table_names(project: Project) -> list[tuple[Location, str]]:
    """Every name of a table in the file, and where it stands."""
    return [
        *((("expectations", table), table) for table in project.expectations),
        *((("models", name, "table"), model.table) for name, model in project.models.items()),
        *((("predictions", table), table) for table in project.predictions),
        *((("predictions", t, "table"), entry.table) for t, entry in project.predictions.items()),
        *((("maintenance", "tables", table), table) for table in project.maintenance.tables),
    ]


def _missing_function(root: Path, reference: str) -> str | None:
    file, _, function = reference.partition(":")
    path = root / file
    if not path.is_file():
        return f'the training file "{file}" does not exist'
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        return f'the training file "{file}" does not parse: {error}'
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function and function not in names:
        hint = did_you_mean(function, names)
        return f'"{file}" defines no function "{function}"' + (f"; {hint}" if hint else "")
    return None
