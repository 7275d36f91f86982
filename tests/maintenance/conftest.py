from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.lakehouse.conftest import spark as spark
from tests.pins.conftest import MakeTable as MakeTable
from tests.pins.conftest import PinIt as PinIt
from tests.pins.conftest import make_table as make_table
from tests.pins.conftest import pin_it as pin_it
from tests.pins.conftest import workspace as workspace

from headrace import clock

Later = Callable[[timedelta], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Moves the clock."""

    def move(by: timedelta) -> None:
        moment = datetime.now(UTC) + by
        monkeypatch.setattr(clock, "now", lambda: moment)

    return move
