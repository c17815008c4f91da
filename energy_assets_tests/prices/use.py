"""Readings and uses that the settlement tests share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import METERS, READINGS_INTERVAL, UTC_TIME
from energy_assets.prices.gathering import LocalDay
from energy_assets.prices.settlement import DayPrices
from energy_assets.prices.usage import DayUse
from energy_assets.prices.zones import ZoneConfig


def meters(*declared: tuple[str, str, str], zone_id: str = "community", minutes: int = 60) -> pl.DataFrame:
    """Return rows of METERS from (meter_id, premise_id, direction)."""
    return METERS.conform(
        pl.DataFrame(
            [
                {"meter_id": meter, "premise_id": premise, "site_id": zone_id, "direction": direction}
                for meter, premise, direction in declared
            ]
        ).with_columns(
            commodity=pl.lit("electricity"),
            measure=pl.lit("interval_energy"),
            unit=pl.lit("kWh"),
            interval_minutes=pl.lit(minutes, pl.Int64),
            source=pl.lit("test"),
        )
    )


def readings(
    rows: Mapping[str, Mapping[datetime, float | None]], *, minutes: int = 60, late: Sequence[datetime] = ()
) -> pl.DataFrame:
    """Return rows of READINGS_INTERVAL; `late` slots became known a month after."""
    table = [
        {"meter_id": meter, "starts_at_utc": at, "energy_kwh": kwh, "reported_kwh": kwh}
        for meter, slots in rows.items()
        for at, kwh in slots.items()
    ]
    known = pl.col("starts_at_utc") + timedelta(minutes=minutes)
    return READINGS_INTERVAL.conform(
        pl.DataFrame(table, schema_overrides={"starts_at_utc": UTC_TIME, "energy_kwh": pl.Float64}).with_columns(
            interval_minutes=pl.lit(minutes, pl.Int64),
            quality=pl.lit("measured"),
            reason=pl.lit(None, pl.String),
            available_at_utc=pl.when(pl.col("starts_at_utc").is_in(list(late)))
            .then(known + timedelta(days=30))
            .otherwise(known),
        )
    )


def hours_of(day: date, *, days: int = 1) -> list[datetime]:
    """Return the hours of UTC days."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return [start + timedelta(hours=hour) for hour in range(24 * days)]


def use_of(
    kwh: Mapping[str, Sequence[tuple[float, float, float]]], *, zone: ZoneConfig, local_date: date, minutes: int = 60
) -> DayUse:
    """Return a day's use from (import, export, baseline) per slot; slots past those given are zero."""
    day = LocalDay(zone=zone, local_date=local_date, interval_minutes=minutes)
    padded = np.zeros((len(kwh), len(day.slots), 3))
    for row, slots in enumerate(kwh.values()):
        padded[row, : len(slots)] = slots
    wh = np.round(padded * 1000).astype(np.int64)
    return DayUse(
        day=day,
        premise_ids=list(kwh),
        import_wh=wh[:, :, 0].T,
        export_wh=wh[:, :, 1].T,
        baseline_wh=wh[:, :, 2].T,
        is_estimated=np.zeros((len(day.slots), len(kwh)), dtype=bool),
    )


def priced(use: DayUse, import_units: Sequence[int], export_units: Sequence[int]) -> DayPrices:
    """Return published prices; the last one holds for the slots past those given."""
    slots = len(use.day.slots)
    bought = [*import_units, *[import_units[-1]] * (slots - len(import_units))]
    sold = [*export_units, *[export_units[-1]] * (slots - len(export_units))]
    return DayPrices(
        import_units=np.array(bought), export_units=np.array(sold), is_published=np.ones(slots, dtype=bool)
    )
