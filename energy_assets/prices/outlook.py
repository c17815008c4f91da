"""What the next weeks and months may cost a premise or earn it: its energy to 90 days ahead, at what it cost lately.

No price is published that far. What a kWh drawn cost and a kWh fed in earned over the last settled weeks holds all of a
premise's tariff, habits and community, and is taken to go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.contracts.settlement import AMOUNT_UNITS_PER_CURRENCY
from energy_assets.errors import ContractError
from energy_assets.features.sun import sun_at
from energy_assets.forecasts.outlook import LONGEST_DAYS, outlook
from energy_assets.prices.days import Floats
from energy_assets.prices.usage import DayUse

RECENT_DAYS = 28
_LEAST_READ = 0.9
_LEAST_SUN_W_M2 = 20.0
_SIDES = ("drawn", "fed")
_LEVELS = ("q10", "q50", "q90")


def daily_use(uses: Iterable[DayUse]) -> pl.DataFrame:
    """Return meter_id (`<premise_id>|drawn` or `|fed`), local_date and energy_kwh; null where a tenth was not read."""
    frames = [pl.DataFrame(schema={"meter_id": pl.String, "local_date": pl.Date, "energy_kwh": pl.Float64})]
    for use in uses:
        is_read = 1.0 - use.is_estimated.mean(axis=0) >= _LEAST_READ
        for side, energy in zip(_SIDES, (use.import_wh, use.export_wh), strict=True):
            frames.append(
                pl.DataFrame(
                    {
                        "meter_id": [f"{premise}|{side}" for premise in use.premise_ids],
                        "local_date": use.day.local_date,
                        "energy_kwh": np.where(is_read, energy.sum(axis=0) / 1000.0, np.nan),
                    }
                ).with_columns(pl.col("energy_kwh").fill_nan(None))
            )
    return pl.concat(frames)


def costs_ahead(
    history: pl.DataFrame,
    *,
    premise_id: str,
    settled: pl.DataFrame,
    first_day: date,
    days: int = LONGEST_DAYS,
    latitude: float | None = None,
) -> pl.DataFrame:
    """Return energy, cost, profit and balance of a premise over the next 7, 30, 60 and 90 days.

    Args:
        history: As `daily_use` returns it: the weeks before `first_day`, better a year and more. The ranges learn from
            the errors of all premises in it, so give some of the neighbours as well.
        premise_id: Whose outlook.
        settled: Rows of SETTLEMENT_DAYS of the premise; those of the last RECENT_DAYS say what a kWh costs and earns.
        first_day: First day of the outlook.
        days: How far it reaches, at most 90.
        latitude: Of the site, degrees north: then what is fed in follows the height of the sun through the seasons.

    Returns:
        days; drawn_kwh, fed_kwh, cost, profit (currency) with _q10, _q50, _q90 each; balance_q10, _q50, _q90: profit
        less cost, its ends those of both at once: dull weeks bring less profit and more cost.

    Raises:
        ContractError: fewer than 14 of the last 56 days were read, or none of the last RECENT_DAYS is settled.
    """
    recent = settled.filter(pl.col("local_date") >= first_day - timedelta(days=RECENT_DAYS))
    if recent.is_empty():
        raise ContractError(
            f"No day of the {RECENT_DAYS} before {first_day} is settled; materialise settlement/days up to it."
        )
    # Apart: what was drawn errs otherwise than what was fed in, and either learns from its like.
    of_drawn, of_fed = (history.filter(pl.col("meter_id").str.ends_with(f"|{side}")) for side in _SIDES)
    totals = pl.concat(
        [
            outlook(of_drawn, first_day=first_day, days=days).totals,
            _fed_in(of_fed, first_day=first_day, days=days, latitude=latitude),
        ]
    )
    own = [f"{premise_id}|{side}" for side in _SIDES]
    if totals.filter(pl.col("meter_id").is_in(own)).is_empty():
        raise ContractError(f"Fewer than 14 of the 56 days before {first_day} were read: too few to look ahead from.")
    drawn, fed = (
        totals.filter(pl.col("meter_id") == name).select(
            "days",
            *(pl.col(level).clip(lower_bound=0.0).alias(f"{side}_kwh_{level}") for level in _LEVELS),
        )
        for name, side in zip(own, _SIDES, strict=True)
    )
    both = drawn.join(fed, on="days", how="full", coalesce=True).fill_null(0.0).sort("days")
    return _in_currency(both, recent=recent)


def _in_currency(energy: pl.DataFrame, *, recent: pl.DataFrame) -> pl.DataFrame:
    """Return drawn and fed energy with the cost, the profit and the balance that they come to at recent rates."""
    cost, earned, spared = _rates(recent)
    feeds_in = pl.col("fed_kwh_q90") > 0
    # Who feeds nothing in has no profit: what the community spares lowers the cost.
    saved, gained = (pl.when(side).then(pl.col("days") * spared).otherwise(0.0) for side in (~feeds_in, feeds_in))
    return energy.with_columns(
        pl.col("days").cast(pl.Int64),
        *((pl.col(f"drawn_kwh_{level}") * cost - saved).alias(f"cost_{level}") for level in _LEVELS),
        *((pl.col(f"fed_kwh_{level}") * earned + gained).alias(f"profit_{level}") for level in _LEVELS),
    ).with_columns(
        balance_q10=pl.col("profit_q10") - pl.col("cost_q90"),
        balance_q50=pl.col("profit_q50") - pl.col("cost_q50"),
        balance_q90=pl.col("profit_q90") - pl.col("cost_q10"),
    )


def _fed_in(history: pl.DataFrame, *, first_day: date, days: int, latitude: float | None) -> pl.DataFrame:
    """Return totals of what is fed in, in proportion to the sun that reaches the top of the air where that is known."""
    if latitude is None:
        return outlook(history, first_day=first_day, days=days).totals
    seen = pl.Series(_sun(history["local_date"], latitude=latitude))
    steady = history.with_columns(energy_kwh=pl.col("energy_kwh") / seen)
    totals = outlook(steady, first_day=first_day, days=days, is_season_known=True).totals
    coming = pl.date_range(first_day, first_day + timedelta(days=days - 1), eager=True)
    sun = _sun(coming, latitude=latitude)
    mean = pl.Series([float(sun[:span].mean()) for span in totals["days"]], dtype=pl.Float64)
    return totals.with_columns(pl.col(name) * mean for name in QUANTILE_COLUMNS)


def _sun(days: pl.Series, *, latitude: float) -> Floats:
    """Return the light of local days on a level plane outside of the air, mean W/m2; never quite nothing."""
    half_hours = days.dt.epoch("s").to_numpy()[:, None] // 60 + np.arange(15, 1440, 30)
    sun = sun_at(half_hours, latitude=latitude, longitude=0.0)
    light = sun.extraterrestrial_w_m2 * np.maximum(sun.elevation_sine, 0.0)
    return np.asarray(np.maximum(light.mean(axis=1), _LEAST_SUN_W_M2), dtype=np.float64)


def _rates(recent: pl.DataFrame) -> tuple[float, float, float]:
    """Return what a kWh drawn cost, a kWh fed in earned, and the community spared a day, in currency.

    What it spares hangs on the neighbours more than on what is fed in, so it goes by days.
    """
    sums = recent.select(
        paid=(pl.col("baseline_amount") + pl.col("deviation_amount")).sum(),
        earned=pl.col("feed_in_credit").sum(),
        spared=pl.col("community_credit").sum(),
        drawn=pl.col("import_wh").sum(),
        fed=pl.col("export_wh").sum(),
        days=pl.col("local_date").n_unique(),
    ).row(0, named=True)
    per_wh = 1000.0 / AMOUNT_UNITS_PER_CURRENCY
    cost = sums["paid"] / sums["drawn"] * per_wh if sums["drawn"] else 0.0
    earned = sums["earned"] / sums["fed"] * per_wh if sums["fed"] else 0.0
    return cost, earned, sums["spared"] / sums["days"] / AMOUNT_UNITS_PER_CURRENCY
