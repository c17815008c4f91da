"""The homes of a community as one table a month, with the mapping and the registry that it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.community import household_loads, layout
from energy_assets.community.dwellings import (
    HOUSEHOLDS_PER_TOWN,
    Dwellings,
    dwellings,
    meters,
    premises,
    sites,
    town_of,
)
from energy_assets.community.faults import Fault, apply_fault, faults_in, hour_of_block
from energy_assets.community.span import Truth
from energy_assets.community.streams import Array, stream

_MODULUS_KWH = 100_000.0
_FIRST_KWH = (500.0, 20_000.0)
_NEARLY_FULL, _FULL_FROM_KWH = 0.04, (99_000.0, 99_990.0)


def write_homes(
    folder: Path,
    *,
    count: int,
    minutes: int,
    truth: Truth,
    per_year: float,
    labels: list[Fault],
    tell: Callable[[str, float], None],
) -> int:
    """Write the table of `count` homes with its mapping, add the faults to `labels`, and return how many readings."""
    homes = dwellings(0, count, seed=truth.seed)
    declared = meters(homes, interval_minutes=minutes)
    folder.mkdir(parents=True, exist_ok=True)
    layout.replace_file(sites(count), folder / "sites.csv")
    layout.replace_file(premises(homes), folder / "premises.csv")
    layout.replace_file(declared, folder / "meters.csv")
    (folder / "mapping.toml").write_text(layout.MAPPING, encoding="utf-8")
    counted: dict[str, float] = {}
    rows = 0
    blocks = truth.span.blocks()
    for number, block in enumerate(blocks):
        tell("households", number / len(blocks))
        frames = []
        for town in range(0, count, HOUSEHOLDS_PER_TOWN):
            part = dwellings(town, min(HOUSEHOLDS_PER_TOWN, count - town), seed=truth.seed)
            frames.append(
                _home_rows(
                    part,
                    declared=declared,
                    minutes=minutes,
                    block=block,
                    truth=truth,
                    per_year=per_year,
                    counted=counted,
                    labels=labels,
                )
            )
        first, last = (hour * 3_600_000_000 for hour in truth.span.hours(0))
        stamp = pl.col("timestamp").dt.epoch("us")
        month = pl.concat(frames).filter(stamp >= first, stamp < last)
        if month.height:
            name = month.sort("timestamp")["timestamp"].dt.strftime("readings-%Y-%m.parquet")[0]
            layout.replace_file(month.sort("timestamp", "meter_id"), folder / name)
        rows += month.height
    return rows


def _home_rows(
    homes: Dwellings,
    *,
    declared: pl.DataFrame,
    minutes: int,
    block: int,
    truth: Truth,
    per_year: float,
    counted: dict[str, float],
    labels: list[Fault],
) -> pl.DataFrame:
    """Return meter_id, timestamp (UTC) and value of one town and month; `counted` carries the registers."""
    town = town_of(int(homes.number[0]))
    flows = household_loads.simulate_homes(
        homes, place=town, weather=truth.of(town), block=block, seed=truth.seed, interval_minutes=minutes
    )
    row_of = {f"households.{name}": row for row, name in enumerate(homes.names)}
    sources: dict[str, Array] = {
        "consumption": flows.load,
        "grid_import": flows.grid_import,
        "grid_export": flows.grid_export,
        "production": flows.production,
    }
    start, frames = hour_of_block(block), []
    clock = layout.stamps(start, flows.load.shape[1], minutes=minutes)
    for meter_id, premise, direction, measure, unit in declared.select(
        "meter_id", "premise_id", "direction", "measure", "unit"
    ).iter_rows():
        if premise not in row_of:
            continue
        energy = np.maximum(sources[direction][row_of[premise]], 0.0)
        kind = "register" if measure == "register" else "energy"
        faults = faults_in(meter_id, seed=truth.seed, block=block, meter_kind=kind, per_year=per_year)
        if measure == "register":
            shown = register_shown(meter_id, energy, faults, start=start, truth=truth, minutes=minutes, counted=counted)
            values = np.round(shown * 1000) if unit == "Wh" else np.round(shown, 3)
        else:
            values = np.round(energy * 60_000 / minutes) if measure == "power" else np.round(energy, 3)
        for fault in faults:
            apply_fault(values, fault, first_hour=start, per_hour=60 // minutes)
            if fault.first_hour >= start:
                labels.append(fault)
        frames.append(
            pl.DataFrame(
                {"meter_id": pl.repeat(meter_id, len(values), eager=True), "timestamp": clock, "value": values}
            )
        )
    return pl.concat(frames).filter(pl.col("value").is_not_nan())


def register_shown(
    meter_id: str,
    energy_kwh: Array,
    faults: list[Fault],
    *,
    start: int,
    truth: Truth,
    minutes: int,
    counted: dict[str, float],
) -> Array:
    """Return what a register shows at the start of each interval; `counted` carries it to the next month.

    It counts on from month to month, starts anew from zero at a reset, and runs over after its last digit.
    """
    if meter_id not in counted:
        generator = stream(truth.seed, meter_id, "register")
        is_nearly_full = generator.random() < _NEARLY_FULL
        counted[meter_id] = float(generator.uniform(*(_FULL_FROM_KWH if is_nearly_full else _FIRST_KWH)))
    ends = counted[meter_id] + np.cumsum(energy_kwh)
    shown = np.concatenate([[counted[meter_id]], ends])
    for fault in faults:
        at = (fault.first_hour - start) * 60 // minutes
        if fault.fault == "reset" and 0 <= at < len(energy_kwh):
            shown[at:] -= shown[at]
    counted[meter_id] = float(shown[-1])
    return np.mod(shown[:-1], _MODULUS_KWH)
