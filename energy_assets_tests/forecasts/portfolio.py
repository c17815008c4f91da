"""A small portfolio with known history for tests of forecasts: two sites, eight premises, every kind of meter."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import METERS, PREMISES, QUANTILE_COLUMNS, READINGS_INTERVAL, SITES, UTC_TIME
from energy_assets.features.lags import ANALOGUE_COLUMNS
from energy_assets.forecasts.slots import delivery_slots
from energy_assets.models.registry import LoadedModel, registered_name
from energy_assets_tests.models.constant_model import ConstantModel

ISSUE = datetime(2026, 3, 10, tzinfo=UTC)
LEVELS_KWH = {"t.a": 2.0, "t.b": 3.0, "t.c": 4.0, "t.d": 6.0, "t.e": 5.0, "t.f": 1.0, "t.g": 1.5, "t.h": 8.0}
CLASSES = [("electricity", 60), ("electricity", 15), ("steam", 60)]

SITE_ROWS = SITES.conform(
    pl.DataFrame(
        {
            "site_id": ["t.berlin", "t.boston"],
            "name": ["Berlin", "Boston"],
            "timezone": ["Europe/Berlin", "America/New_York"],
            "source": ["t", "t"],
        }
    )
)
PREMISE_ROWS = PREMISES.conform(
    pl.DataFrame(
        {
            "premise_id": list(LEVELS_KWH),
            "site_id": ["t.berlin"] * 5 + ["t.boston"] * 3,
            "primary_use": ["Office"] * 8,
            "floor_area_m2": [level * 100 for level in LEVELS_KWH.values()],
            "source": ["t"] * 8,
        }
    )
)


def _meter(premise: str, commodity: str, direction: str, minutes: int, suffix: str = "") -> dict[str, object]:
    return {
        "meter_id": f"{premise}.{commodity}{suffix}",
        "premise_id": premise,
        "site_id": "t.berlin" if premise <= "t.e" else "t.boston",
        "commodity": commodity,
        "direction": direction,
        "measure": "interval_energy",
        "unit": "kWh",
        "interval_minutes": minutes,
        "source": "t",
    }


# a-d: plain consumption; e: consumption and production behind grid meters; f: PV; g: every 15 minutes; h: steam too.
METER_ROWS = METERS.conform(
    pl.DataFrame(
        [
            *(_meter(f"t.{name}", "electricity", "consumption", 60) for name in "abcd"),
            _meter("t.e", "electricity", "consumption", 60),
            _meter("t.e", "electricity", "grid_import", 60, ".import"),
            _meter("t.e", "electricity", "grid_export", 60, ".export"),
            _meter("t.f", "electricity", "consumption", 60),
            _meter("t.f", "electricity", "production", 60, ".pv"),
            _meter("t.g", "electricity", "consumption", 15),
            _meter("t.h", "electricity", "consumption", 60),
            _meter("t.h", "steam", "consumption", 60),
        ]
    )
)


def readings(meters: pl.DataFrame = METER_ROWS, *, days_before: int = 60, days_after: int = 3) -> pl.DataFrame:
    """Return a daily wave per meter, level x (1 + 0.5 sin), with one percent of seeded noise, known at its end."""
    frames = []
    for row in meters.iter_rows(named=True):
        minutes = row["interval_minutes"]
        starts = pl.datetime_range(
            ISSUE - timedelta(days=days_before),
            ISSUE + timedelta(days=days_after),
            f"{minutes}m",
            closed="left",
            eager=True,
            time_zone="UTC",
        ).cast(UTC_TIME)
        hours = np.arange(len(starts)) * minutes / 60
        noise = np.random.default_rng(sum(row["meter_id"].encode())).normal(1, 0.01, len(starts))
        energy = LEVELS_KWH[row["premise_id"]] * (1 + 0.5 * np.sin(hours * 2 * np.pi / 24)) * noise * minutes / 60
        frames.append(
            pl.DataFrame({"starts_at_utc": starts, "energy_kwh": energy}).with_columns(
                meter_id=pl.lit(row["meter_id"]),
                interval_minutes=pl.lit(minutes, pl.Int64),
                reported_kwh="energy_kwh",
                quality=pl.lit("measured"),
                available_at_utc=pl.col("starts_at_utc") + timedelta(minutes=minutes),
            )
        )
    return READINGS_INTERVAL.conform(pl.concat(frames))


def features(known: pl.DataFrame, meters: pl.DataFrame = METER_ROWS) -> pl.DataFrame:
    """Return what the ladder reads of feature rows: scale, temperature, and analogues of the last six same weekdays."""
    before = known.filter(pl.col("starts_at_utc") < ISSUE, pl.col("energy_kwh").is_not_null())
    slots = delivery_slots(meters, sites=SITE_ROWS, issued_at_utc=ISSUE)
    weeks = pl.concat(
        slots.select("meter_id", "starts_at_utc", at=pl.col("starts_at_utc") - timedelta(weeks=week))
        for week in range(1, 7)
    ).join(before.select("meter_id", at="starts_at_utc", kwh="energy_kwh"), on=["meter_id", "at"], how="inner")
    analogues = weeks.group_by("meter_id", "starts_at_utc").agg(
        pl.col("kwh").quantile(level, "linear").alias(name)
        for name, level in zip(ANALOGUE_COLUMNS, [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95], strict=True)
    )
    scale = before.group_by("meter_id").agg(scale_kwh=pl.col("energy_kwh").abs().mean())
    return (
        slots.join(scale, on="meter_id", how="left")
        .join(analogues, on=["meter_id", "starts_at_utc"], how="left")
        .with_columns(temperature_c=pl.lit(7.5))
    )


def champion(commodity: str, minutes: int, *, level: float = 1.0, **changes: object) -> LoadedModel:
    """Return a loaded model whose variants predict a constant times the scale of the meter."""
    variants = {"full": ConstantModel(level), "without_weather": ConstantModel(level)}
    name = registered_name(commodity, interval_minutes=minutes)
    return LoadedModel(**{"name": name, "version": 3, "variants": variants, "tags": {}} | changes)


def champions(**changes: object) -> dict[str, LoadedModel]:
    """Return a champion of every class of the portfolio."""
    loaded = [champion(commodity, minutes, **changes) for commodity, minutes in CLASSES]
    return {each.name: each for each in loaded}


def quantiles(rows: pl.DataFrame) -> np.ndarray:
    """Return the quantiles of rows as an array [row, level]."""
    return rows.select(QUANTILE_COLUMNS).to_numpy()
