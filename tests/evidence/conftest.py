from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.catalog.conftest import postgresql as postgresql
from tests.catalog.conftest import url as url
from tests.evidence.worlds import World, make_world


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """A factory of workspaces with a model's files."""
    made: list[World] = []

    def one(url: str | None = None) -> World:
        made.append(make_world(tmp_path / f"world{len(made)}", url))
        return made[-1]

    yield one
    for world in made:
        world.store.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    """One of them."""
    return make()
