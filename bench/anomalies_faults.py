"""Real meters of `ENERGY_ASSETS_REAL_DATA` as sites, and faults put into them with labels: ten classes, by seed.

What the sources themselves lost (runs of zeros that stand for missing data) is removed before and scored nowhere.
Faults of the data, of the consumption and of the clock alternate per meter in random order with quiet days between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

WARM_UP_DAYS = 56
JUDGED_DAYS = 120
QUIET_DAYS = 18
DATA_FAULTS = ("dropout", "stuck", "spike", "scale", "reset", "gap")
CONSUMPTION_FAULTS = ("night_waste", "weekend_run", "level_change")
CLASSES = (*DATA_FAULTS, *CONSUMPTION_FAULTS, "clock_shift")


@dataclass(frozen=True, kw_only=True)
class Site:
    """Meters that share a place and a clock: `kwh` is [meter, slot] from `first_utc`, NaN where the source has none."""

    name: str
    timezone: str
    country_code: str | None
    interval_minutes: int
    first_utc: datetime
    meter_ids: tuple[str, ...]
    commodities: tuple[str, ...]
    kwh: np.ndarray

    @property
    def slots_per_day(self) -> int:
        return 1440 // self.interval_minutes


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One injected fault: slots [start, end) of a meter; `slots` are those that are wrong."""

    meter: int
    name: str
    slots: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Case:
    """A site with faults: `label` [meter, slot] is 1 + class index, 0 clean; `judged` marks the scored slots."""

    site: Site
    label: np.ndarray
    judged: np.ndarray
    faults: tuple[Fault, ...]


def sites(folder: Path) -> list[Site]:
    """Return the real sites: Cambridge electricity and gas, four of GEPIII, homes, a school, offices, a factory."""
    cambridge = pl.read_parquet(folder / "cambridge_dev_meters.parquet").select(
        pl.concat_str(pl.lit("cambridge."), "building_id", pl.lit("."), "meter").alias("meter_id"),
        pl.col("meter").alias("commodity"),
        pl.col("ts_utc").alias("at"),
        pl.col("kwh").cast(pl.Float64),
    )
    in_use = pl.col("meter_id").is_in(
        cambridge.group_by("meter_id", "commodity").agg((pl.col("kwh") == 0).mean().alias("zeros"))
        .filter((pl.col("commodity") == "electricity") | (pl.col("zeros") < 0.1))["meter_id"].implode()
    )  # fmt: skip
    homes = pl.read_parquet(folder / "citylearn_2022_homes_1_5.parquet").select(
        pl.format("homes.{}", "building_id").alias("meter_id"),
        pl.lit("electricity").alias("commodity"),
        (pl.col("ts_local_std") + pl.duration(hours=8)).alias("at"),
        pl.col("load_kwh").cast(pl.Float64).alias("kwh"),
    )
    ashrae = pl.read_parquet(folder / "ashrae_elec_2016.parquet").select(
        pl.format("ashrae.{}.electricity", "building_id").alias("meter_id"),
        pl.lit("electricity").alias("commodity"),
        pl.col("ts_local").alias("at"),
        pl.col("meter_reading").alias("kwh"),
        pl.col("building_id"),
    )
    quarter = pl.read_parquet(folder / "sacramento_15min_meters.parquet").select(
        pl.format("sacramento.{}.{}", "kind", "meter").alias("meter_id"),
        pl.lit("electricity").alias("commodity"),
        pl.col("ts_utc").alias("at"),
        (pl.col("kw").cast(pl.Float64) / 4).alias("kwh"),
        pl.col("kind"),
    )
    found = [_site("cambridge", cambridge.filter(in_use), timezone="Europe/London", country_code="GB")]
    # A local clock without daylight saving in the file: judged as it stands.
    for number, country_code, low, high in (
        (0, "US", 0, 104),
        (1, "GB", 105, 155),
        (5, "GB", 656, 744),
        (14, "US", 1223, 1324),
    ):
        rows = ashrae.filter(pl.col("building_id").is_between(low, high))
        found.append(_site(f"ashrae_{number}", rows, timezone="UTC", country_code=country_code))
    found.append(_site("homes", homes, timezone="Etc/GMT+8", country_code="US"))
    for kind in ("school", "manufacturer", "office"):
        rows = quarter.filter(pl.col("kind").str.starts_with(kind))
        found.append(
            _site(f"sacramento_{kind}", rows, timezone="America/Los_Angeles", country_code="US", interval_minutes=15)
        )
    return found


