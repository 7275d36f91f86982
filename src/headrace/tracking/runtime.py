"""The circumstances of a training that its numbers can depend on, and predictions that do not."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

#: Variables that decide how many threads compute, and in which order they add up.
VARIABLES: Final = (
    "BLIS_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "MKL_CBWR", "MKL_DYNAMIC", "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "NPY_DISABLE_CPU_FEATURES", "OMP_DYNAMIC", "OMP_NUM_THREADS",
    "OMP_SCHEDULE", "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def runtime() -> dict[str, Any]:
    """Python, the processor, threads and the hash seed of this process, as JSON values.

    ``hash_seed`` is null where Python drew one by chance: then the order of a set of texts is
    another one in each process, and no other process can have the same.
    """
    from threadpoolctl import threadpool_info

    seed = os.environ.get("PYTHONHASHSEED", "random")
    pools = [
        {key: pool.get(key) for key in ("user_api", "internal_api", "version", "num_threads",
                                        "architecture") if pool.get(key) is not None}
        for pool in threadpool_info()
    ]  # fmt: skip
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": cpus(),
        "hash_seed": int(seed) if seed.isdecimal() else None,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "thread_pools": sorted(pools, key=str),
    }


def cpus() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


@contextmanager
def steady() -> Iterator[None]:
    """Predictions inside do not depend on which thread is done first.

    A forest adds up its trees' votes in the order in which its threads finish, and sums of
    floating-point numbers depend on the order.
    """
    from joblib import parallel_config  # type: ignore[import-untyped]

    with parallel_config(backend="sequential"):
        yield
