"""The buildings of a community as Kaggle's files: metadata, sites, and train.csv month by month."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.community import layout
from energy_assets.community.archetypes import characters
from energy_assets.community.buildings import METER_CODES, buildings, meters_of, place_index
from energy_assets.community.faults import BEHAVIOUR, Fault, apply_fault, faults_in, hour_of_block
from energy_assets.community.loads import chilled_water, electricity, heat, occupancy, site_month
from energy_assets.community.places import CAMPUSES
from energy_assets.community.span import Truth
from energy_assets.community.streams import Array

KWH_PER_KBTU = 0.29307107
_KBTU_SITE = 0


def write_buildings(
    folder: Path,
    *,
    count: int,
    truth: Truth,
    per_year: float,
    labels: list[Fault],
    offsets: dict[str, int],
    tell: Callable[[str, float], None],
) -> int:
    """Write the files of `count` buildings, add the faults to `labels`, and return the number of readings.

    `offsets` receives the hours from UTC to the clock of each meter.
    """
    catalogue = buildings(count, seed=truth.seed)
    used = meters_of(catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    layout.replace_file(_site_table(sorted(set(catalogue["site"]))), folder / "site_metadata.csv")
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

    behaviour = [[fault for fault in drawn(building, "electricity") if fault.fault in BEHAVIOUR] for building in ids]
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
                and (code == 0 or fault.fault not in BEHAVIOUR)
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
        if fault.fault not in BEHAVIOUR:
            apply_fault(values, fault, first_hour=start)
    return values


def _site_table(sites: list[int]) -> pl.DataFrame:
    """Return site_metadata.csv: clocks, coordinates and units, which Kaggle keeps to itself."""
    places = [CAMPUSES[place_index(site)] for site in sites]
    return pl.DataFrame(
        {
            "site_id": sites,
            "name": [place.name for place in places],
            "timezone": [place.timezone for place in places],
            "utc_offset_minutes": [place.utc_offset_hours * 60 for place in places],
            "electricity_unit": ["kBtu" if site == _KBTU_SITE else "kWh" for site in sites],
            "latitude": [place.latitude for place in places],
            "longitude": [place.longitude for place in places],
            "country_code": [place.country_code for place in places],
            "subdivision_code": [place.subdivision_code or None for place in places],
        },
        schema_overrides={"subdivision_code": pl.String},
    )
