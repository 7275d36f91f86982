"""Table properties."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from headrace import lakehouse


def test_properties_are_set_once(tmp_path: Path) -> None:
    lakehouse.write(tmp_path, pa.table({"id": [1]}))
    assert lakehouse.set_properties(tmp_path, {"quality": "gold", "team": "a"}) == 1
    assert lakehouse.set_properties(tmp_path, {"quality": "gold"}) == 1
    assert lakehouse.set_properties(tmp_path, {"quality": "silver"}) == 2
    assert DeltaTable(tmp_path).metadata().configuration == {"quality": "silver", "team": "a"}


def test_properties_change_no_rows(tmp_path: Path) -> None:
    lakehouse.write(tmp_path, pa.table({"id": [1]}))
    lakehouse.set_properties(tmp_path, {"quality": "gold"})
    assert lakehouse.added_files(tmp_path, 0, 1) == []


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(lakehouse.NotADeltaTableError):
        lakehouse.set_properties(tmp_path, {"quality": "gold"})


def test_value_that_delta_refuses(tmp_path: Path) -> None:
    lakehouse.write(tmp_path, pa.table({"id": [1]}))
    with pytest.raises(lakehouse.StorageError, match="cannot be read or written") as caught:
        lakehouse.set_properties(tmp_path, {"delta.enableChangeDataFeed": "maybe"})
    assert "enableChangeDataFeed" in str(caught.value)
