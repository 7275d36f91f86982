from __future__ import annotations

from pathlib import Path

import pytest

from headrace.catalog import (
    Catalog,
    LocationTakenError,
    NameTakenError,
    Store,
    TableName,
    TableNotFoundError,
)


def test_a_new_table_is_managed_and_lies_in_the_warehouse(catalog: Catalog, tmp_path: Path) -> None:
    entry = catalog.create_table("gold.Features", comment="per device")
    assert entry.name == TableName("main", "gold", "features")
    assert entry.location == str(tmp_path / "warehouse/main/gold/features")
    assert (entry.kind, entry.managed, entry.comment) == ("table", True, "per device")
    assert catalog.resolve("GOLD.features") == entry
    assert catalog.location_for("gold.features") == Path(entry.location)


def test_registering_again_changes_nothing(catalog: Catalog) -> None:
    first = catalog.create_table("gold.features", comment="first")
    assert catalog.create_table("gold.features", comment="second") == first
    assert catalog.list() == [first]


def test_an_external_table_keeps_its_place(catalog: Catalog, tmp_path: Path) -> None:
    entry = catalog.create_table("raw.events", location=tmp_path / "elsewhere" / "events")
    assert entry.location == str(tmp_path / "elsewhere" / "events")
    assert not entry.managed
    assert catalog.at_location(tmp_path / "elsewhere" / "events") == entry.name


def test_a_name_is_not_moved_by_accident(catalog: Catalog, tmp_path: Path) -> None:
    catalog.create_table("raw.events", location=tmp_path / "one")
    with pytest.raises(NameTakenError, match="two"):
        catalog.create_table("raw.events", location=tmp_path / "two")


def test_two_names_do_not_share_a_directory(catalog: Catalog, tmp_path: Path) -> None:
    catalog.create_table("raw.events", location=tmp_path / "one")
    with pytest.raises(LocationTakenError) as caught:
        catalog.create_table("raw.others", location=tmp_path / "one")
    assert caught.value.owner == "main.raw.events"
    assert catalog.find("raw.others") is None


def test_at_location_knows_managed_tables_and_nothing_else(
    catalog: Catalog, tmp_path: Path
) -> None:
    entry = catalog.create_table("gold.features")
    assert catalog.at_location(tmp_path / "warehouse/main/gold/features") == entry.name
    assert catalog.at_location(tmp_path / "warehouse/main/gold/feature") is None
    (tmp_path / "link").symlink_to(tmp_path / "warehouse")
    assert catalog.at_location(tmp_path / "link/main/gold/features") == entry.name
    with pytest.raises(LocationTakenError):
        catalog.create_table("gold.again", tmp_path / "link/main/gold/features")


def test_a_project_may_move(store: Store, catalog: Catalog, tmp_path: Path) -> None:
    catalog.create_table("gold.features")
    moved = Catalog(store, tmp_path / "moved")
    assert moved.resolve("gold.features").location == str(tmp_path / "moved/main/gold/features")


def test_an_unknown_table_gets_a_suggestion_as_it_was_typed(catalog: Catalog) -> None:
    catalog.create_table("gold.features")
    with pytest.raises(TableNotFoundError) as caught:
        catalog.resolve("gold.featurs")
    assert caught.value.why == 'did you mean "gold.features"?'
    with pytest.raises(TableNotFoundError) as caught:
        catalog.resolve("main.gold.featurs")
    assert caught.value.why == 'did you mean "main.gold.features"?'
    assert caught.value.status == 404


def test_find_gives_none_for_an_unknown_table(catalog: Catalog) -> None:
    assert catalog.find("gold.features") is None


def test_a_view_keeps_its_query(catalog: Catalog) -> None:
    entry = catalog.create_view("gold.recent", "SELECT * FROM gold.features")
    assert (entry.kind, entry.location) == ("view", None)
    assert catalog.resolve("gold.recent").definition == "SELECT * FROM gold.features"


def test_a_view_is_replaced_only_when_asked(catalog: Catalog) -> None:
    catalog.create_view("gold.recent", "SELECT 1")
    with pytest.raises(NameTakenError):
        catalog.create_view("gold.recent", "SELECT 2")
    assert catalog.create_view("gold.recent", "SELECT 3", replace=True).definition == "SELECT 3"


def test_tables_and_views_do_not_replace_each_other(catalog: Catalog) -> None:
    catalog.create_table("gold.features")
    catalog.create_view("gold.recent", "SELECT 1")
    with pytest.raises(NameTakenError, match="is a table already"):
        catalog.create_view("gold.features", "SELECT 1", replace=True)
    with pytest.raises(NameTakenError, match="is a view already"):
        catalog.create_table("gold.recent")
    assert catalog.resolve("gold.features").definition is None


def test_list_and_schemas(catalog: Catalog) -> None:
    for name in ("silver.b", "gold.a", "silver.a", "lab.silver.z"):
        catalog.create_table(name)
    assert [str(entry.name) for entry in catalog.list()] == [
        "lab.silver.z",
        "main.gold.a",
        "main.silver.a",
        "main.silver.b",
    ]
    assert [entry.name.name for entry in catalog.list("silver")] == ["a", "b"]
    assert [entry.name.name for entry in catalog.list("lab.silver")] == ["z"]
    assert catalog.schemas() == ["lab.silver", "main.gold", "main.silver"]


def test_drop_takes_the_files_of_a_managed_table(catalog: Catalog) -> None:
    location = Path(catalog.create_table("gold.features").location or "")
    (location / "_delta_log").mkdir(parents=True)
    catalog.drop("gold.features")
    assert catalog.find("gold.features") is None
    assert list(location.parent.iterdir()) == []


def test_drop_leaves_the_files_of_an_external_table(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    catalog.create_table("raw.events", location=tmp_path / "events")
    catalog.drop("raw.events")
    assert (tmp_path / "events").is_dir()


def test_drop_of_an_unknown_table_is_an_error(catalog: Catalog) -> None:
    with pytest.raises(TableNotFoundError):
        catalog.drop("gold.features")


def test_a_drop_that_cannot_move_the_files_keeps_the_name(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Path(catalog.create_table("gold.features").location or "")
    location.mkdir(parents=True)

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        catalog.drop("gold.features")
    assert catalog.find("gold.features") is not None
    assert location.is_dir()
