"""What to score: the input table, the model, and what identifies a row."""

from __future__ import annotations

import hashlib
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headrace.registry.reference import PinnedModel

#: Columns that every table of predictions has beside its key and the model's own columns.
RECORD_COLUMNS: Final = (
    "model_name",
    "model_version",
    "model_id",
    "input_table",
    "input_version",
    "run_id",
    "scoring_run",
    "scored_at",
    "row_digest",
)


class PredictionSpec(BaseModel):
    """A table of predictions.

    Attributes:
        table: the table to write.
        model: ``name@alias`` or ``name/version``.
        input: the table to score.
        key: columns that identify a row of the input; the key that the model was trained with
            if left empty.
        columns: further input columns to carry into the table, unchanged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str = Field(min_length=1)
    model: PinnedModel
    input: str = Field(min_length=1)
    key: list[str] = Field(default_factory=list)
    columns: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> PredictionSpec:
        taken = [*self.key, *self.columns]
        repeated = sorted({name for name in taken if taken.count(name) > 1})
        if repeated:
            raise ValueError(f"columns named more than once in key and columns: {repeated}")
        reserved = sorted(set(taken) & set(RECORD_COLUMNS))
        if reserved:
            raise ValueError(f"columns that a table of predictions writes itself: {reserved}")
        return self

    def digest(self) -> str:
        """Hash of all that decides how the table looks, for freshness."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
