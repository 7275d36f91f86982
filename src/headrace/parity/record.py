"""What a model's directory says that the training process answered.

``headrace.tracking.answers`` writes it. The scoring plane reads it too: nothing here needs pandas,
MLflow or the training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.parity.errors import RecordDamagedError
from headrace.tracking.answers import ANSWERS as ANSWERS
from headrace.tracking.answers import DIRECTORY as DIRECTORY
from headrace.tracking.answers import FACTS as FACTS
from headrace.tracking.answers import FORMAT as FORMAT
from headrace.tracking.answers import ROWS as ROWS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Recorded:
    """Rows of the hold-out and the training process's answers to them.

    Attributes:
        inputs: the rows, with the model's columns in the types of its signature.
        scores: one a row.
        labels: one a row; ``None`` of a regression.
        margins: how far each row is from another label, 0 where that is not known.
        digest: sha256 of the record's description, which names the digests of its files.
        answered_by: the fitted model, or the saved one.
        python: the version of Python that answered.
        libraries: the versions of the libraries that matter for answers.
        seed: with which the rows were drawn.
        of: rows of the hold-out.
    """

    inputs: pa.Table
    scores: NDArray[np.float64]
    labels: list[Any] | None
    margins: NDArray[np.float64] | None
    digest: str
    answered_by: str
    python: str
    libraries: Mapping[str, str]
    seed: int
    of: int

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.scores)

    def without(self, rows: Collection[int]) -> Recorded:
        """The record of the other rows."""
        import pyarrow as pa

        kept = [row for row in range(self.rows) if row not in rows]
        return replace(
            self,
            inputs=self.inputs.take(pa.array(kept, pa.int64())),
            scores=self.scores[kept],
            labels=None if self.labels is None else [self.labels[row] for row in kept],
            margins=None if self.margins is None else self.margins[kept],
        )


def recorded(model: Path) -> Recorded | None:
    """The record in a model's directory; ``None`` where the training left none.

    Raises:
        RecordDamagedError: a file of it is gone, or is not the one that was written.
    """
    home = model / DIRECTORY
    try:
        text = (home / FACTS).read_bytes()
    except FileNotFoundError:
        if home.is_dir():
            raise RecordDamagedError(home, f"{FACTS} is gone") from None
        return None
    facts = _facts(home, text)
    tables = {name: _table(home, name, facts["digests"].get(name)) for name in (ROWS, ANSWERS)}
    answers = tables[ANSWERS]
    if not answers.num_rows == tables[ROWS].num_rows == facts["rows"]:
        raise RecordDamagedError(home, "it has not one answer a row")
    named = answers.column_names
    return Recorded(
        inputs=tables[ROWS],
        scores=_doubles(answers, "score"),
        labels=answers.column("label").to_pylist() if "label" in named else None,
        margins=_doubles(answers, "margin") if "margin" in named else None,
        digest=hashlib.sha256(text).hexdigest(),
        answered_by=str(facts["answered_by"]),
        python=str(facts["python"]),
        libraries=dict(facts["libraries"]),
        seed=int(facts["seed"]),
        of=int(facts["holdout_rows"]),
    )


def _facts(home: Path, text: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(text)
        if facts["format"] != FORMAT:
            raise RecordDamagedError(home, f"its format is {facts['format']}, not {FORMAT}")
        for name in ("rows", "digests", "answered_by", "python", "libraries", "seed"):
            facts[name]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordDamagedError(home, f"{FACTS} cannot be read: {error!r}") from error
    return dict(facts)


def _table(home: Path, name: str, digest: str | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = (home / name).read_bytes()
    except FileNotFoundError:
        raise RecordDamagedError(home, f"{name} is gone") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise RecordDamagedError(home, f"{name} is not the file that the training wrote")
    # Not read_table, which imports pandas.
    return pq.ParquetFile(pa.BufferReader(content)).read()


def _doubles(table: pa.Table, name: str) -> NDArray[np.float64]:
    import numpy as np

    # By its values: pyarrow's own way to numpy imports pandas.
    return np.array(table.column(name).to_pylist(), np.float64)
