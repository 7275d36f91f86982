"""Write raw files for the notebook: one Parquet file a day of pump telemetry, deterministic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

DAYS, DEVICES = 3, 20


def main() -> None:
    """Readings every five minutes; a worn pump runs hot and shakes."""
    rng = np.random.default_rng(7)
    worn = rng.random(DEVICES) < 0.4
    for day in range(1, DAYS + 1):
        times = pd.date_range(f"2026-01-{day:02}", periods=288, freq="5min", tz="UTC")
        frame = pd.DataFrame(
            {
                "device_id": np.repeat(np.arange(DEVICES), len(times)),
                "ts": np.tile(times, DEVICES),
            }
        )
        is_worn = np.repeat(worn, len(times))
        frame["temperature"] = rng.normal(60, 2, len(frame)) + 4 * is_worn
        frame["vibration"] = rng.gamma(2, 0.1, len(frame)) * (1 + is_worn)
        frame["fails"] = is_worn.astype("int32")
        frame["ts"] = frame["ts"].astype("datetime64[us, UTC]")
        path = Path("raw/telemetry") / f"day-{day:02}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, index=False)


if __name__ == "__main__":
    main()
