"""What is known of each meter at an issue: how much history, how recent, its level and extremes, and its scale.

The scale, mean kWh per interval, is what the lower rungs multiply a shape with; it comes from the best source there
is, and `scale_spread` says how far it may be off.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

HISTORY = timedelta(days=56)
"""How far back standing looks."""

DEFAULT_KWH_PER_HOUR = {
    "electricity": 0.4,
    "gas": 1.5,
    "steam": 10.0,
    "hot_water": 5.0,
    "chilled_water": 10.0,
    "water": 0.1,
}
"""Level of a meter when nothing is known in the whole portfolio: of a dwelling, or a building for district energy."""

_DAYS_FOR_OWN_LEVEL = 0.8
_PEERS_FOR_INTENSITY = 3
# Standard deviations of the logarithm of the true level over the assumed one. The first two are judgements: a few days
# miss the season, a declared year misses the week. The others are measured across the portfolio where it is big enough.
_SPREAD_OWN_DAYS = 0.25
_SPREAD_DECLARED = 0.40
_SPREAD_DEFAULT = 1.2
_HOURS_PER_YEAR = 8766.0


def standing(
    readings: pl.DataFrame, *, meters: pl.DataFrame, premises: pl.DataFrame, issued_at_utc: datetime
) -> pl.DataFrame:
    """Return one row per meter with what was known of it at the issue.

    `readings` are rows of `readings.interval` of at least `HISTORY` before the issue; later ones are not looked at.
    Columns: meter_id, site_id, interval_minutes, commodity, direction, primary_use; known_days (days' worth of known
    slots), days_since_reading, mean_kwh, peak_kwh (largest absolute value), is_signed (some reading is negative);
    scale_kwh, scale_source (own_readings, declared_year, floor_area, portfolio, default) and scale_spread.
    """
    known = (
        readings.lazy()
        .filter(
            pl.col("starts_at_utc") >= issued_at_utc - HISTORY,
            pl.col("starts_at_utc") < issued_at_utc,
            pl.col("available_at_utc") <= issued_at_utc,
            pl.col("energy_kwh").is_finite(),
        )
        .group_by("meter_id")
        .agg(
            known_slots=pl.len(),
            last_at_utc=pl.col("starts_at_utc").max(),
            mean_kwh=pl.col("energy_kwh").sort().mean(),  # the order of addition decides the last bit
            peak_kwh=pl.col("energy_kwh").abs().max(),
            is_signed=pl.col("energy_kwh").min() < 0,
        )
        .collect()
    )
    hints = premises.select("premise_id", "primary_use", "floor_area_m2", "annual_kwh_hint")
    rows = (
        meters.select("meter_id", "premise_id", "site_id", "interval_minutes", "commodity", "direction")
        .join(hints, on="premise_id", how="left", validate="m:1")
        .join(known, on="meter_id", how="left", validate="1:1")
        .with_columns(
            known_days=(pl.col("known_slots").fill_null(0) * pl.col("interval_minutes") / 1440),
            days_since_reading=(issued_at_utc - pl.col("last_at_utc")).dt.total_minutes() / 1440,
            is_signed=pl.col("is_signed").fill_null(value=False),
        )
    )
    return _with_scale(rows).drop("premise_id", "known_slots", "last_at_utc", "floor_area_m2", "annual_kwh_hint")


def _with_scale(rows: pl.DataFrame) -> pl.DataFrame:
    hours = pl.col("interval_minutes") / 60
    level = pl.col("mean_kwh").abs() / hours
    group = ["commodity", "direction"]
    own = (pl.col("known_days") >= _DAYS_FOR_OWN_LEVEL) & (level > 0)
    rows = rows.with_columns(_level=pl.when(own).then(level))
    rows = rows.with_columns(_intensity=pl.col("_level") / pl.col("floor_area_m2")).with_columns(
        _intensity=pl.when(pl.col("_intensity").is_finite()).then("_intensity")
    )
    use = [*group, "primary_use"]
    rows = rows.with_columns(
        _use_intensity=_enough("_intensity", use, pl.col("_intensity").median()),
        _use_spread=_enough("_intensity", use, pl.col("_intensity").log().std()),
        _any_intensity=_enough("_intensity", group, pl.col("_intensity").median()),
        _any_spread=_enough("_intensity", group, pl.col("_intensity").log().std()),
        _portfolio=pl.col("_level").median().over(group),
        _portfolio_spread=_enough("_level", group, pl.col("_level").log().std()),
        _default=pl.col("commodity").replace_strict(DEFAULT_KWH_PER_HOUR, return_dtype=pl.Float64),
    )
    declared = pl.when(
        (pl.col("commodity") == "electricity") & pl.col("direction").is_in(["consumption", "grid_import"])
    )
    candidates = {
        "own_readings": (pl.col("_level"), pl.lit(_SPREAD_OWN_DAYS)),
        "declared_year": (declared.then(pl.col("annual_kwh_hint") / _HOURS_PER_YEAR), pl.lit(_SPREAD_DECLARED)),
        "floor_area": (
            pl.coalesce("_use_intensity", "_any_intensity") * pl.col("floor_area_m2"),
            pl.coalesce("_use_spread", "_any_spread").clip(0.3, 2.0),
        ),
        "portfolio": (pl.col("_portfolio"), pl.col("_portfolio_spread").fill_null(_SPREAD_DEFAULT).clip(0.5, 2.0)),
        "default": (pl.col("_default"), pl.lit(_SPREAD_DEFAULT)),
    }
    rows = rows.with_columns(
        **{f"_scale_{name}": _positive(scale) for name, (scale, _) in candidates.items()},
        **{f"_spread_{name}": spread for name, (_, spread) in candidates.items()},
    )
    source = pl.coalesce(pl.when(pl.col(f"_scale_{name}").is_not_null()).then(pl.lit(name)) for name in candidates)
    spread = pl.coalesce(pl.when(pl.col(f"_scale_{name}").is_not_null()).then(f"_spread_{name}") for name in candidates)
    rows = rows.with_columns(
        scale_kwh=pl.coalesce(f"_scale_{name}" for name in candidates) * hours, scale_source=source, scale_spread=spread
    )
    return rows.select(pl.exclude("^_.*$"))


def _enough(column: str, group: list[str], statistic: pl.Expr) -> pl.Expr:
    """Return a statistic over a group, null where too few meters of it know `column`."""
    return pl.when(pl.col(column).count().over(group) >= _PEERS_FOR_INTENSITY).then(statistic.over(group))


def _positive(scale: pl.Expr) -> pl.Expr:
    return pl.when(scale.is_finite() & (scale > 0)).then(scale)
