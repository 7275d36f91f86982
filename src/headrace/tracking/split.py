"""Which rows are held out. Pure: the same rows give the same split, in any order and process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from headrace.tracking.spec import Holdout

    Mask = NDArray[np.bool_]


def identities(columns: pd.DataFrame) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, the same in every process and on every machine.

    Numbers hash by value and not by width (an ``int`` 3 as a ``bigint`` 3), times as
    microseconds in UTC. SipHash of the values, combined over the columns by pandas.
    """
    import numpy as np
    import pandas as pd
    from pandas.util import hash_pandas_object

    plain = pd.DataFrame(index=range(len(columns)))
    for position, name in enumerate(columns.columns):
        # By position: renaming a column must not move rows between the parts.
        plain[position] = _plain(columns[name]).to_numpy()
    if plain.shape[1] == 0:
        raise ValueError("an identity needs at least one column")
    return np.asarray(hash_pandas_object(plain, index=False, categorize=False), np.uint64)


def _plain(values: pd.Series) -> pd.Series:
    import pandas as pd

    if pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("int64")
    if pd.api.types.is_integer_dtype(values.dtype):
        return values.astype("int64")
    if pd.api.types.is_float_dtype(values.dtype):
        return values.astype("float64")
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return pd.to_datetime(values, utc=True).astype("datetime64[us, UTC]").astype("int64")
    return values.astype(str)


def uniform(columns: pd.DataFrame) -> NDArray[np.float64]:
    """A number in [0, 1) for each row, made of its hash alone."""
    import numpy as np

    return (identities(columns) >> np.uint64(11)).astype(np.float64) / 2.0**53


def split(
    rule: Holdout,
    *,
    time: pd.Series | None,
    group: pd.Series | None,
    key: pd.DataFrame,
    embargo: timedelta | None = None,
) -> tuple[Mask, Mask]:
    """The rows to train on and the rows to measure on; an embargo leaves rows to neither.

    Args:
        rule: the hold-out rule.
        time: time of each row, without nulls; for rules by time.
        group: group of each row, for a rule by group: a group is held out as a whole.
        key: identity of each row, for a rule by hash.
        embargo: rows closer than this before the cut are not trained on.

    Returns:
        Two masks of shape (rows,). Rows at the same moment are on the same side of a cut, so a
        ``last`` rule may hold out a little more than its share.
    """
    import numpy as np
    import pandas as pd

    if rule.by_time:
        assert time is not None  # noqa: S101  # the spec's validator asks for it
        moments = pd.to_datetime(time, utc=True)
        if rule.cutoff is not None:
            cut = pd.Timestamp(rule.cutoff)
        elif len(moments) == 0:
            return np.zeros(0, bool), np.zeros(0, bool)
        else:
            assert rule.last is not None  # noqa: S101  # the only other rule by time
            kept = math.ceil(len(moments) * (1 - rule.last) - 1e-9)
            cut = moments.sort_values(ignore_index=True)[min(kept, len(moments) - 1)]
        held = (moments >= cut).to_numpy()
        trained = (moments < (cut - embargo if embargo else cut)).to_numpy()
        return trained, held
    if rule.group is not None:
        assert group is not None  # noqa: S101  # the spec's validator asks for it
        held = uniform(group.to_frame()) < rule.group
    else:
        held = uniform(key) < (rule.hash or 0)
    return ~held, held
