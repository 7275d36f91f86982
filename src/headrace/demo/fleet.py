"""The truth behind the simulated telemetry: who the devices are, how they wear and fail.

What the sensors make of it, and how the process works, is told in ``headrace.demo.simulate``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

MODELS: Final = ("P-100", "P-200", "P-300")
SITES: Final = ("bremen", "graz", "turin")
CAUSES: Final = ("bearing", "leak", "cooling", "shock")

STEP_MINUTES: Final = 8
STEPS_A_DAY: Final = 24 * 60 // STEP_MINUTES

# How strongly each cause shows in temperature, pressure and vibration, per unit of symptom.
_SIGNATURES: Final = (
    (4.0, 0.0, 1.6),
    (0.0, -1.1, 0.3),
    (10.0, 0.0, 0.2),
    (0.0, 0.0, 0.0),
)
_SYMPTOM_SCALE: Final = 0.035  # of wear: about 0.8 days at a life of 24 days
_SHOCKS_A_DAY: Final = 1 / 220


@dataclass(frozen=True)
class Fleet:
    """What stays the same about each device; every array has one element a device."""

    names: list[str]
    model: Ints
    site: Ints
    age_days: Ints
    base: Floats  # levels of temperature, pressure, vibration and load: (4, devices)
    life_days: Floats
    fahrenheit_from: Ints  # day; far in the future for devices without the faulty firmware

    @classmethod
    def make(cls, devices: int, seed: int) -> Fleet:
        """Draw a fleet of ``devices`` devices."""
        import numpy as np

        rng = np.random.default_rng([seed, 0])
        model = rng.choice(len(MODELS), devices, p=[0.5, 0.3, 0.2])
        levels = (
            46.0 + 2.0 * model + rng.normal(0, 3.5, devices),
            6.0 - 0.3 * model + rng.normal(0, 0.3, devices),
            2.2 + 0.2 * model + rng.normal(0, 0.4, devices),
            rng.normal(58, 7, devices),
        )
        faulty = rng.random(devices) < 0.03
        return cls(
            names=[f"pump-{number:04d}" for number in range(1, devices + 1)],
            model=model,
            site=rng.integers(0, len(SITES), devices),
            age_days=rng.integers(60, 1500, devices),
            base=np.stack(levels),
            life_days=np.asarray([25.0, 23.0, 21.0])[model] * rng.lognormal(0, 0.2, devices),
            fahrenheit_from=np.where(faulty, rng.integers(2, 24, devices), 1_000_000),
        )

    def table(self, start: datetime) -> pa.Table:
        """The device list, with the blanks and mixed case that such lists have."""
        import pyarrow as pa

        installed = [(start - timedelta(days=int(days))).date() for days in self.age_days]
        models = [MODELS[index] for index in self.model]
        return pa.table(
            {
                "device_id": self.names,
                "model": [
                    f" {name.lower()}" if number % 9 == 0 else name
                    for number, name in enumerate(models)
                ],
                "site": [SITES[index] for index in self.site],
                "installed_on": pa.array(installed, pa.date32()),
            }
        )


@dataclass(frozen=True)
class Day:
    """The truth of one day; arrays are (steps, devices)."""

    day: int
    load: Floats
    effects: Floats  # symptoms in temperature, pressure, vibration: (3, steps, devices)
    running: Flags
    failures: list[tuple[int, int, int]]  # device, step since the start, cause


@dataclass
class Process:
    """The hidden state of the fleet, advanced one day at a time."""

    fleet: Fleet
    seed: int
    wear: Floats
    threshold: Floats
    strength: Floats
    cause: Ints
    back_at: Ints  # step since the start at which a device under repair runs again
    swing: Floats  # the autoregressive part of the load
    signatures: Floats = field(repr=False)

    @classmethod
    def start(cls, fleet: Fleet, seed: int) -> Process:
        """The fleet before day 0, each device somewhere in its life."""
        import numpy as np

        count = len(fleet.names)
        rng = np.random.default_rng([seed, 1])
        return cls(
            fleet=fleet,
            seed=seed,
            wear=rng.uniform(0, 0.95, count),
            threshold=rng.normal(1, 0.02, count),
            strength=rng.lognormal(0, 0.3, count),
            cause=rng.integers(0, len(CAUSES) - 1, count),
            back_at=np.zeros(count, dtype=np.int64),
            swing=rng.normal(0, 5, count),
            signatures=np.asarray(_SIGNATURES),
        )

    def advance(self, day: int) -> Day:
        """Let one day pass. Days must be advanced one after the other from 0."""
        import numpy as np

        rng = np.random.default_rng([self.seed, 2, day])
        count = len(self.fleet.names)
        load = self._loads(rng)
        speed = (load / 58) ** 2 / (self.fleet.life_days * STEPS_A_DAY)
        shocks = rng.random((STEPS_A_DAY, count)) < _SHOCKS_A_DAY / STEPS_A_DAY
        effects = np.empty((3, STEPS_A_DAY, count))
        running = np.empty((STEPS_A_DAY, count), dtype=bool)
        failures: list[tuple[int, int, int]] = []
        for step in range(STEPS_A_DAY):
            now = day * STEPS_A_DAY + step
            runs = running[step] = now >= self.back_at
            self.wear += np.where(runs, speed[step], 0.0)
            symptom = self.strength * np.exp((self.wear - self.threshold) / _SYMPTOM_SCALE)
            effects[:, step] = symptom * self.signatures[self.cause].T
            worn = self.wear >= self.threshold
            for device in np.flatnonzero(runs & (worn | shocks[step])):
                cause = int(self.cause[device]) if worn[device] else len(CAUSES) - 1
                failures.append((int(device), now, cause))
                self._repair(int(device), now, rng)
        return Day(day, load, effects, running, failures)

    def _loads(self, rng: np.random.Generator) -> Floats:
        """Load in percent for each step of a day, (steps, devices)."""
        import numpy as np

        hours = np.arange(STEPS_A_DAY) * 24 / STEPS_A_DAY
        peak = np.asarray([11.0, 14.0, 17.0])[self.fleet.site]
        wave = 12 * np.cos((hours[:, None] - peak) * 2 * np.pi / 24)
        noise = rng.normal(0, 2, (STEPS_A_DAY, len(self.fleet.names)))
        load = np.empty_like(noise)
        for step in range(STEPS_A_DAY):
            self.swing = 0.95 * self.swing + noise[step]
            load[step] = self.swing
        loads: Floats = np.clip(load + wave + self.fleet.base[3], 5, 100)
        return loads

    def _repair(self, device: int, now: int, rng: np.random.Generator) -> None:
        self.back_at[device] = now + round(rng.uniform(2, 10) * 60 / STEP_MINUTES)
        self.wear[device] = rng.uniform(0, 0.1)
        self.threshold[device] = rng.normal(1, 0.02)
        self.strength[device] = rng.lognormal(0, 0.3)
        self.cause[device] = rng.integers(0, len(CAUSES) - 1)
