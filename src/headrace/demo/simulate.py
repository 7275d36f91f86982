"""Telemetry of a made-up fleet of pumps, with the flaws of real telemetry.

The generative process, in steps of eight minutes:

*Fleet.* Each device has a model, a site and an installation date, and its own levels of
temperature, pressure, vibration and load. Devices differ among themselves by about as much as
a healthy device differs from an ailing one, so a level alone says little: what tells is the
change against the device's own past.

*Load* (percent) follows the shifts of the site, a daily wave plus first-order autoregressive
noise. Temperature (degrees Celsius) and vibration (mm/s) rise with load, pressure (bar) falls.

*Wear*, which no sensor measures, grows with the square of the load from about 0 after a repair
to the device's threshold near 1, within some 24 days. A device fails when wear reaches the
threshold. One failure in eight or so is a shock, independent of wear, that nothing announces.

*Symptoms* grow exponentially as wear nears the threshold, with a time constant of about a day,
and differ in strength from failure to failure. The cause decides which sensors show them: a
worn bearing shakes and warms, a leak loses pressure, a blocked cooler heats. A device that
failed is silent for two to ten hours while it is repaired, and starts with little wear.

*Defects*, with the share of readings unless said otherwise:

==================  =====  ============================================================
defect              share  what happens
==================  =====  ============================================================
late                1 %    arrives up to two days later, in the file of a later batch
duplicate           0.5 %  is sent twice
dropped             1.5 %  never arrives
outage              4 %    of device days: nothing arrives for one to five hours
null                0.5 %  of each sensor's values
out of range        0.2 %  a value no working sensor reports, such as -999
wrong unit          3 %    of devices: firmware 2.1.0 reports Fahrenheit for two days
==================  =====  ============================================================

Every random number comes from ``(seed, day)``: the same arguments give the same files, and
``simulate(..., first_day=30, days=2)`` continues a month that was simulated before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.demo.fleet import CAUSES, SITES, STEP_MINUTES, STEPS_A_DAY, Day, Fleet, Process
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from headrace.demo.fleet import Flags, Floats, Ints

START: Final = datetime(2026, 5, 1, tzinfo=UTC)
SENSORS: Final = ("temperature", "pressure", "vibration", "load")

BATCHES_A_DAY: Final = 4
STEPS_A_BATCH: Final = STEPS_A_DAY // BATCHES_A_DAY
LONGEST_DELAY: Final = 2 * BATCHES_A_DAY  # batches

_IMPOSSIBLE: Final = (-999.0, 999.0, -1.0, 255.0)  # one for each sensor


class SimulationArgumentError(HeadraceError):
    """An argument of the simulation that makes no fleet or no time."""

    code = "simulation_argument"

    def __init__(self, argument: str, value: object, least: int) -> None:
        self.argument = argument
        self.value = value
        self.least = least
        super().__init__(
            f"The simulation cannot run with {argument}={value}.",
            why=f"{argument} must be at least {least}",
            next=f"pass {argument}={least} or more",
        )


@dataclass(frozen=True)
class Simulation:
    """What was written.

    Attributes:
        rows: telemetry rows in the files written, duplicates included.
        files: telemetry files written.
        failures: failures within the days written.
        defects: how often each defect was injected, by its name in the module's docstring.
        begin: start of the first day, inclusive.
        end: end of the last day, exclusive.
    """

    directory: Path
    rows: int
    files: int
    failures: int
    defects: Mapping[str, int]
    begin: datetime
    end: datetime


def simulate(
    directory: Path,
    *,
    devices: int = 200,
    days: int = 30,
    seed: int = 7,
    start: datetime = START,
    first_day: int = 0,
) -> Simulation:
    """Write the raw files of ``days`` days, from day ``first_day`` after ``start`` on.

    Below ``directory``, each file complete or absent:

    - ``telemetry/<day>T<hour>-<site>.parquet``: device_id, time, temperature, pressure,
      vibration, load, firmware; what one site's gateway received within six hours.
    - ``failures/<day>.parquet``: device_id, failed_at, cause; no file for a day without one.
    - ``devices/devices.parquet``: device_id, model, site, installed_on.

    Rows that are late beyond the last day are in the files of the following days, if those
    are simulated with the same ``devices``, ``seed`` and ``start``.

    Raises:
        SimulationArgumentError: no devices, no days, or a negative first day.
    """
    for argument, value, least in (
        ("devices", devices, 1),
        ("days", days, 1),
        ("first_day", first_day, 0),
    ):
        if value < least:
            raise SimulationArgumentError(argument, value, least)

    fleet = Fleet.make(devices, seed)
    process = Process.start(fleet, seed)
    warm_up = max(0, first_day - LONGEST_DELAY // BATCHES_A_DAY)
    counts: Counter[str] = Counter()
    pending: list[_Readings] = []
    rows = files = failures = 0
    for day in range(first_day + days):
        truth = process.advance(day)
        if day < warm_up:
            continue
        written = day >= first_day
        pending.append(_observe(fleet, truth, seed, counts if written else Counter()))
        pending = pending[-(LONGEST_DELAY // BATCHES_A_DAY + 1) :]
        if written:
            for name, table in _batches(fleet, pending, day, start):
                _write(directory / "telemetry" / name, table)
                rows += table.num_rows
                files += 1
            failures += _write_failures(directory, fleet, truth, start)
    _write(directory / "devices" / "devices.parquet", fleet.table(start))
    begin = start + timedelta(days=first_day)
    return Simulation(
        directory, rows, files, failures, dict(counts), begin, begin + timedelta(days=days)
    )


@dataclass(frozen=True)
class _Readings:
    """Readings of one day as sent; every array has one element a reading."""

    device: Ints
    step: Ints
    received: Ints  # batch since the start
    sensors: Floats  # (4, readings); NaN for null
    faulty: Flags  # sent by the firmware that reports Fahrenheit


def _observe(fleet: Fleet, truth: Day, seed: int, counts: Counter[str]) -> _Readings:
    """What the sensors report of a day, with every defect, each reading once or twice."""
    import numpy as np

    rng = np.random.default_rng([seed, 3, truth.day])
    shape = truth.load.shape
    ambient = 3 * np.cos((np.arange(STEPS_A_DAY) / STEPS_A_DAY - 15 / 24) * 2 * np.pi)[:, None]
    values = np.stack(
        [
            fleet.base[0] + ambient + 0.15 * truth.load + rng.normal(0, 1.2, shape),
            fleet.base[1] - 0.006 * truth.load + rng.normal(0, 0.12, shape),
            fleet.base[2] + 0.015 * truth.load + rng.normal(0, 0.25, shape),
            truth.load + rng.normal(0, 0.5, shape),
        ]
    )
    values[:3] += truth.effects
    values[1:3] = np.maximum(values[1:3], 0)
    values[3] = np.clip(values[3], 0, 100)

    dropped = truth.running & (rng.random(shape) < 0.015)
    silent = truth.running & _outages(rng, shape)
    steps, devices = np.nonzero(truth.running & ~dropped & ~silent)
    sensors = values[:, steps, devices]
    faulty = _garble(fleet, truth.day, devices, sensors, rng, counts)

    late = rng.random(steps.size) < 0.01
    batch = truth.day * BATCHES_A_DAY + steps // STEPS_A_BATCH
    batch = batch + np.where(late, rng.integers(1, LONGEST_DELAY + 1, steps.size), 0)
    twice = np.flatnonzero(rng.random(steps.size) < 0.005)
    counts.update(dropped=int(dropped.sum()), outage=int((silent & ~dropped).sum()))
    counts.update(late=int(late.sum()), duplicate=twice.size)
    sent = np.concatenate([np.arange(steps.size), twice])
    return _Readings(
        device=devices[sent],
        step=truth.day * STEPS_A_DAY + steps[sent],
        received=batch[sent],
        sensors=sensors[:, sent],
        faulty=faulty[sent],
    )


def _outages(rng: np.random.Generator, shape: tuple[int, ...]) -> Flags:
    """Where nothing arrives because the device is out of reach, (steps, devices)."""
    import numpy as np

    steps, count = shape
    out = rng.random(count) < 0.04
    begin = rng.integers(0, steps, count)
    length = rng.integers(60 // STEP_MINUTES, 300 // STEP_MINUTES, count)
    at = np.arange(steps)[:, None]
    within: Flags = out & (at >= begin) & (at < begin + length)
    return within


def _garble(
    fleet: Fleet,
    day: int,
    devices: Ints,
    sensors: Floats,
    rng: np.random.Generator,
    counts: Counter[str],
) -> Flags:
    """Put Fahrenheit, impossible values and nulls into ``sensors``; returns who sent Fahrenheit."""
    import numpy as np

    since = day - fleet.fahrenheit_from[devices]
    faulty: Flags = (since >= 0) & (since < 2)
    sensors[0, faulty] = sensors[0, faulty] * 9 / 5 + 32
    spoilt = rng.random(devices.size) < 0.002
    which = rng.integers(0, len(SENSORS), devices.size)
    for index, value in enumerate(_IMPOSSIBLE):
        sensors[index, spoilt & (which == index)] = value
    nulls = rng.random(sensors.shape) < 0.005
    sensors[nulls] = np.nan
    counts.update({"wrong unit": int(faulty.sum()), "out of range": int(spoilt.sum())})
    counts.update(null=int(nulls.sum()))
    return faulty


def _batches(
    fleet: Fleet, pending: list[_Readings], day: int, start: datetime
) -> Iterator[tuple[str, pa.Table]]:
    """Name and rows of each telemetry file of a day, from its and the earlier days' readings."""
    import numpy as np

    device = np.concatenate([part.device for part in pending])
    received = np.concatenate([part.received for part in pending])
    step = np.concatenate([part.step for part in pending])
    sensors = np.concatenate([part.sensors for part in pending], axis=1)
    faulty = np.concatenate([part.faulty for part in pending])
    # A gateway forwards in the order of arrival, which is not the order of the devices.
    order = np.lexsort((device, step))
    order = order[received[order] // BATCHES_A_DAY == day]
    site = fleet.site[device]
    for batch in range(day * BATCHES_A_DAY, (day + 1) * BATCHES_A_DAY):
        moment = start + timedelta(hours=batch * 24 // BATCHES_A_DAY)
        for index, name in enumerate(SITES):
            rows = order[(received[order] == batch) & (site[order] == index)]
            if rows.size:
                table = _telemetry(fleet, device[rows], step[rows], start, sensors[:, rows])
                firmware = np.where(faulty[rows], "2.1.0", "2.0.4")
                yield (
                    f"{moment:%Y-%m-%dT%H}-{name}.parquet",
                    table.append_column("firmware", [firmware]),
                )


def _telemetry(
    fleet: Fleet, device: Ints, step: Ints, start: datetime, sensors: Floats
) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    micros = np.int64(start.timestamp()) * 1_000_000 + step * (STEP_MINUTES * 60_000_000)
    columns: dict[str, Any] = {
        "device_id": np.asarray(fleet.names)[device],
        "time": pa.array(micros, pa.timestamp("us", tz="UTC")),
    }
    for index, sensor in enumerate(SENSORS):
        columns[sensor] = pa.array(
            np.round(sensors[index], 3), pa.float64(), mask=np.isnan(sensors[index])
        )
    return pa.table(columns)


def _write_failures(directory: Path, fleet: Fleet, truth: Day, start: datetime) -> int:
    import pyarrow as pa

    if truth.failures:
        devices, steps, causes = zip(*truth.failures, strict=True)
        moments = [start + timedelta(minutes=STEP_MINUTES * step) for step in steps]
        table = pa.table(
            {
                "device_id": [fleet.names[device] for device in devices],
                "failed_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
                "cause": [CAUSES[cause] for cause in causes],
            }
        )
        name = f"{start + timedelta(days=truth.day):%Y-%m-%d}.parquet"
        _write(directory / "failures" / name, table)
    return len(truth.failures)


def _write(path: Path, table: pa.Table) -> None:
    """Write a Parquet file so that no reader ever sees a part of it."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    try:
        pq.write_table(table, hidden, compression="zstd")
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
