"""A protected alias through the unmodified MLflow client: on SQLite, and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy import Connection, create_engine, insert, select, text

from headrace import clock
from headrace.catalog import Audit, Store, guards
from headrace.catalog.mlflow_tables import ensure_mlflow_tables
from headrace.catalog.store import driver_url
from headrace.ids import new_id
from headrace.promotion.store import alias_moves

if TYPE_CHECKING:
    from mlflow import MlflowClient

SOURCE = "file:///models/m-{:032x}"


def move(connection: Connection, before: int | None, after: int | None, **changes: Any) -> None:
    """Record a move, as a promotion does."""
    values: dict[str, Any] = {
        "id": new_id("move"),
        "model": "model",
        "alias": "production",
        "from_version": before,
        "to_version": after,
        "model_id": None if after is None else f"m-{after:032x}",
        "kind": "promoted",
        "reason": "better",
        "moved_by": "test",
        "moved_at": clock.now(),
    }
    connection.execute(insert(alias_moves).values(**(values | changes)))


SET = "UPDATE registered_model_aliases SET version = {} WHERE alias = 'production'"
FIRST = (
    "INSERT INTO registered_model_aliases (workspace, name, alias, version) "
    "VALUES ('default', 'model', 'production', {})"
)


@pytest.fixture
def client(store: Store, url: str) -> Iterator[MlflowClient]:
    """MLflow on a database whose model has three versions; the first is in production."""
    from mlflow import MlflowClient

    ensure_mlflow_tables(store)
    client = MlflowClient(driver_url(url), driver_url(url))
    client.create_registered_model("model")
    for number in (1, 2, 3):
        tags = {"headrace.table": "gold.features"}
        client.create_model_version("model", SOURCE.format(number), tags=tags)
    with store.begin() as connection:
        move(connection, None, 1)
        connection.execute(text(FIRST.format(1)))
    yield client
    client._get_registry_client().store.engine.dispose()


Attempt = Callable[["MlflowClient"], Any]

REFUSED: dict[str, tuple[str, Attempt]] = {
    "set": (guards.MOVES, lambda c: c.set_registered_model_alias("model", "production", "2")),
    "set in other letters": (
        guards.MOVES,
        lambda c: c.set_registered_model_alias("model", "Production", "2"),
    ),
    "delete": (guards.MOVES, lambda c: c.delete_registered_model_alias("model", "production")),
    "delete the version": (guards.HOLDS, lambda c: c.delete_model_version("model", "1")),
    "delete the model": (guards.MOVES, lambda c: c.delete_registered_model("model")),
    "rename the model": (guards.HOLDS, lambda c: c.rename_registered_model("model", "other")),
    "stage": (
        guards.STAGES,
        lambda c: c.transition_model_version_stage("model", "2", "Production"),
    ),
    "change a tag": (
        guards.TAGS,
        lambda c: c.set_model_version_tag("model", "2", "headrace.table", "gold.other"),
    ),
    "add evidence": (
        guards.TAGS,
        lambda c: c.set_model_version_tag("model", "2", "headrace.evidence", "0" * 64),
    ),
    "add a verdict": (
        guards.TAGS,
        lambda c: c.set_model_version_tag("model", "2", "headrace.verdict", "promoted"),
    ),
    "delete a tag": (
        guards.TAGS,
        lambda c: c.delete_model_version_tag("model", "1", "headrace.table"),
    ),
}


@pytest.mark.filterwarnings(
    # Stages are what is tested.
    "ignore:``mlflow.tracking.client.MlflowClient.transition_model_version_stage``:FutureWarning"
)
def test_each_way_around_the_gate_is_refused_with_a_sentence(
    client: MlflowClient, store: Store
) -> None:
    def state() -> Any:
        found = client.get_registered_model("model")
        versions = [
            (each.version, each.current_stage, dict(each.tags))
            for each in client.search_model_versions("name = 'model'")
        ]
        return dict(found.aliases), versions

    before = state()
    for name, (sentence, attempt) in REFUSED.items():
        with pytest.raises(MlflowException) as raised:
            attempt(client)
        assert sentence in str(raised.value), name
        assert raised.value.get_http_status_code() == 400, name
        assert state() == before, name


def test_a_version_brings_no_verdict_along(client: MlflowClient) -> None:
    # MLflow takes any refusal for another version of this number, and words it so.
    with pytest.raises(MlflowException, match="Model Version creation error"):
        client.create_model_version(
            "model", SOURCE.format(4), tags={"headrace.verdict": "promoted"}
        )
    assert len(client.search_model_versions("name = 'model'")) == 3


def test_what_is_not_protected_stays_free(client: MlflowClient) -> None:
    client.set_registered_model_alias("model", "staging", "2")
    client.set_registered_model_alias("model", "staging", "3")
    client.delete_registered_model_alias("model", "staging")
    client.set_registered_model_alias("model", "production", "1")  # where it is
    client.set_model_version_tag("model", "1", "owner", "ann")
    client.delete_model_version_tag("model", "1", "owner")
    client.update_model_version("model", "1", "the one that works")
    client.update_registered_model("model", "a model")
    client.delete_model_version("model", "3")
    client.create_registered_model("other")
    client.create_model_version("other", SOURCE.format(9), tags={"headrace.table": "t"})
    client.rename_registered_model("other", "another")
    client.delete_registered_model("another")
    assert [model.name for model in client.search_registered_models()] == ["model"]


def test_a_recorded_move_is_let_through_once(client: MlflowClient, store: Store) -> None:
    with store.begin() as connection:
        move(connection, 1, 2)
        connection.execute(text(SET.format(2)))
    assert client.get_model_version_by_alias("model", "production").version in ("2", 2)
    for target in ("1", "3"):
        with pytest.raises(MlflowException, match="moves only with its evidence"):
            client.set_registered_model_alias("model", "production", target)
    with store.begin() as connection:
        move(connection, 2, None, kind="overridden")
        connection.execute(text("DELETE FROM registered_model_aliases"))
    with pytest.raises(MlflowException, match="moves only with its evidence"):
        client.set_registered_model_alias("model", "production", "2")
    client.delete_registered_model("model")


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (None, 2, {}),  # from nowhere, though there is a champion
        (3, 2, {}),  # from another
        (1, 3, {}),  # to another
        (1, 2, {"model": "other"}),
        (1, 2, {"alias": "staging"}),
    ],
)
def test_a_record_of_another_move_opens_nothing(
    client: MlflowClient, store: Store, before: int | None, after: int, changes: dict[str, str]
) -> None:
    with store.begin() as connection:
        move(connection, before, after, **changes)
    with pytest.raises(MlflowException, match="moves only with its evidence"):
        client.set_registered_model_alias("model", "production", "2")


def test_an_older_record_does_not_count_whatever_its_time_says(
    client: MlflowClient, store: Store
) -> None:
    with store.begin() as connection:
        move(connection, 1, 2)
        move(connection, 1, 3, moved_at=clock.now().replace(year=2001))
    with pytest.raises(MlflowException, match="moves only with its evidence"):
        client.set_registered_model_alias("model", "production", "2")
    client.set_registered_model_alias("model", "production", "3")


def test_a_permit_ends_with_its_transaction(client: MlflowClient, store: Store) -> None:
    change = text("UPDATE model_version_tags SET value = 'x' WHERE version = 1")
    with store.begin() as connection, guards.permitted(connection, "model", 1):
        connection.execute(change)
    assert client.get_model_version("model", "1").tags == {"headrace.table": "x"}

    def interrupted() -> None:
        with store.begin() as connection, guards.permitted(connection, "model", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(MlflowException, match="written by the gate alone"):
        client.set_model_version_tag("model", "1", "headrace.table", "y")


def test_protection_follows_the_project_and_is_audited(client: MlflowClient, store: Store) -> None:
    client.set_registered_model_alias("model", "live", "2")
    guards.protect(store, ["Live", "production"], "ann")
    guards.protect(store, ["live", "production"], "bob")  # the same: nothing to tell
    with pytest.raises(MlflowException, match="moves only with its evidence"):
        client.set_registered_model_alias("model", "live", "3")
    with pytest.raises(MlflowException, match=r"What holds|moves only"):
        client.delete_model_version("model", "2")
    with store.reading() as connection:
        found = connection.execute(
            select(alias_moves.c.to_version, alias_moves.c.kind, alias_moves.c.model_id).where(
                alias_moves.c.alias == "live"
            )
        ).one()
    assert tuple(found) == (2, "found", f"m-{2:032x}")
    guards.protect(store, ["production"], "ann")
    client.set_registered_model_alias("model", "live", "3")
    entries = Audit(store).entries(action="aliases.protect")
    assert [(each.by, each.details) for each in entries] == [
        ("ann", {"before": ["live", "production"], "after": ["production"]}),
        ("ann", {"before": ["production"], "after": ["live", "production"]}),
    ]


def test_a_migration_of_mlflow_passes_and_the_guards_come_back(tmp_path: Any) -> None:
    """On SQLite its migrations make a table anew under its name, which drops the triggers."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from sqlalchemy import Column, String

    store = Store.open(f"sqlite:///{tmp_path}/headrace.db")
    ensure_mlflow_tables(store)
    assert not guards.install(store)
    # As MLflow opens it: without our pragmas.
    engine = create_engine(f"sqlite:///{tmp_path}/headrace.db")
    tables = sorted({guard.table for guard in guards.GUARDS})
    with engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        for table in tables:
            with operations.batch_alter_table(table, recreate="always") as batch:
                batch.add_column(Column("of_tomorrow", String(10)))
    engine.dispose()
    with store.reading() as connection:
        assert guards._installed(connection) == {}
    assert guards.install(store)
    with store.reading() as connection:
        assert len(guards._installed(connection)) == len(guards.GUARDS)
    store.close()


def test_a_guard_of_another_content_is_replaced(client: MlflowClient, store: Store) -> None:
    old = guards.Guard("registered_model_aliases", "DELETE", "OLD.alias = 'old'", "Of yesterday.")
    with store.begin() as connection:
        for statement in old.create(store.dialect):
            connection.exec_driver_sql(statement)
    client.set_registered_model_alias("model", "old", "2")
    with pytest.raises(MlflowException, match="Of yesterday"):
        client.delete_registered_model_alias("model", "old")
    assert guards.install(store)
    client.delete_registered_model_alias("model", "old")


def test_logged_models_of_the_champion_are_kept(
    client: MlflowClient, store: Store, tmp_path: Any
) -> None:
    experiment = client.create_experiment("one", artifact_location=tmp_path.as_uri())
    kept = client.create_logged_model(experiment)
    free = client.create_logged_model(experiment)
    with store.begin() as connection:
        move(connection, 1, 2, model_id=kept.model_id)
        connection.execute(text(SET.format(2)))
    with pytest.raises(MlflowException) as raised:
        client.delete_logged_model(kept.model_id)
    assert guards.sentence_in(str(raised.value)) == guards.HOLDS
    client.delete_logged_model(free.model_id)
