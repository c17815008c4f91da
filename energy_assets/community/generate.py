"""A whole community written to a folder, month by month: buildings, homes, weather, its forecasts, and fault labels.

The same seed and arguments give the same content; a later `last_day` or more buildings leave what was there unchanged.
Registers count from the first month that is generated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.community import household_loads, layout
from energy_assets.community.archetypes import characters
from energy_assets.community.buildings import METER_CODES, buildings, meters_of, place_index
from energy_assets.community.dwellings import (
    HOUSEHOLDS_PER_TOWN,
    Dwellings,
    dwellings,
    meters,
    premises,
    site_id_of,
    sites,
    town_of,
)
from energy_assets.community.faults import Fault, apply_fault, faults_in, hour_of_block
from energy_assets.community.loads import chilled_water, electricity, heat, occupancy, site_month
from energy_assets.community.places import CAMPUSES
from energy_assets.community.span import Span, Truth
from energy_assets.community.streams import Array, hour_of, stream

KWH_PER_KBTU = 0.29307107
_KBTU_SITE = 0
_BEHAVIOUR = ("night_waste", "weekend_as_weekday")
_FAULTS_PER_YEAR = 1.2
_LABELS = {
    "meter_id": pl.String(),
    "starts_at_utc": pl.Datetime("us", "UTC"),
    "ends_at_utc": pl.Datetime("us", "UTC"),
    "fault": pl.String(),
    "magnitude": pl.Float64(),
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a community holds."""

    seed: int
    buildings: int
    households: int
    first_day: str
    last_day: str
    building_rows: int
    household_rows: int
    faults: int


