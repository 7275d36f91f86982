from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.modelling import ModelProject

from headrace import clock, lakehouse, pins
from headrace.catalog import Access
from headrace.pins import NoPinsError, Pin
from headrace.registry import ModelVersion, register, versions
from headrace.tracking import TrainedModel, train

if TYPE_CHECKING:
    from headrace.workspace import Workspace

    from .conftest import MakeTable, PinIt

MakeModels = Callable[..., ModelProject]


@pytest.fixture(scope="module")
def trained(models: ModelProject) -> TrainedModel:
    return train(models.workspace, models.spec())


@pytest.fixture(scope="module")
def registered(models: ModelProject, trained: TrainedModel) -> ModelVersion:
    return register(models.workspace, models.spec(), trained)


def facts(found: list[Pin]) -> list[tuple[str, str, int, str]]:
    return [(str(each), each.name, each.table_version, each.why) for each in found]


def test_a_registered_version_pins_what_its_run_read_and_its_holdout(
    models: ModelProject, registered: ModelVersion
) -> None:
    (pin,) = pins.pinned(models.workspace.store)
    assert facts([pin]) == [("failure/1", "main.gold.features", 0, "trained on, hold-out")]
    entry = models.workspace.catalog.resolve("gold.features")
    assert pin.table_id == lakehouse.table_id(str(entry.location))
    assert lakehouse.is_held(str(entry.location))
    assert pins.kept(models.workspace.store, entry) == [pin]


def test_registering_again_pins_nothing_twice(
    models: ModelProject, trained: TrainedModel, registered: ModelVersion
) -> None:
    location = str(models.workspace.catalog.resolve("gold.features").location)
    before = pins.pinned(models.workspace.store), lakehouse.latest_version(location)
    assert register(models.workspace, models.spec(), trained) == registered
    assert (pins.pinned(models.workspace.store), lakehouse.latest_version(location)) == before


def test_a_version_that_another_client_registered_is_pinned_by_sync(
    models: ModelProject, trained: TrainedModel, registered: ModelVersion
) -> None:
    client = models.workspace.mlflow()
    client.create_registered_model("by_hand")
    client.create_model_version("by_hand", trained.model_uri, trained.run_id)
    done = pins.sync(models.workspace)
    assert facts(list(done.pinned)) == [("by_hand/1", "main.gold.features", 0, "trained on")]
    assert pins.sync(models.workspace) == pins.Synced()
    client.delete_model_version("by_hand", "1")
    done = pins.sync(models.workspace)
    assert [each.model for each in done.released] == ["by_hand"]
    (released,) = pins.pinned(models.workspace.store, model="by_hand", released=True)
    assert released.reason == "the version was deleted"
    client.delete_registered_model("by_hand")
    client.create_registered_model("by_hand")
    client.create_model_version("by_hand", trained.model_uri, trained.run_id)
    (again,) = pins.sync(models.workspace).pinned
    assert (str(again), again.released_at) == ("by_hand/1", None)
    client.delete_registered_model("by_hand")
    pins.sync(models.workspace)


_REGISTER = """
from pathlib import Path
from headrace.registry import register
from headrace.tracking import TrainingSpec, last_trained
from headrace.workspace import open_workspace

spec = TrainingSpec.model_validate_json(Path("spec.json").read_text())
workspace = open_workspace()
register(workspace, spec, last_trained(workspace, spec.name))
"""


def test_a_registration_that_is_killed_before_its_pins_hold(
    models: ModelProject, registered: ModelVersion
) -> None:
    workspace = models.workspace
    spec = models.spec(name="killed")
    train(workspace, spec)
    models.write("spec.json", spec.model_dump_json())
    script = models.write(".headrace/tmp/register.py", _REGISTER)

    def killed(point: str) -> int:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=models.root,
            env={**os.environ, "HEADRACE_CRASH_AT": point},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 137, done.stderr
        assert [each.version for each in versions(workspace, "killed")] == [1]
        return len(pins.pinned(workspace.store, model="killed"))

    assert killed("registry.registered") == 0
    assert killed("pins.pinned") == 1
    pins.sync(workspace)
    (pin,) = pins.pinned(workspace.store, model="killed")
    entry = workspace.catalog.resolve("gold.features")
    assert pin in pins.kept(workspace.store, entry)
    assert lakehouse.is_held(str(entry.location))


