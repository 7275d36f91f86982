"""Scoring rows that are at hand, the way a table's rows are scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.errors import HeadraceError
from headrace.scoring import predict
from headrace.scoring.errors import RowsNotScoredError
from headrace.scoring.model import LocalModel, fetch, prediction_columns
from headrace.scoring.recovery import cause
from headrace.scoring.scorers import Chosen, choose, sent_whole

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.registry import ModelVersion
    from headrace.workspace import Workspace

_ROW: Final = "headrace_row"
_ROWS: Final = "given rows"


@dataclass(frozen=True)
class SampleScores:
    """Predictions of given rows.

    Attributes:
        answers: the prediction columns, in the order of the rows.
        scorer: what predicted them: ``kernel DIGEST``, ``environment DIGEST`` or ``pyfunc``.
    """

    answers: pa.Table
    scorer: str


def fetched(workspace: Workspace, version: ModelVersion) -> Path:
    """The directory that batch scoring reads a version from; see ``model.fetch``."""
    return fetch(workspace, version, _ROWS).path


def score_rows(workspace: Workspace, version: ModelVersion, rows: pa.Table) -> SampleScores:
    """Predict rows on the engine, with what would predict a table's; nothing is written.

    Args:
        workspace: the project.
        version: whose model.
        rows: with the columns that the model takes; one or more.

    Raises:
        ScoringError: the model cannot be used, or does not score these rows.
        EnvironmentBuildError: its environment cannot be built.
    """
    model = fetch(workspace, version, _ROWS)
    with choose(model, model.inputs, _ROWS) as chosen:
        try:
            return SampleScores(_scored(workspace, model, chosen, rows), chosen.name)
        except HeadraceError:
            raise
        except Exception as error:
            raise RowsNotScoredError(model.name, cause(error)) from error


def _scored(workspace: Workspace, model: LocalModel, chosen: Chosen, rows: pa.Table) -> pa.Table:
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import LongType, StructField, StructType

    columns = prediction_columns(model, chosen.scorer, rows.slice(0, 16), _ROWS, [_ROW])
    numbered = rows.append_column(_ROW, pa.array(range(rows.num_rows), pa.int64()))
    schema = StructType(
        [StructField(_ROW, LongType())]
        + [StructField(name, from_arrow_type(pa.type_for_alias(kind))) for name, kind in columns]
    )
    with sent_whole(), workspace.engine.recording(persist=False):
        found: pa.Table = (
            workspace.spark()
            .createDataFrame(numbered)
            .mapInArrow(predict.predictor(chosen.scorer, [_ROW], columns), schema)
            .toArrow()
        )
    return found.sort_by(_ROW).drop_columns([_ROW])
