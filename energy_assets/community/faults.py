"""What goes wrong, when, and by how much: drawn a meter and year at a time, applied to a month, labelled.

Behaviour (lights left on, a weekend run as a working day) is a fault of the building and enters before the meter; the
rest are faults of metering. A fault is the same whichever months are generated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from energy_assets.community.streams import Array, block_of, days_in, hour_of, stream

BEHAVIOUR = ("night_waste", "weekend_as_weekday")
# Fault: weight, shortest and longest hours (log-uniform), whether it must end within its month.
_BUILDING_FAULTS: dict[str, tuple[float, float, float, bool]] = {
    "gap": (0.24, 3, 160, False),
    "dropout": (0.10, 24, 240, False),
    "zero_run": (0.14, 3, 120, False),
    "stuck": (0.12, 8, 190, True),
    "spike": (0.12, 1, 2, False),
    "scale": (0.04, 24, 240, False),
    "level_change": (0.08, 200, 1000, False),
    "night_waste": (0.07, 48, 240, False),
    "weekend_as_weekday": (0.06, 24, 48, False),
    "clock_shift": (0.03, 24, 200, True),
}
_REGISTER_FAULTS: dict[str, tuple[float, float, float, bool]] = {
    "gap": (0.5, 2, 72, False),
    "reset": (0.1, 1, 1, False),
    "stuck": (0.2, 4, 30, True),
    "dropout": (0.2, 12, 96, False),
}
_ENERGY_FAULTS: dict[str, tuple[float, float, float, bool]] = {
    "gap": (0.34, 2, 72, False),
    "dropout": (0.2, 12, 96, False),
    "zero_run": (0.1, 3, 24, False),
    "stuck": (0.12, 6, 48, True),
    "spike": (0.12, 1, 1, False),
    "negative": (0.05, 1, 2, False),
    "scale": (0.07, 12, 72, False),
}
KINDS_OF_METER = {"building": _BUILDING_FAULTS, "register": _REGISTER_FAULTS, "energy": _ENERGY_FAULTS}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of one meter: hours since 1970 on the meter's clock, half-open; magnitude as its kind has it."""

    meter_id: str
    fault: str
    first_hour: int
    end_hour: int
    magnitude: float


@lru_cache(maxsize=100_000)
def faults_of(meter_id: str, *, seed: int, year: int, meter_kind: str, per_year: float) -> tuple[Fault, ...]:
    """Return the faults that begin in one year, in order and apart from each other, none beyond its end."""
    kinds = KINDS_OF_METER[meter_kind]
    generator = stream(seed, meter_id, "faults", block=year)
    count = int(generator.poisson(per_year))
    start, end = hour_of(date(year, 1, 1)), hour_of(date(year + 1, 1, 1))
    names = list(kinds)
    weights = np.array([kinds[name][0] for name in names])
    found: list[Fault] = []
    for first in sorted(int(hour) for hour in generator.integers(start, end, count)):
        name = names[int(generator.choice(len(names), p=weights / weights.sum()))]
        _, shortest, longest, within_month = kinds[name]
        hours = round(float(np.exp(generator.uniform(np.log(shortest), np.log(longest)))))
        magnitude = _magnitude(name, generator)
        begin = first - first % 24 if name == "weekend_as_weekday" else first
        if name == "weekend_as_weekday":
            begin += 24 * ((5 - (begin // 24 + 3) % 7) % 7)  # 1970-01-01 was a Thursday: weekday 3
            hours = 48
        finish = min(begin + max(hours, 1), end)
        if within_month:
            finish = min(finish, _month_end(begin))
        if finish > begin and (not found or begin >= found[-1].end_hour):
            found.append(Fault(meter_id=meter_id, fault=name, first_hour=begin, end_hour=finish, magnitude=magnitude))
    return tuple(found)


def faults_in(meter_id: str, *, seed: int, block: int, meter_kind: str, per_year: float) -> list[Fault]:
    """Return the faults that touch one month."""
    first = hour_of_block(block)
    last = first + days_in(block) * 24
    year = 1970 + block // 12
    drawn = faults_of(meter_id, seed=seed, year=year, meter_kind=meter_kind, per_year=per_year)
    return [fault for fault in drawn if fault.first_hour < last and fault.end_hour > first]


def hour_of_block(block: int) -> int:
    """Return hours since 1970 at the start of a month block."""
    return hour_of(date(1970 + block // 12, block % 12 + 1, 1))


def apply_fault(row: Array, fault: Fault, *, first_hour: int, per_hour: int = 1) -> None:
    """Apply a fault of metering in place to one meter's month; an absent reading becomes NaN.

    `row` starts at `first_hour` and has `per_hour` values an hour. Registers are treated by their own module.
    """
    a = max((fault.first_hour - first_hour) * per_hour, 0)
    b = min((fault.end_hour - first_hour) * per_hour, row.size)
    window = slice(a, b)
    if fault.fault == "gap":
        row[window] = np.nan
    elif fault.fault == "dropout":
        lost = np.random.Generator(np.random.Philox(key=fault.first_hour)).random(row.size)[window] < fault.magnitude
        row[window][lost] = np.nan
    elif fault.fault == "zero_run":
        row[window] = 0.0
    elif fault.fault == "stuck":
        row[window] = row[a]
    elif fault.fault in {"spike", "scale", "level_change"}:
        row[window] *= fault.magnitude
    elif fault.fault == "negative":
        row[window] *= -1.0
    elif fault.fault == "clock_shift":
        source = np.clip(np.arange(a, b) - int(fault.magnitude) * per_hour, 0, row.size - 1)
        row[window] = row[source]


def _magnitude(name: str, generator: np.random.Generator) -> float:
    """Return the size of a fault: a factor, a share of lost readings, hours of shift, or 1 where it has no size."""
    u = float(generator.random())
    if name == "spike":
        return round(float(np.exp(np.log(4) + u * np.log(15))), 2)
    if name == "scale":
        return (0.1, 0.001, 10.0, 1000.0, 3.4121, 0.2931)[int(u * 6)]
    if name == "level_change":
        return round(0.55 + 0.3 * u if u < 0.5 else 1.1 + 0.5 * u, 3)
    if name == "clock_shift":
        return float((-3, -1, 1, 2, 3, 12)[int(u * 6)])
    if name == "dropout":
        return round(0.15 + 0.6 * u, 3)
    return 1.0


def _month_end(hour: int) -> int:
    day = date.fromordinal(date(1970, 1, 1).toordinal() + hour // 24)
    block = block_of(day)
    return hour_of_block(block) + days_in(block) * 24
