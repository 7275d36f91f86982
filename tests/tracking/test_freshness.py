from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.modelling import ModelProject, feature_rows

from headrace import lakehouse
from headrace.environments import from_environment, write_lock
from headrace.tracking import environment, train, training_freshness

if TYPE_CHECKING:
    import pytest

MakeModels = Callable[..., ModelProject]


def test_each_thing_that_makes_a_model_stale_is_named(
    make_models: MakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_models(rows=feature_rows(400))

    def reason(**changes: Any) -> str | None:
        found = training_freshness(project.workspace, project.spec(**changes))
        return found.reason if found.stale else None

    assert reason() == "never trained"
    train(project.workspace, project.spec())
    assert reason() is None
    assert reason(name="other") == "never trained"
    assert reason(params={"depth": 2}, seed=3) == "settings changed: params, seed"
    assert reason(table="gold.later") == "table gold.later is not there yet"
    assert reason(lookback="24h") == "settings changed: lookback"

    project.write("training/model.py", (project.root / "training/model.py").read_text() + "# a\n")
    assert reason() is None
    text = (project.root / "training/model.py").read_text()
    project.write("training/model.py", text.replace("depth=5", "depth=6"))
    assert reason() == "code of training/model.py or of a module that it imports changed"
    project.write("training/model.py", text)
    assert reason() is None

    with monkeypatch.context() as patch:
        patch.setattr(environment, "_listing", lambda: "# Python 3.11\nother==1\n")
        assert reason() == "installed packages changed"
    (project.root / "requirements.txt").write_text("scikit-learn\n")
    lock = write_lock(project.root, from_environment(project.root))
    assert reason() == "the lock, or what is installed of it, changed"
    lock.unlink()
    assert reason() is None

    location = project.workspace.catalog.location_for("gold.features")
    lakehouse.hold(location)
    assert lakehouse.latest_version(location) == 1
    assert reason() is None
    project.put(feature_rows(500))
    assert reason() == "table main.gold.features moved from version 0 to 2"

    train(project.workspace, project.spec())
    assert reason() is None
    shutil.rmtree(location)
    project.put(feature_rows(400))
    project.put(feature_rows(500))
    assert reason() == "table main.gold.features was dropped and made again"