def generate(
    folder: Path,
    *,
    first_day: date,
    last_day: date,
    buildings: int = 200,
    households: int = 100,
    seed: int = 0,
    household_interval_minutes: int = 60,
    faults_per_year: float = _FAULTS_PER_YEAR,
    is_on_local_days: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Manifest:
    """Write a community of `first_day` to `last_day` into `folder` and return what it holds.

    `<folder>/ashrae` has Kaggle's files (site 0 electricity in kBTU, weather on the UTC clock and with missing hours),
    `<folder>/households` a table with its mapping, `<folder>/weather` observations and forecasts, one issued every
    midnight to the one after `last_day`, and `labels.parquet` every fault. With `is_on_local_days` the span is of each
    site's own days, as in Kaggle's files; else it is of UTC days, so that nothing lies in the future.
    """
    tell = progress or (lambda _what, _share: None)
    span = Span(first=first_day, last=last_day, is_local=is_on_local_days)
    truth = Truth(seed=seed, span=span)
    labels: list[Fault] = []
    offsets: dict[str, int] = {}
    building_rows = 0
    if buildings:
        building_rows = _write_buildings(
            folder / "ashrae",
            count=buildings,
            truth=truth,
            per_year=faults_per_year,
            labels=labels,
            offsets=offsets,
            tell=tell,
        )
    household_rows = 0
    if households:
        household_rows = _write_homes(
            folder / "households",
            count=households,
            minutes=household_interval_minutes,
            truth=truth,
            per_year=faults_per_year,
            labels=labels,
            tell=tell,
        )
    tell("weather", 0.0)
    _write_weather(folder, count=buildings, households=households, truth=truth)
    layout.replace_file(_label_rows(labels, offsets=offsets), folder / "labels.parquet")
    manifest = Manifest(
        seed=seed,
        buildings=buildings,
        households=households,
        first_day=first_day.isoformat(),
        last_day=last_day.isoformat(),
        building_rows=building_rows,
        household_rows=household_rows,
        faults=len(labels),
    )
    (folder / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    return manifest


def _write_buildings(
    folder: Path,
    *,
    count: int,
    truth: Truth,
    per_year: float,
    labels: list[Fault],
    offsets: dict[str, int],
    tell: Callable[[str, float], None],
) -> int:
    catalogue = buildings(count, seed=truth.seed)
    used = meters_of(catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    layout.replace_file(
        catalogue.select(
            site_id="site",
            building_id="building_id",
            primary_use="primary_use",
            square_feet="square_feet",
            year_built="year_built",
            floor_count="floor_count",
        ),
        folder / "building_metadata.csv",
    )
    for building, code, site in used.select("building_id", "meter", "site").iter_rows():
        offsets[f"ashrae.{building}.{METER_CODES[code]}"] = CAMPUSES[place_index(site)].utc_offset_hours
    blocks = truth.span.blocks()
    rows = 0
    draft = folder / "train.csv.part"
    with draft.open("wb") as out:
        out.write(b"building_id,meter,timestamp,meter_reading\n")
        for number, block in enumerate(blocks):
            tell("buildings", number / len(blocks))
            frames = [
                _site_rows(group, site=int(site), block=block, truth=truth, per_year=per_year, labels=labels)
                for (site,), group in sorted(
                    catalogue.group_by("site", maintain_order=True), key=lambda pair: str(pair[0])
                )
            ]
            month = pl.concat(frames).sort("timestamp", "building_id", "meter")
            month.write_csv(out, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S")
            rows += month.height
    draft.replace(folder / "train.csv")
    return rows


def _site_rows(
    group: pl.DataFrame, *, site: int, block: int, truth: Truth, per_year: float, labels: list[Fault]
) -> pl.DataFrame:
    """Return Kaggle's rows of one site and month, cut to the span."""
    place = CAMPUSES[place_index(site)]
    seed = truth.seed
    month = site_month(place, block=block, weather=truth.of(place))
    start = hour_of_block(block)
    first, last = truth.span.hours(place.utc_offset_hours)
    begin, end = max(first - start, 0), min(last - start, month.hours)
    if begin >= end:
        return layout.long_rows([], np.zeros((0, 0)), first_hour=start)
    ids = [int(building) for building in group["building_id"]]
    names = [f"ashrae.{building}" for building in ids]
    traits = characters(group, seed=seed)

    def drawn(building: int, commodity: str) -> list[Fault]:
        return faults_in(
            f"ashrae.{building}.{commodity}", seed=seed, block=block, meter_kind="building", per_year=per_year
        )

    behaviour = [[fault for fault in drawn(building, "electricity") if fault.fault in _BEHAVIOUR] for building in ids]
    in_use = occupancy(month, traits, names=names, seed=seed, behaviour=behaviour)
    made: dict[int, Callable[[], Array]] = {
        0: lambda: electricity(month, traits, in_use=in_use, names=names, seed=seed),
        1: lambda: chilled_water(month, traits, in_use=in_use, names=names, seed=seed),
        2: lambda: heat(month, traits, in_use=in_use, names=names, seed=seed, kind="steam"),
        3: lambda: heat(month, traits, in_use=in_use, names=names, seed=seed, kind="hot_water"),
    }
    meters, series = [], []
    for code, make in made.items():
        having = [row for row, codes in enumerate(group["meters"]) if code in codes]
        energy = np.maximum(make(), 0.0) if having else np.zeros((0, 0))
        for row in having:
            step = float(traits.step[row]) if code == 0 else 0.0
            faults = drawn(ids[row], METER_CODES[code])
            values = _metered(energy[row], faults, start=start, step_kwh=step)
            labels += [
                fault
                for fault in faults
                if start <= fault.first_hour < last
                and fault.first_hour >= first
                and (code == 0 or fault.fault not in _BEHAVIOUR)
            ]
            series.append(values / KWH_PER_KBTU if code == 0 and site == _KBTU_SITE else values)
            meters.append((ids[row], code))
    return layout.long_rows(meters, np.stack(series)[:, begin:end], first_hour=start + begin)


def _metered(energy_kwh: Array, faults: list[Fault], *, start: int, step_kwh: float) -> Array:
    """Return what a building's meter shows of its energy: rounded to its step, and with its faults of metering."""
    values = energy_kwh.astype(np.float64)
    if step_kwh > 0:
        values = np.round(values / step_kwh) * step_kwh
    for fault in faults:
        if fault.fault not in _BEHAVIOUR:
            apply_fault(values, fault, first_hour=start)
    return values


def _write_homes(
    folder: Path,
    *,
    count: int,
    minutes: int,
    truth: Truth,
    per_year: float,
    labels: list[Fault],
    tell: Callable[[str, float], None],
) -> int:
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
            base = counted.get(meter_id)
            if base is None:
                base = float(stream(truth.seed, meter_id, "register").uniform(500, 20_000))
            ends = base + np.cumsum(energy)
            values = np.concatenate([[base], ends[:-1]])
            counted[meter_id] = float(ends[-1])
            values = np.round(values * 1000) if unit == "Wh" else np.round(values, 3)
            faults = [fault for fault in faults if fault.fault in ("gap", "dropout", "stuck")]
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


def _write_weather(folder: Path, *, count: int, households: int, truth: Truth) -> None:
    """Write observations up to the last day and the forecasts of every midnight up to the one after it."""
    span = truth.span
    places = {f"ashrae.{site}": place for site, place in enumerate(CAMPUSES)} if count else {}
    places |= {site_id_of(number): town_of(number) for number in range(0, households, HOUSEHOLDS_PER_TOWN)}
    # Features look back a week and more: the weather begins before the readings.
    first, last = hour_of(span.first - timedelta(days=10)), hour_of(span.last + timedelta(days=1))
    observed, forecast, kaggle = [], [], []
    for site_id, place in places.items():
        weather = truth.of(place)
        observed.append(layout.observed_rows(site_id, weather.between(first, last)))
        forecast.append(
            layout.forecast_rows(
                site_id, weather, first=span.first, last=span.last + timedelta(days=1), seed=truth.seed
            )
        )
        if site_id.startswith("ashrae."):
            kaggle.append(
                layout.kaggle_weather(
                    int(site_id.split(".")[1]), weather.between(hour_of(span.first), last), seed=truth.seed
                )
            )
    layout.replace_file(pl.concat(observed), folder / "weather" / "observed.parquet")
    layout.replace_file(pl.concat(forecast), folder / "weather" / "forecast.parquet")
    if kaggle:
        layout.replace_file(pl.concat(kaggle), folder / "ashrae" / "weather_train.csv")


def _label_rows(labels: list[Fault], *, offsets: dict[str, int]) -> pl.DataFrame:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    rows = [
        (
            fault.meter_id,
            epoch + timedelta(hours=fault.first_hour - offsets.get(fault.meter_id, 0)),
            epoch + timedelta(hours=fault.end_hour - offsets.get(fault.meter_id, 0)),
            fault.fault,
            fault.magnitude,
        )
        for fault in labels
    ]
    return pl.DataFrame(rows, schema=_LABELS, orient="row").sort("meter_id", "starts_at_utc")
