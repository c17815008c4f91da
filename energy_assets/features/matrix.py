"""The feature matrix: one row per meter, issue and slot, by one function for training, back-test and the nightly run.

Rows of an issue depend on nothing but what was known at that issue; other issues in the same call change no bit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import UTC_TIME, Window
from energy_assets.errors import ContractError
from energy_assets.features.calendar import CALENDAR_FEATURES, CLEAR_SKY_FEATURES, Calendar, calendar_of
from energy_assets.features.fingerprint import KEY, features_hash
from energy_assets.features.fits import Fits
from energy_assets.features.history import RECENT_DAYS, YEAR_AGO_DAYS, Floats, History, Ints, as_known, to_history
from energy_assets.features.horizon import DELIVERY_DATE, Horizon, minute_of, slot_bounds
from energy_assets.features.lags import (
    LEVEL_FEATURES,
    LOAD_FEATURES,
    level_features,
    scale_of,
    slot_features,
)
from energy_assets.features.metadata import METADATA_FEATURES, described_meters, place_of
from energy_assets.features.past_weather import PastWeather, to_past_weather
from energy_assets.features.roofs import PV_FEATURES, ROOF_FEATURES, Roofs, pv_features, roof_features
from energy_assets.features.weather import (
    DIRECT_QUANTITIES,
    HOURS_BEFORE,
    WEATHER_FEATURES,
    WIND_CHILL_FEATURES,
    KnownWeather,
    hour_positions,
    hours_of,
    to_known_weather,
    weather_features,
)

__all__ = [
    "DELIVERY_DATE",
    "FEATURE_GROUPS",
    "KEY",
    "Horizon",
    "Thinning",
    "build_features",
    "feature_blocks",
    "features_hash",
]

LEAD_FEATURES = ("lead_hours",)
FEATURE_GROUPS: dict[str, tuple[str, ...]] = {
    "load": LOAD_FEATURES,
    "calendar": CALENDAR_FEATURES,
    "roof": ROOF_FEATURES,
    "weather": (*WEATHER_FEATURES, *PV_FEATURES),
    "metadata": METADATA_FEATURES,
    "lead": LEAD_FEATURES,
    "clear_sky": CLEAR_SKY_FEATURES,
    "wind_chill": WIND_CHILL_FEATURES,
}
USUAL_GROUPS = tuple(name for name in FEATURE_GROUPS if name not in ("clear_sky", "wind_chill"))
"""What models use unless they are told otherwise (`training_features`)."""
FEATURES = tuple(name for group in FEATURE_GROUPS.values() for name in group)
SCHEMA = pl.Schema(
    {
        "meter_id": pl.String(),
        "issued_at_utc": UTC_TIME,
        "starts_at_utc": UTC_TIME,
        "interval_minutes": pl.Int32(),
        **dict.fromkeys(FEATURES, pl.Float32()),
        "scale_kwh": pl.Float32(),
        "energy_kwh": pl.Float32(),
        "energy_known_at_utc": UTC_TIME,
    }
)
_METERS_PER_CHUNK = 1000
_DAYS_AFTER = 4


@dataclass(frozen=True, kw_only=True)
class Thinning:
    """Keeps about `share` of the rows, chosen by key and seed, so that a choice never depends on what else is built."""

    share: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Meters of one interval class with all that their rows are made of."""

    described: pl.DataFrame
    metadata: dict[str, Floats]
    members: list[tuple[str, Calendar, str, Ints]]
    """Site, its calendar, its time zone, and the positions of its meters in `described`."""
    history: History
    fits: Fits
    salt: Ints


def reading_windows(issues: Sequence[datetime]) -> list[Window]:
    """Return the spans of readings that features can use: the last weeks and the same weeks a year ago."""
    first, last = min(issues), max(issues)
    recent = Window(starts_at_utc=first - timedelta(days=RECENT_DAYS), ends_at_utc=last + timedelta(days=_DAYS_AFTER))
    old, new = (timedelta(days=days) for days in YEAR_AGO_DAYS)
    year_ago = Window(starts_at_utc=first - old, ends_at_utc=last - new)
    if year_ago.ends_at_utc >= recent.starts_at_utc:
        return [Window(starts_at_utc=year_ago.starts_at_utc, ends_at_utc=recent.ends_at_utc)]
    return [year_ago, recent]


