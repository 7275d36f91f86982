"""How long the past of tables stays: the section ``maintenance`` of ``headrace.yaml``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from headrace.catalog import TableName
from headrace.durations import Duration
from headrace.lakehouse.maintenance import RETENTION_FLOOR

_DAY: Final = timedelta(days=1)


def _long_enough(value: timedelta) -> timedelta:
    if value < RETENTION_FLOOR:
        days = RETENTION_FLOOR // _DAY
        raise ValueError(f"it is under {days} days, and writers and readers may still need it")
    return value


Retention = Annotated[Duration, AfterValidator(_long_enough)]


class TableMaintenance(BaseModel):
    """What is different for one table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retention: Retention = Field(description="how long every version of it stays readable")


class MaintenanceSpec(BaseModel):
    """What ``headrace maintain`` keeps beside what pins need."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retention: Retention = Field(
        default=RETENTION_FLOOR,
        description="how long every version of a table stays readable; 7d or more",
    )
    log_retention: Retention = Field(
        default=30 * _DAY, description="how long the history of a table tells of each version"
    )
    pins: Duration | None = Field(
        default=365 * _DAY,
        description="how long a model version keeps its pins that no alias names and no "
        "endpoint serves; null: for good",
    )
    tables: dict[str, TableMaintenance] = Field(
        default_factory=dict, description="tables with a retention of their own, by name"
    )

    @field_validator("tables")
    @classmethod
    def _qualified(cls, value: dict[str, TableMaintenance]) -> dict[str, TableMaintenance]:
        return {str(TableName.parse(name)): table for name, table in value.items()}

    def retention_of(self, table: str) -> timedelta:
        """How long every version of a table stays readable.

        Args:
            table: its qualified name.
        """
        own = self.tables.get(table)
        return self.retention if own is None else own.retention