def _site(
    name: str, rows: pl.DataFrame, *, timezone: str, country_code: str | None, interval_minutes: int = 60
) -> Site:
    first = rows["at"].min().replace(hour=0, minute=0) + timedelta(days=1)  # type: ignore[union-attr,operator]
    ids = rows["meter_id"].unique().sort().to_list()
    slots = ((rows["at"].max() - first) // timedelta(days=1)) * (1440 // interval_minutes)  # type: ignore[operator]
    kwh = np.full((len(ids), slots), np.nan)
    at = ((rows["at"] - first).dt.total_minutes() // interval_minutes).to_numpy()
    meter = rows["meter_id"].cast(pl.Enum(ids)).to_physical().to_numpy()
    inside = (at >= 0) & (at < slots)
    kwh[meter[inside], at[inside]] = rows["kwh"].to_numpy()[inside]
    commodity = dict(rows.select("meter_id", "commodity").unique().iter_rows())
    kwh = np.stack([_without_lost(row, gas=commodity[key] == "gas") for key, row in zip(ids, kwh, strict=True)])
    return Site(
        name=name, timezone=timezone, country_code=country_code, interval_minutes=interval_minutes,
        first_utc=first.replace(tzinfo=UTC), meter_ids=tuple(ids),
        commodities=tuple(commodity[key] for key in ids), kwh=kwh,
    )  # fmt: skip


def _without_lost(kwh: np.ndarray, *, gas: bool) -> np.ndarray:
    """Blank runs of three or more zeros, which stand for missing data in these sources; gas has honest ones."""
    if gas:
        return kwh
    zero = np.concatenate([[False], kwh == 0, [False]])
    edges = np.flatnonzero(zero[1:] != zero[:-1]).reshape(-1, 2)
    kwh = kwh.copy()
    for start, end in edges:
        if end - start >= 3:
            kwh[start:end] = np.nan
    return kwh


def inject(site: Site, *, seed: int) -> Case:
    """Return a random span of a site (56 days to learn from and up to 120 to judge) with faults of every class."""
    random = np.random.default_rng([seed, len(site.name), len(site.meter_ids)])
    per_day = site.slots_per_day
    days = site.kwh.shape[1] // per_day
    span = min(days, WARM_UP_DAYS + JUDGED_DAYS)
    start = int(random.integers(0, days - span + 1))
    clean = site.kwh[:, start * per_day : (start + span) * per_day]
    alive = np.isfinite(clean[:, : WARM_UP_DAYS * per_day]).mean(axis=1) > 0.7
    cut = Site(
        name=site.name, timezone=site.timezone, country_code=site.country_code,
        interval_minutes=site.interval_minutes, first_utc=site.first_utc + timedelta(days=start),
        meter_ids=tuple(np.asarray(site.meter_ids)[alive]), commodities=tuple(np.asarray(site.commodities)[alive]),
        kwh=clean[alive].copy(),
    )  # fmt: skip
    label = np.zeros(cut.kwh.shape, dtype=np.int8)
    faults: list[Fault] = []
    for meter in range(len(cut.meter_ids)):
        order: list[str] = []
        slot = int((WARM_UP_DAYS + random.exponential(QUIET_DAYS / 2)) * per_day)
        while slot < (span - 2) * per_day:
            if not order:
                order = list(random.permutation(CLASSES))
            name = order.pop()
            begin = min(slot, (span - 1) * per_day)
            wrong, values = _fault(name, cut, meter=meter, slot=begin, random=random)
            if len(wrong) == 0:
                continue
            cut.kwh[meter, wrong] = values
            label[meter, wrong] = 1 + CLASSES.index(name)
            faults.append(Fault(meter=meter, name=name, slots=wrong))
            slot = int(wrong[-1] + (3 + random.exponential(QUIET_DAYS)) * per_day)
    judged = np.isfinite(clean[alive])
    judged[:, : WARM_UP_DAYS * per_day] = False
    return Case(site=cut, label=label, judged=judged, faults=tuple(faults))


def _fault(  # noqa: PLR0911 - one return a class of fault
    name: str, site: Site, *, meter: int, slot: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the wrong slots and their wrong values; none where the fault would change nothing that one could see."""
    kwh, per_day = site.kwh[meter], site.slots_per_day
    hour = per_day // 24
    past = kwh[max(0, slot - 28 * per_day) : slot]
    past = past[np.isfinite(past)]
    mean, peak = past.mean(), np.quantile(past, 0.98)

    def stretch(length: float) -> np.ndarray:
        slots = np.arange(slot, min(len(kwh), slot + max(1, round(length))))
        return slots[np.isfinite(kwh[slots])]

    if name == "dropout":
        slots = stretch(random.uniform(2, 48) * hour)
        slots = slots[kwh[slots] > 0]
        return slots, np.zeros(len(slots))
    if name == "stuck":
        slots = stretch(random.uniform(8, 72) * hour)
        return slots, np.full(len(slots), kwh[slots[0]]) if len(slots) and kwh[slots[0]] > 0 else np.full(
            len(slots), mean
        )
    if name == "spike":
        slots = stretch(random.integers(1, 3))
        return slots, kwh[slots] + random.uniform(3, 10) * peak
    if name == "scale":
        slots = stretch(random.uniform(12, 96) * hour)
        return slots, kwh[slots] * random.choice([1000.0, 0.001, 3.412, 0.2931])
    if name == "reset":
        slots = stretch(1)
        return slots, np.full(len(slots), -random.uniform(50, 5000) * mean)
    if name == "gap":
        slots = stretch(random.uniform(3, 72) * hour)
        return slots, np.full(len(slots), np.nan)
    if name == "level_change":
        slots = stretch(random.uniform(10, 21) * per_day)
        return slots, kwh[slots] * random.choice([random.uniform(1.25, 1.6), random.uniform(0.5, 0.75)])
    if name == "clock_shift":
        slots = stretch(random.uniform(5, 14) * per_day)
        hours = int(random.choice([-3, -2, -1, 1, 2, 3]))
        moved = np.clip(slots - hours * hour, 0, len(kwh) - 1)
        values = kwh[moved].copy()
        return slots[np.isfinite(values)], values[np.isfinite(values)]
    return _waste(name, site, meter=meter, slot=slot, random=random)


def _waste(
    name: str, site: Site, *, meter: int, slot: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    kwh, per_day = site.kwh[meter], site.slots_per_day
    utc = pl.Series(np.arange(len(kwh))) * site.interval_minutes
    local = (pl.Series([site.first_utc]).dt.offset_by("0m").gather(np.zeros(len(kwh), dtype=np.int64))
             + pl.select(pl.duration(minutes=utc)).to_series()).dt.convert_time_zone(site.timezone)  # fmt: skip
    hour, weekday = local.dt.hour().to_numpy(), local.dt.weekday().to_numpy()
    nothing = np.empty(0, dtype=np.int64), np.empty(0)
    past = slice(max(0, slot - 28 * per_day), slot)
    night = (hour >= 22) | (hour < 6)
    if name == "night_waste":
        by_night, by_day = np.nanmean(kwh[past][night[past]]), np.nanmean(kwh[past][~night[past]])
        if not by_night < 0.7 * by_day:
            return nothing
        slots = np.arange(slot, min(len(kwh), slot + int(random.integers(3, 11)) * per_day))
        slots = slots[night[slots] & np.isfinite(kwh[slots])]
        burning = random.uniform(0.6, 1.0) * by_day * random.normal(1, 0.05, len(slots))
        return slots[burning > kwh[slots]], burning[burning > kwh[slots]]
    works, rests = np.nanmean(kwh[past][weekday[past] <= 5]), np.nanmean(kwh[past][weekday[past] > 5])
    if not rests < 0.8 * works:
        return nothing
    ahead = np.flatnonzero((weekday[slot:] == 6) & (hour[slot:] == 0))
    if len(ahead) == 0 or slot + ahead[0] + 2 * per_day > len(kwh):
        return nothing
    slots = slot + ahead[0] + np.arange(2 * per_day)
    values = kwh[slots - 4 * per_day]  # Tuesday and Wednesday of the same week
    good = np.isfinite(values) & np.isfinite(kwh[slots])
    return slots[good], values[good]
