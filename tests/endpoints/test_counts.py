"""The counts of an endpoint are exact, whatever the shipper does meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.planes import make_root, spec, unprotect
from tests.requestlog.records import served

from headrace.endpoints import declare, endpoint_status, status
from headrace.requestlog.shipper import Shipper
from headrace.requestlog.spool import SpoolWriter
from headrace.workspace import Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(make_root(tmp_path / "project").root)
    unprotect(opened)
    declare(opened, spec())
    yield opened
    opened.close()


@pytest.mark.parametrize("alive", [True, False], ids=["writer alive", "writer gone"])
def test_what_is_shipped_while_it_is_counted_is_counted_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    shipper = Shipper(workspace.paths.spool, workspace.store, workspace.catalog)
    listed = status._spooled

    def shipped_after(*arguments: Any) -> Any:
        found = listed(*arguments)
        shipper.ship()
        return found

    monkeypatch.setattr(status, "_spooled", shipped_after)
    with SpoolWriter(workspace.paths.spool) as writer:
        writer.append(served(1))
        writer.rotate()
        if not alive:
            writer.close()
        assert endpoint_status(workspace, "scores").served == 1
        assert endpoint_status(workspace, "scores").served == 1
