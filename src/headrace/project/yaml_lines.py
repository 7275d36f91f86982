"""YAML with the line of every key, so that an error can point at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from headrace.errors import HeadraceError

Location = tuple[str | int, ...]


class MalformedYamlError(HeadraceError):
    """A file that is not YAML, or not the mapping it should be."""

    code = "malformed_yaml"

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        self.path, self.line, self.problem = path, line, problem
        place = f"{path}:{line}" if line else str(path)
        super().__init__(
            f"{path.name} is not a valid project file.",
            where=place,
            why=problem,
            next=f"mend line {line} and type: headrace plan" if line else "headrace init --help",
        )


@dataclass
class LinedYaml:
    """A parsed document and the line (from 1) on which each key or item stands."""

    data: dict[str, Any]
    lines: dict[Location, int] = field(default_factory=dict)

    def line(self, location: Location) -> int | None:
        """The line of a location, or of the nearest thing around it that has one."""
        parts = tuple(location)
        while parts:
            if parts in self.lines:
                return self.lines[parts]
            parts = parts[:-1]
        return None


def load(path: Path) -> LinedYaml:
    """Read a YAML mapping.

    Raises:
        MalformedYamlError: not UTF-8, not YAML, a key that stands twice, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise MalformedYamlError(path, None, f"not UTF-8 text: {error.reason}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise MalformedYamlError(
            path, mark.line + 1 if mark else None, error.problem or str(error)
        ) from error
    except yaml.YAMLError as error:
        raise MalformedYamlError(path, None, str(error)) from error
    except ValueError as error:
        raise MalformedYamlError(path, None, f"a value cannot be read: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise MalformedYamlError(path, 1, "the file must be a mapping such as `name: my-project`")
    lines: dict[Location, int] = {}
    try:
        _walk(path, node, (), lines)
    except RecursionError:
        raise MalformedYamlError(path, 1, "an alias stands inside its own anchor") from None
    return LinedYaml(data, lines)


def _walk(path: Path, node: yaml.Node, location: Location, lines: dict[Location, int]) -> None:
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise MalformedYamlError(
                    path, key.start_mark.line + 1, f'the key "{name}" stands twice'
                )
            seen.add(name)
            lines[(*location, name)] = key.start_mark.line + 1
            _walk(path, value, (*location, name), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*location, index)] = item.start_mark.line + 1
            _walk(path, item, (*location, index), lines)
