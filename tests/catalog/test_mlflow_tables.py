from __future__ import annotations

import logging

import pytest
from sqlalchemy import inspect

from headrace.catalog import Store
from headrace.catalog.mlflow_tables import ensure_mlflow_tables
from headrace.catalog.store import driver_url

pytestmark = pytest.mark.filterwarnings(
    # MLflow 3.17 maps its own tables with an option that SQLAlchemy 2.1 deprecates.
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)


def test_the_tables_are_those_that_mlflow_makes(store: Store, url: str) -> None:
    from mlflow import MlflowClient
    from mlflow.store.db.utils import _verify_schema

    ensure_mlflow_tables(store)
    ensure_mlflow_tables(store)
    _verify_schema(store.engine)
    with store.reading() as connection:
        names = set(inspect(connection).get_table_names())
    assert {"headrace_entries", "alembic_version", "registered_model_aliases"} <= names
    client = MlflowClient(driver_url(url), driver_url(url))
    run = client.create_run(client.create_experiment("one", artifact_location="file:///nowhere"))
    client.log_metric(run.info.run_id, "loss", 0.5)
    client.create_registered_model("model")
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
    assert [model.name for model in client.search_registered_models()] == ["model"]


def test_the_migrations_are_made_quietly(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ensure_mlflow_tables(store)
    assert [record.message for record in caplog.records if "alembic" in record.name] == []


def test_what_fails_half_way_is_made_the_next_time(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headrace.catalog import mlflow_tables

    store = Store.open(f"sqlite:///{tmp_path}/headrace.db")
    whole = mlflow_tables._schema()
    half = (*whole[: len(whole) // 2], "CREATE TABLE broken (")
    monkeypatch.setattr(mlflow_tables, "_schema", lambda: half)
    with pytest.raises(Exception, match="incomplete input"):
        ensure_mlflow_tables(store)
    with store.reading() as connection:
        assert "experiments" not in inspect(connection).get_table_names()
    monkeypatch.setattr(mlflow_tables, "_schema", lambda: whole)
    ensure_mlflow_tables(store)
    with store.reading() as connection:
        assert "experiments" in inspect(connection).get_table_names()
    store.close()
