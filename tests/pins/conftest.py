from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from tests.modelling import make_models as make_models
from tests.modelling import models as models

from headrace import lakehouse, pins
from headrace.catalog import Access
from headrace.workspace import Workspace, open_workspace

MakeTable = Callable[..., str]
PinIt = Callable[..., None]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A project with nothing in it."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "headrace.yaml").write_text("name: pins\n")
    workspace = open_workspace(root)
    yield workspace
    workspace.close()


@pytest.fixture
def make_table(workspace: Workspace) -> MakeTable:
    """A table each of whose versions has one file with another row; gives its location."""

    def make(name: str = "gold.features", versions: int = 3, at: Path | None = None) -> str:
        location = workspace.catalog.create_table(name, at).location
        assert location is not None
        for version in range(versions):
            lakehouse.write(location, pa.table({"id": [version]}), mode="overwrite")
        return location

    return make


@pytest.fixture
def pin_it(workspace: Workspace) -> PinIt:
    """Pins versions of a table for ``failure/1``, or another model version."""

    def pin(*versions: int, name: str = "main.gold.features", of: str = "failure/1") -> None:
        model, _, number = of.partition("/")
        location = workspace.catalog.resolve(name).location
        tables = [
            pins.Need(Access("table", name, v), "trained on", lakehouse.table_id(str(location)))
            for v in versions
        ]
        with workspace.store.begin() as connection:
            pins.pin(connection, model, int(number), tables)
        pins.protect(workspace, [name])

    return pin
