"""Maintenance: tables stay small, and keep what models and readers need.

::

    for report in maintain(workspace, MaintenanceSpec()):
        print(report.table, report.freed, [(str(pin), pin.bytes) for pin in report.pins])
"""

from __future__ import annotations

from headrace.maintenance.errors import NothingToMaintainError as NothingToMaintainError
from headrace.maintenance.maintain import maintain as maintain
from headrace.maintenance.report import PinCost as PinCost
from headrace.maintenance.report import TableReport as TableReport
from headrace.maintenance.spec import MaintenanceSpec as MaintenanceSpec
from headrace.maintenance.spec import TableMaintenance as TableMaintenance

__all__ = [
    "MaintenanceSpec",
    "NothingToMaintainError",
    "PinCost",
    "TableMaintenance",
    "TableReport",
    "maintain",
]