def build_features(
    readings: pl.DataFrame | pl.LazyFrame,
    *,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    premises: pl.DataFrame,
    weather: pl.DataFrame | None,
    issues: Sequence[datetime],
    horizon: Horizon = DELIVERY_DATE,
    thinning: Thinning | None = None,
    closures: pl.DataFrame | None = None,
    observed: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return one row per meter, issue and slot in service: KEY, interval_minutes, FEATURES, scale_kwh and the target.

    Args:
        readings: rows of READINGS_INTERVAL; only those with `available_at_utc` <= issue reach the features of an issue
            (`history.hide_unknown` is the gate), whatever else is passed.
        meters: rows of METERS; likewise `sites` and `premises`, one row per id.
        weather: rows of `weather.as_known` for these issues, or None.
        issues: issue times, whole minutes, each once.
        horizon: which slots an issue has.
        thinning: share of the rows to keep, for training.
        closures: school holidays and closures, as `closures.read_closures` returns them, or None.
        observed: rows of `weather.observed` of `reading_windows`, from which the answers of meters to the weather are
            fitted (`history.hide_unknown` is the gate here too), or None.

    Returns:
        `SCHEMA`; sorted by interval class, then blocks of meters, issue, site, meter and slot. Missing features are
        NaN. Columns that end in `_kwh` are in kWh per interval. `energy_kwh` is what the reading is in the end, null
        while unknown; `energy_known_at_utc` when that became known.

    Raises:
        ContractError: an issue is given twice or is no whole minute, or an id is declared twice.
    """
    blocks = feature_blocks(
        readings,
        meters=meters,
        sites=sites,
        premises=premises,
        weather=weather,
        issues=issues,
        horizon=horizon,
        thinning=thinning,
        closures=closures,
        observed=observed,
    )
    return pl.concat([SCHEMA.to_frame(), *blocks], rechunk=False)


def feature_blocks(
    readings: pl.DataFrame | pl.LazyFrame,
    *,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    premises: pl.DataFrame,
    weather: pl.DataFrame | None,
    issues: Sequence[datetime],
    horizon: Horizon = DELIVERY_DATE,
    thinning: Thinning | None = None,
    closures: pl.DataFrame | None = None,
    observed: pl.DataFrame | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield the rows of `build_features` a site and an issue at a time, for more of them than memory holds."""
    if len(set(issues)) != len(issues):
        raise ContractError("An issue is given twice; give each issue time once.")
    if not issues or meters.is_empty():
        return
    described = described_meters(meters, premises=premises, sites=sites)
    known_weather, past = to_known_weather(weather, issues=issues), to_past_weather(observed)
    for chunk in _chunks(readings.lazy(), described, issues=issues, closures=closures, past=past):
        for issue in issues:
            yield from _issue_rows(chunk, issue, weather=known_weather, horizon=horizon, thinning=thinning)


def _chunks(
    readings: pl.LazyFrame,
    described: pl.DataFrame,
    *,
    issues: Sequence[datetime],
    closures: pl.DataFrame | None,
    past: PastWeather | None,
) -> Iterator[_Chunk]:
    first, last = minute_of(min(issues)), minute_of(max(issues))
    for (minutes,), group in described.partition_by("interval_minutes", as_dict=True, maintain_order=True).items():
        interval = int(minutes)
        per_day = 1440 // interval
        from_slot = first // interval - (YEAR_AGO_DAYS[0] + 1) * per_day
        to_slot = last // interval + (_DAYS_AFTER + 1) * per_day
        calendars: dict[str, Calendar] = {}
        for row in group.unique("site_id", maintain_order=True).iter_rows(named=True):
            calendars[row["site_id"]] = calendar_of(
                place_of(row, closures=closures),
                first_slot=from_slot,
                slot_count=to_slot - from_slot,
                interval_minutes=interval,
            )
        for part in group.iter_slices(_METERS_PER_CHUNK):
            history = to_history(
                readings, meter_ids=part["meter_id"], interval_minutes=interval, from_slot=from_slot, to_slot=to_slot
            )
            yield _chunk(part, history=history, calendars=calendars, past=past)


def _chunk(part: pl.DataFrame, *, history: History, calendars: dict[str, Calendar], past: PastWeather | None) -> _Chunk:
    positions = part.with_row_index("position").group_by("site_id", "timezone", maintain_order=True).agg("position")
    members = [
        (site_id, calendars[site_id], zone, np.asarray(position, dtype=np.int64))
        for site_id, zone, position in positions.iter_rows()
    ]
    return _Chunk(
        described=part,
        metadata={name: part[name].to_numpy() for name in METADATA_FEATURES},
        members=members,
        history=history,
        fits=Fits(
            described=part,
            history=history,
            calendars=calendars,
            past=past,
            members={site_id: position for site_id, _, _, position in members},
        ),
        salt=np.array([zlib.crc32(meter_id.encode()) for meter_id in part["meter_id"]], dtype=np.int64),
    )


def _issue_rows(
    chunk: _Chunk, issue: datetime, *, weather: KnownWeather | None, horizon: Horizon, thinning: Thinning | None
) -> Iterator[pl.DataFrame]:
    history, issue_minute = chunk.history, minute_of(issue)
    interval = history.interval_minutes
    known = as_known(history, issue_minute=issue_minute)
    levels, scale, fit = level_features(known), scale_of(known), chunk.fits.at(issue_minute)
    bounds = chunk.described.select("from_minute", "to_minute").to_numpy()
    for site_id, calendar, timezone, members in chunk.members:
        low, high = slot_bounds(issue, timezone=timezone, interval_minutes=interval, horizon=horizon)
        slots = np.arange(low, high, dtype=np.int64)
        meter, slot = np.repeat(members, len(slots)), np.tile(slots, len(members))
        keep = (slot * interval >= bounds[meter, 0]) & (slot * interval < bounds[meter, 1])
        if thinning is not None:
            keep &= _lottery(chunk.salt[meter], issue_minute, slot, seed=thinning.seed) < thinning.share
        meter, slot = meter[keep], slot[keep]
        if not len(meter):
            continue
        hours = hours_of(weather, site_id=site_id, issue_minute=issue_minute)
        columns: dict[str, Floats] = {
            **slot_features(known, meter=meter, slot=slot, calendar=calendar),
            **{name: levels[name][meter] for name in LEVEL_FEATURES},
            **{name: values[calendar.columns_of(slot)] for name, values in calendar.features.items()},
            **_sun(chunk, fit.roofs, site_id=site_id, meter=meter, slot=slot, issue_minute=issue_minute, hours=hours),
            **weather_features(
                hours, response=fit.response, meter=meter, issue_minute=issue_minute, slot_minute=slot * interval
            ),
            **{name: values[meter] for name, values in chunk.metadata.items()},
            "lead_hours": ((slot * interval - issue_minute) / 60).astype(np.float32),
            "scale_kwh": scale[meter],
        }
        yield _frame(chunk, columns, meter=meter, slot=slot, issue_minute=issue_minute)


def _sun(
    chunk: _Chunk,
    roofs: Roofs,
    *,
    site_id: str,
    meter: Ints,
    slot: Ints,
    issue_minute: int,
    hours: Floats | None,
) -> dict[str, Floats]:
    """Return ROOF_FEATURES and PV_FEATURES of rows of a site, NaN where no roof is known."""
    columns = dict.fromkeys((*ROOF_FEATURES, *PV_FEATURES), np.full(len(slot), np.nan, dtype=np.float32))
    sunny = np.flatnonzero(np.fmax(roofs.plane, roofs.clear_plane)[meter] >= 0)
    skies = chunk.fits.sky(site_id) if len(sunny) else None
    if skies is None:
        return columns
    meter, slot = meter[sunny], slot[sunny]
    found = roof_features(roofs, sky=skies[0], meter=meter, slot=slot)
    if hours is not None:
        names = ("global_horizontal_irradiance_w_m2", "cloud_cover_fraction", "temperature_c")
        light, clouds, air = (hours[:, DIRECT_QUANTITIES.index(name)] for name in names)
        found |= pv_features(
            roofs,
            skies=skies,
            meter=meter,
            slot=slot,
            hour_of_slot=hour_positions(slot * chunk.history.interval_minutes, issue_minute=issue_minute),
            first_hour=issue_minute // 60 - HOURS_BEFORE,
            past_hours=HOURS_BEFORE,
            global_w_m2=light,
            cloud_cover_fraction=clouds,
            temperature_c=air,
        )
    for name, values in found.items():
        columns[name] = columns[name].copy()
        columns[name][sunny] = values
    return columns


def _frame(chunk: _Chunk, columns: dict[str, Floats], *, meter: Ints, slot: Ints, issue_minute: int) -> pl.DataFrame:
    history = chunk.history
    energy, known_minute = history.final(meter, slot)
    unknown = ~np.isfinite(energy)
    minutes = pl.DataFrame(
        {
            "starts_at_utc": slot * history.interval_minutes,
            "energy_known_at_utc": known_minute.astype(np.int64),
            "energy_kwh": energy,
            "is_unknown": unknown,
        }
    ).with_columns(pl.col("starts_at_utc", "energy_known_at_utc").mul(60_000_000).cast(UTC_TIME))
    known = pl.when(~pl.col("is_unknown"))
    return (
        minutes.with_columns(
            chunk.described["meter_id"].gather(meter),
            pl.lit(issue_minute * 60_000_000, pl.Int64).cast(UTC_TIME).alias("issued_at_utc"),
            pl.lit(history.interval_minutes, pl.Int32).alias("interval_minutes"),
            known.then("energy_kwh").alias("energy_kwh"),
            known.then("energy_known_at_utc").alias("energy_known_at_utc"),
        )
        .hstack([pl.Series(name, values, dtype=pl.Float32) for name, values in columns.items()])
        .select(SCHEMA.names())
    )


def _lottery(salt: Ints, issue_minute: int, slot: Ints, *, seed: int) -> Floats:
    """Return a number in [0, 1) per row by mixing its key with splitmix64."""
    x = salt.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + slot.astype(np.uint64)
    with np.errstate(over="ignore"):
        x = x * np.uint64(0xBF58476D1CE4E5B9) + np.uint64((issue_minute * 1_000_003 + seed) % 2**64)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
