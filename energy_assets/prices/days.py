"""The slots of a delivery day and the forecast of a zone on them, as arrays.

A local day has 23, 24 or 25 hours; its slots come from the frame and are checked against the zone's calendar.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import ContractError
from energy_assets.prices.zones import ZoneConfig

Floats = npt.NDArray[np.float64]

# Weights that make the mean of a near-normal quantity from its 10 %, 50 % and 90 % quantiles (Swanson's rule).
SCENARIO_WEIGHTS = np.array([0.3, 0.4, 0.3])
MEDIAN = 1
LONGEST_SLOT_MINUTES = 60
OPTIONAL = ("consumption_kwh", "wholesale_price", "carbon_kg_per_kwh", "temperature_c")


@dataclass(frozen=True, kw_only=True)
class DayForecast:
    """Net load of a zone on its delivery day: arrays over slots, in kWh per slot."""

    starts_at_utc: list[datetime]
    interval_minutes: int
    local_hours: npt.NDArray[np.int64]
    net_load_kwh: Floats  # (3, slots): q10, q50, q90
    consumption_kwh: Floats  # what responds to the price
    wholesale_price: Floats | None
    wholesale_carbon: Floats | None
    temperature_c: Floats | None

    @property
    def hours(self) -> float:
        """Return the length of a slot in hours."""
        return self.interval_minutes / 60.0

    @property
    def billed_kwh(self) -> Floats:
        """Return the reference load: the imports of the median, on which revenue is neutral."""
        return np.asarray(np.maximum(self.net_load_kwh[MEDIAN], 0.0), dtype=np.float64)

    @property
    def expected_kwh(self) -> Floats:
        """Return the mean net load over the scenarios."""
        return np.asarray(SCENARIO_WEIGHTS @ self.net_load_kwh, dtype=np.float64)


def day_bounds(delivery_date: date, *, zone: ZoneConfig) -> tuple[datetime, datetime]:
    """Return start and end of a local day of the zone, in UTC."""
    local = zone.zoneinfo
    start = datetime.combine(delivery_date, time(0), tzinfo=local).astimezone(UTC)
    end = datetime.combine(delivery_date + timedelta(days=1), time(0), tzinfo=local).astimezone(UTC)
    return start, end


def day_slots(delivery_date: date, *, zone: ZoneConfig, interval_minutes: int) -> list[datetime]:
    """Return the starts of the slots of a local day in UTC: 23, 24 or 25 hours of them."""
    start, end = day_bounds(delivery_date, zone=zone)
    step = timedelta(minutes=interval_minutes)
    return [start + i * step for i in range(-((start - end) // step))]


def read_forecast(net_load: pl.DataFrame, *, zone: ZoneConfig, delivery_date: date) -> DayForecast:
    """Return the forecast of a delivery day as arrays.

    Args:
        net_load: starts_at_utc, q10, q50, q90 (kWh per slot; all three, or energy_kwh alone for a certain load);
            optionally consumption_kwh (what responds), wholesale_price (currency/kWh), carbon_kg_per_kwh,
            temperature_c (for the rule of system 003).
        zone: The price zone; its time zone decides what the day's slots are.
        delivery_date: Local day.

    Raises:
        ContractError: a column is absent, a value is missing, quantiles cross, or the slots are not the day's own.
    """
    frame = _with_quantiles(net_load, zone=zone)
    starts: list[datetime] = frame["starts_at_utc"].to_list()
    interval = _interval_minutes(starts, zone=zone, delivery_date=delivery_date)
    quantiles = np.vstack([frame[name].to_numpy() for name in ("q10", "q50", "q90")])
    if np.any(np.diff(quantiles, axis=0) < -1e-9):
        raise ContractError(f"The net load of zone {zone.zone_id} has crossing quantiles; sort q10 <= q50 <= q90.")
    consumption = frame["consumption_kwh"].to_numpy() if "consumption_kwh" in frame.columns else quantiles[MEDIAN]
    if zone.supply_kind == "wholesale" and "wholesale_price" not in frame.columns:
        raise ContractError(f"Zone {zone.zone_id} is priced from wholesale: its net load needs column wholesale_price.")

    def optional(name: str) -> Floats | None:
        return frame[name].to_numpy() if name in frame.columns else None

    return DayForecast(
        starts_at_utc=starts,
        interval_minutes=interval,
        local_hours=np.array([start.astimezone(zone.zoneinfo).hour for start in starts], dtype=np.int64),
        net_load_kwh=quantiles,
        consumption_kwh=np.maximum(consumption, 0.0),
        wholesale_price=optional("wholesale_price"),
        wholesale_carbon=optional("carbon_kg_per_kwh"),
        temperature_c=optional("temperature_c"),
    )


def _with_quantiles(net_load: pl.DataFrame, *, zone: ZoneConfig) -> pl.DataFrame:
    if "energy_kwh" in net_load.columns and "q50" not in net_load.columns:
        energy = pl.col("energy_kwh")
        net_load = net_load.with_columns(q10=energy, q50=energy, q90=energy).drop("energy_kwh")
    missing = {"starts_at_utc", "q10", "q50", "q90"} - set(net_load.columns)
    if missing:
        raise ContractError(
            f"The net load of zone {zone.zone_id} lacks {sorted(missing)}: give starts_at_utc, q10, q50, q90 in kWh."
        )
    known = [c for c in OPTIONAL if c in net_load.columns]
    values = ["q10", "q50", "q90", *known]
    frame = net_load.select(
        pl.col("starts_at_utc").cast(UTC_TIME), *(pl.col(c).cast(pl.Float64, strict=False) for c in values)
    ).sort("starts_at_utc")
    for name in values:
        wrong = frame.filter(~pl.col(name).is_finite().fill_null(value=False))
        if wrong.height:
            raise ContractError(
                f"The net load of zone {zone.zone_id} has missing or infinite values: {wrong.height} in column {name}, "
                f"the first at {wrong['starts_at_utc'][0]}; fill them upstream."
            )
    return frame


def _interval_minutes(starts: list[datetime], *, zone: ZoneConfig, delivery_date: date) -> int:
    where = f"the net load of zone {zone.zone_id} for {delivery_date} ({zone.timezone})"
    if not starts:
        raise ContractError(f"There are no slots in {where}.")
    begin, end = day_bounds(delivery_date, zone=zone)
    length_minutes = int((end - begin).total_seconds()) // 60
    interval, rest = divmod(length_minutes, len(starts))
    if (
        rest
        or not 0 < interval <= LONGEST_SLOT_MINUTES
        or starts != day_slots(delivery_date, zone=zone, interval_minutes=interval)
    ):
        raise ContractError(
            f"{len(starts)} slots from {starts[0]} to {starts[-1]} are not the even slots of {begin} .. {end}: "
            f"give {where} on that day's own 23, 24 or 25 hours."
        )
    return interval
