"""The check for leaks: rows to train on beside frozen rows, from the pinned table version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from headrace import lakehouse
from headrace.gate import leaks
from headrace.gate.findings import LeakCheck
from headrace.promotion.scores import task_of
from headrace.tracking import TrainingSpec
from headrace.tracking import store as trainings
from headrace.tracking.data import digest_key, encode
from headrace.tracking.split import split

if TYPE_CHECKING:
    from datetime import timedelta

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.gate.metrics import Task
    from headrace.gate.spec import GateSpec
    from headrace.promotion.scores import Contender
    from headrace.tracking.holdout import HoldoutRows
    from headrace.workspace import Workspace

    Mask = NDArray[np.bool_]

_MOST_ROWS: Final = 50_000  # for a feature that tells the label; more do not sharpen it
_TOLD: Final = 10  # such features


@dataclass(frozen=True)
class _Rows:
    """The table that a candidate was trained from, and how its rows were divided.

    Attributes:
        spec: by which it was trained.
        table: all rows, at the version that it read.
        features: its inputs.
        trained, held: which rows are on which side; an embargo leaves some on neither.
        labels: the classes in the order of their codes; ``None`` in a regression.
        task: what the labels are.
    """

    spec: TrainingSpec
    table: pa.Table
    features: tuple[str, ...]
    trained: Mask
    held: Mask
    labels: list[Any] | None
    task: Task

    @cached_property
    def time(self) -> pd.Series | None:
        return _time(self.table, self.spec)

    def values(self, name: str, rows: Any = None) -> NDArray[Any]:
        """A column as numbers (NaN for null) or texts (``None`` for null)."""
        import numpy as np
        import pyarrow as pa

        column = self.table.column(name)
        if rows is not None:
            column = column.take(pa.array(rows))
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_temporal(kind):
            column = column.cast(pa.timestamp("us")) if not pa.types.is_time(kind) else column
            column = column.cast(pa.int64())
        elif pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        elif pa.types.is_decimal(kind):
            column = column.cast(pa.float64(), safe=False)
        values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values.astype(np.float64) if values.dtype.kind in "iu" else values


def leak_checks(
    workspace: Workspace,
    training: TrainingSpec,
    gate: GateSpec,
    candidate: Contender,
    held: HoldoutRows,
) -> tuple[LeakCheck, ...]:
    """Each check that the gate asks for, with its numbers.

    The rows are read again from the version of the table that the candidate was trained from,
    and divided again by the rule that it was trained by.

    Args:
        workspace: the project.
        training: the spec of a version whose own is not on record.
        gate: which checks, and which columns are accepted.
        candidate: the candidate.
        held: its frozen rows.
    """
    rows = _rows(workspace, training, candidate, held)
    rules = gate.leaks
    found: list[LeakCheck] = []
    if rules.rows != "skip":
        found.append(_shared_rows(rows, rules.max_shared))
    if rules.groups != "skip":
        found.append(_shared_groups(rows))
    if rules.label != "skip":
        found += _label_features(rows, set(rules.accept), rules.suspect_label)
    if rules.times != "skip":
        found += _later_times(rows, set(rules.accept))
    found.append(_horizon(rows, rules.horizon))
    return tuple(found)


def _rows(
    workspace: Workspace, training: TrainingSpec, candidate: Contender, held: HoldoutRows
) -> _Rows:
    record, version = held.record, candidate.version
    known = trainings.last(workspace.store, version.name, run_id=version.run_id)
    spec = training if known is None else TrainingSpec.model_validate_json(known.spec)
    location = workspace.catalog.resolve(record.table_name).location
    assert location is not None  # noqa: S101  # the frozen rows were read from it
    there = lakehouse.schema(location, record.table_version).names
    features = tuple(name for name in there if name in candidate.inputs)
    wanted = {*features, *spec.key, *(record.hashed or ()), spec.label, spec.time, spec.group}
    columns = [name for name in there if name in wanted]
    table = lakehouse.read(location, version=record.table_version, columns=columns)
    trained, apart = _split(table, spec, record.hashed)
    return _Rows(spec, table, features, trained, apart, record.labels, task_of(record))


def _split(table: pa.Table, spec: TrainingSpec, hashed: list[str] | None) -> tuple[Mask, Mask]:
    """As training divided them; a key is made only where the rule draws from it."""
    import pandas as pd

    key = pd.DataFrame(index=range(table.num_rows))
    if spec.holdout.hash is not None:
        key = digest_key(table, hashed) if hashed else table.select(spec.key).to_pandas()
    group = table.column(spec.group).to_pandas() if spec.group else None
    return split(spec.holdout, time=_time(table, spec), group=group, key=key, embargo=spec.embargo)


def _time(table: pa.Table, spec: TrainingSpec) -> pd.Series | None:
    import pandas as pd

    if spec.time is None:
        return None
    time: pd.Series = table.column(spec.time).to_pandas()
    numeric = pd.api.types.is_numeric_dtype(time)
    return time if numeric else pd.to_datetime(time, format="ISO8601", utc=True)


def _shared_rows(rows: _Rows, bound: float) -> LeakCheck:
    import numpy as np

    names = (*rows.features, rows.spec.label)
    # One column at a time: those of a wide table would fill the memory.
    whole = np.zeros(rows.table.num_rows, np.uint64)
    for place, name in enumerate(names):
        whole += leaks.column_hash(rows.values(name), place)
    share = leaks.shared_rows(whole[rows.trained], whole[rows.held])
    note, advisory = None, False
    if share > bound:
        used = rows.trained | rows.held
        each = (
            leaks.column_hash(rows.values(name), place)[used] for place, name in enumerate(names)
        )
        near = leaks.coincidences(whole[used], each, rows.trained[used], share)
        advisory = near > 1.5 * share
        note = f"{near * 100:.3g} % agree in all columns but one" + (
            ": the columns are coarse, and rows agree by coincidence" if advisory else ""
        )
    count = int(rows.held.sum())
    return LeakCheck(
        check="rows",
        columns=names,
        measure="share of hold-out rows",
        value=share,
        rows=count,
        of=count,
        advisory=advisory,
        note=note,
    )


def _shared_groups(rows: _Rows) -> LeakCheck:
    import pyarrow.compute as pc

    group = rows.spec.group
    if group is None:
        return LeakCheck(
            check="groups",
            columns=(),
            measure="groups",
            value=None,
            rows=0,
            of=0,
            note="the model names no group",
        )
    column = rows.table.column(group)
    trained, held = (pc.unique(column.filter(mask)) for mask in (rows.trained, rows.held))
    shared = pc.sum(pc.is_in(held, value_set=trained)).as_py() or 0
    by_time = rows.spec.holdout.by_time
    return LeakCheck(
        check="groups",
        columns=(group,),
        measure="groups",
        value=shared,
        rows=len(held),
        of=len(held),
        advisory=by_time,
        note="a hold-out by time has the same groups before and after" if by_time else None,
    )


def _label_features(rows: _Rows, accepted: set[str], suspect: float) -> Iterator[LeakCheck]:
    """The feature that tells most of the label, and all others that tell too much."""
    import numpy as np

    used = np.flatnonzero(rows.trained | rows.held)
    y = np.asarray(encode(rows.table.column(rows.spec.label).to_pandas(), rows.labels), np.float64)
    chosen = _sample(y[used], rows.task)
    sampled = used if chosen is None else used[chosen]
    y = y[sampled]
    scarcest = min(y.sum(), len(y) - y.sum()) if rows.task == "binary" else len(y)
    scarce = scarcest < leaks.SCARCE
    notes = [f"accepted: {', '.join(sorted(accepted))}"] if accepted else []
    if scarce:
        notes.append(f"{scarcest:.0f} rows of the rarer class: it can be luck")
    told = [
        (leaks.told_by(rows.values(name, sampled), y, rows.task), name)
        for name in rows.features
        if name not in accepted
    ]
    told.sort(key=lambda each: (-each[0], each[1]))
    for at, (value, name) in enumerate(told[:_TOLD]):
        if at == 0 or value > suspect:
            yield LeakCheck(
                check="label",
                columns=(name,),
                measure=leaks.MEASURES[rows.task],
                value=value,
                rows=len(sampled),
                of=len(used),
                advisory=scarce,
                note="; ".join(notes) or None,
            )
    if not told:
        notes.append("every feature is accepted")
        yield LeakCheck(
            check="label",
            columns=(),
            measure=leaks.MEASURES[rows.task],
            value=None,
            rows=0,
            of=len(used),
            note="; ".join(notes),
        )


def _sample(y: NDArray[np.float64], task: Task) -> NDArray[np.intp] | None:
    """Rows to look at; of two classes up to half of them are of the rarer one."""
    import numpy as np

    if len(y) <= _MOST_ROWS:
        return None
    rng = np.random.default_rng(0)
    if task != "binary":
        return np.sort(rng.choice(len(y), _MOST_ROWS, replace=False))
    rare = 1.0 if y.sum() * 2 <= len(y) else 0.0
    few, many = np.flatnonzero(y == rare), np.flatnonzero(y != rare)
    few = rng.permutation(few)[: _MOST_ROWS // 2]
    return np.sort(np.r_[few, rng.permutation(many)[: _MOST_ROWS - len(few)]])


def _later_times(rows: _Rows, accepted: set[str]) -> Iterator[LeakCheck]:
    """Times among the features; one check for each that is later somewhere, or one for all."""
    import pandas as pd
    import pyarrow as pa

    kinds = {name: rows.table.schema.field(name).type for name in rows.features}
    times = [
        name
        for name, kind in kinds.items()
        if (pa.types.is_timestamp(kind) or pa.types.is_date(kind)) and name not in accepted
    ]
    used = rows.trained | rows.held
    count = int(used.sum())
    own = rows.time
    why = None
    if not times:
        why = "no feature is a time"
    elif own is None or pd.api.types.is_numeric_dtype(own):
        why = "the model names no time of a row"
    if why is not None or own is None:
        yield LeakCheck(
            check="times", columns=(), measure="rows", value=None, rows=0, of=count, note=why
        )
        return
    late = []
    for name in times:
        values = rows.table.column(name).cast(pa.timestamp("us")).to_pandas()
        later = pd.to_datetime(values, utc=True) > own
        late.append((int(later[used].sum()), name))
    worst = [each for each in late if each[0]] or [(0, ", ".join(times))]
    for value, name in worst:
        yield LeakCheck(
            check="times", columns=(name,), measure="rows", value=value, rows=count, of=count
        )


def _horizon(rows: _Rows, given: timedelta | None) -> LeakCheck:
    """Training rows whose label looks into the hold-out's time."""
    import pandas as pd

    label, own = rows.spec.label, rows.time
    ahead = given or leaks.horizon_of(label)
    why = None
    if not rows.spec.holdout.by_time:
        why = "the hold-out is not by time"
    elif ahead is None:
        why = f"no horizon is given, and the name {label} tells none"
    elif own is None or pd.api.types.is_numeric_dtype(own):
        why = "the time of a row is a number without a unit"
    count = int(rows.trained.sum())
    if why is not None or own is None or ahead is None:
        return LeakCheck(
            check="horizon", columns=(), measure="rows", value=None, rows=0, of=count, note=why
        )
    start = own[rows.held].min()
    close = int((own[rows.trained] > start - ahead).sum())
    seconds = f"{ahead.total_seconds():g} s"
    return LeakCheck(
        check="horizon",
        columns=(label,),
        measure="rows",
        value=close,
        rows=count,
        of=count,
        note=None if given else f"a horizon of {seconds}, by the name {label}",
    )