def test_old_versions_expire_but_not_those_that_an_alias_names(
    models: ModelProject, registered: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = models.workspace
    year = timedelta(days=365)
    later = datetime.now(UTC) + timedelta(days=400)
    monkeypatch.setattr(clock, "now", lambda: later)
    client = workspace.mlflow()
    client.set_registered_model_alias("failure", "staging", "1")
    before = {each.model for each in pins.pinned(workspace.store)}
    assert pins.sync(workspace).released == ()
    done = pins.sync(workspace, year, in_use=[("killed", 1)])
    assert done.released == ()
    done = pins.sync(workspace, year)
    assert {each.model for each in done.released} == before - {"failure"}
    client.delete_registered_model_alias("failure", "staging")
    (last,) = pins.sync(workspace, year).released
    assert last.model == "failure"
    (row,) = pins.pinned(workspace.store, model="failure", released=True)
    assert row.reason == "no alias names it, and pins expire after 365 days"
    location = str(workspace.catalog.resolve("gold.features").location)
    assert not lakehouse.is_held(location)


def test_release_frees_a_version_and_the_last_one_the_table(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    location = make_table()
    pin_it(0, of="failure/1")
    pin_it(0, 1, of="failure/2")
    released = pins.release(workspace, "failure", 1, reason="not needed", by="ada")
    assert facts(released) == [("failure/1", "main.gold.features", 0, "trained on")]
    assert lakehouse.is_held(location)
    pin_it(0, of="failure/1")
    assert [str(each) for each in pins.pinned(workspace.store)] == ["failure/2"] * 2
    pins.release(workspace, "failure", 2, reason="nor this", by="ada")
    assert not lakehouse.is_held(location)
    with pytest.raises(NoPinsError, match="failure/2 has no pins"):
        pins.release(workspace, "failure", 2, reason="again", by="ada")


def test_a_table_elsewhere_is_pinned_and_left_as_it_is(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt, tmp_path: Path
) -> None:
    location = make_table("raw.theirs", at=tmp_path / "theirs")
    version = lakehouse.latest_version(location)
    pin_it(0, name="main.raw.theirs")
    assert lakehouse.latest_version(location) == version
    assert len(pins.kept(workspace.store, workspace.catalog.resolve("raw.theirs"))) == 1


def test_a_table_that_was_read_by_its_path_is_kept_under_the_name_it_got(
    workspace: Workspace, make_table: MakeTable, tmp_path: Path
) -> None:
    location = make_table()
    (tmp_path / "link").symlink_to(location)
    table_id = lakehouse.table_id(location)
    paths = (location, str(tmp_path / "link"), str(tmp_path))
    needs = [
        pins.Need(Access("path", path, version), "trained on", table_id)
        for version, path in enumerate(paths)
    ]
    with workspace.store.begin() as connection:
        pins.pin(connection, "failure", 1, needs)
    kept = pins.kept(workspace.store, workspace.catalog.resolve("gold.features"))
    assert {each.table_version for each in kept} == {0, 1}


def test_a_pin_is_not_on_the_table_that_took_the_place_of_its_own(
    workspace: Workspace, make_table: MakeTable, pin_it: PinIt
) -> None:
    make_table()
    pin_it(0)
    workspace.catalog.drop("gold.features")
    make_table()
    assert pins.kept(workspace.store, workspace.catalog.resolve("gold.features")) == []
    assert len(pins.pinned(workspace.store, "main.gold.features")) == 1
