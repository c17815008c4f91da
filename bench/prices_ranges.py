"""How often the ranges that a household is shown hold: rolling over a year of five real homes.

The homes (4 kWp of their measured PV each, one zone, a community under D-NEM) are settled day by day under the
published kind of curve. Then, from every day after the eighth week, the bill at the month's end is foretold, and every
ninth day from the 120th on energy, cost, profit and balance of the next 7, 30, 60 and 90 days; what came is compared.
No forecast stands behind the month's end here, so every day to come is like the last four weeks: the hardest case.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts import PRICES_CURVES, UTC_TIME
from energy_assets.prices.gathering import LocalDay
from energy_assets.prices.outlook import costs_ahead, daily_use
from energy_assets.prices.settlement import Settled, prices_on, settle_day
from energy_assets.prices.statements import bills_of, month_of
from energy_assets.prices.to_date import bills_to_date
from energy_assets.prices.usage import counted_meters, use_of_days
from energy_assets.prices.welfare import price_curve
from energy_assets.prices.zones import ZoneConfig
from energy_assets_tests.prices.use import meters

LOW, HIGH = 0.76, 0.84
KWP = 4.0
LATITUDE = 34.1  # Fontana, California
ZONE = ZoneConfig(zone_id="fontana", currency_code="USD")
FIRST = date(2016, 8, 1)
DAYS = 364
PUBLISHED = datetime(2026, 1, 1, tzinfo=UTC)
NO_FORECAST = pl.DataFrame(
    schema={
        "premise_id": pl.String, "starts_at_utc": UTC_TIME, "interval_minutes": pl.Int64,
        "q10": pl.Float64, "q50": pl.Float64, "q90": pl.Float64,
    }
)  # fmt: skip
MONEY = ("cost", "profit", "balance")
ENERGY = ("drawn_kwh", "fed_kwh")


def settled_year() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the settled days of the homes, and their daily use."""
    table = pl.read_parquet(Path(os.environ["ENERGY_ASSETS_REAL_DATA"]) / "citylearn_2022_homes_1_5.parquet")
    home = pl.col("building_id").cast(pl.String)
    at = pl.col("ts_local_std").dt.replace_time_zone("UTC").cast(UTC_TIME)  # its days have 24 hours
    sides = {"consumption": pl.col("load_kwh"), "production": pl.col("solar_w_per_kwp") / 1000.0 * KWP}
    readings = pl.concat(
        table.select(
            meter_id=home + f".{side}", starts_at_utc=at, interval_minutes=pl.lit(60, pl.Int64),
            energy_kwh=energy.cast(pl.Float64), available_at_utc=at + timedelta(hours=1),
        )
        for side, energy in sides.items()
    )  # fmt: skip
    names = table.select(home.unique().sort()).to_series()
    members = counted_meters(
        meters(*[(f"{name}.{side}", name, side) for name in names for side in sides], zone_id=ZONE.zone_id)
    )
    days = [LocalDay(zone=ZONE, local_date=FIRST + timedelta(days=i), interval_minutes=60) for i in range(DAYS)]
    uses = list(use_of_days(readings, members=members, days=days))
    settled = []
    for use in uses:
        net = (use.import_wh - use.export_wh).sum(axis=1) / 1000.0
        band = 0.15 * abs(net) + 0.2
        load = pl.DataFrame({"starts_at_utc": use.day.slots, "q10": net - band, "q50": net, "q90": net + band})
        made = price_curve(
            load.with_columns(pl.col("starts_at_utc").cast(UTC_TIME)),
            zone=ZONE, delivery_date=use.day.local_date, revision=0, published_at_utc=PUBLISHED,
        )  # fmt: skip
        settled.append(settle_day(use, prices=prices_on(use, curves=made.rows)))
    return Settled.together(settled).days, daily_use(uses)


def ranges() -> bool:
    """Print how often the ranges held, and return whether those of money did so in 76 to 84 % of all cases."""
    days, history = settled_year()
    ends = month_ends(days)
    ahead = look_aheads(days, history)
    shares: dict[str, float] = {"month's end": ends.select(pl.col("holds").mean()).item()}
    print(f"five homes, {DAYS} days; share of cases in the range that is called q10 to q90\n")
    at_the_end = shares["month's end"]
    print(f"the bill at the month's end, {ends.height} cases: {at_the_end:.1%}")
    left = pl.col("left").cut([3, 7, 14, 21], labels=["1-3", "4-7", "8-14", "15-21", "22-31"]).alias("left")
    for label, share, below, above in (
        ends.group_by(left).agg(pl.col("holds", "below", "above").mean()).sort("left").iter_rows()
    ):
        print(f"    {label:>5} days to go: {share:.1%} (lower {below:.0%}, higher {above:.0%})")
    print(f"\nthe outlook, {ahead.height} cases, from 120 to 330 days of history")
    for name in (*ENERGY, *MONEY):
        holds = pl.col(name).is_between(f"{name}_q10", f"{name}_q90")
        shares[name] = ahead.select(holds.mean()).item()
        of_spans = ahead.group_by("days").agg(holds.mean().alias("share")).sort("days")
        spans = ", ".join(f"{span} days {share:.0%}" for span, share in of_spans.iter_rows())
        print(f"    {name:>9}: {shares[name]:.1%} ({spans})")
    return all(LOW <= shares[name] <= HIGH for name in ("month's end", *MONEY))


def month_ends(days: pl.DataFrame) -> pl.DataFrame:
    """Return per day and home how many days were to go, and where the month's bill came to lie."""
    rows = []
    last = FIRST + timedelta(days=DAYS - 1)
    for offset in range(56, DAYS):
        newest = FIRST + timedelta(days=offset)
        first, after = month_of(newest + timedelta(days=1))
        if after - timedelta(days=1) > last:
            break
        known = days.filter(pl.col("local_date") <= newest)
        said = bills_to_date(known, forecast=NO_FORECAST, curves=PRICES_CURVES.empty(), zone=ZONE)
        came = bills_of(days.filter(pl.col("local_date").is_between(first, after, closed="left")), zone=ZONE)
        both = said.join(came.select("premise_id", came="total_amount"), on="premise_id", validate="1:1")
        below, above = pl.col("came") < pl.col("low_amount"), pl.col("came") > pl.col("high_amount")
        left = pl.lit((after - newest).days - 1)
        rows.append(both.select("premise_id", left=left, holds=~below & ~above, below=below, above=above))
    return pl.concat(rows)


def look_aheads(days: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Return per day, home and span what was said of energy and money, and what came."""
    rows = []
    for offset in range(120, 330, 9):
        first = FIRST + timedelta(days=offset)
        for name in days["premise_id"].unique().sort():
            own = days.filter(premise_id=name)
            said = costs_ahead(
                history.filter(pl.col("local_date") < first), premise_id=name,
                settled=own.filter(pl.col("local_date") < first), first_day=first, latitude=LATITUDE,
            )  # fmt: skip
            coming = own.filter(pl.col("local_date") >= first).sort("local_date")
            for span in (each for each in said["days"] if each <= coming.height):
                came = coming.head(span).select(
                    days=pl.lit(span, pl.Int64),
                    drawn_kwh=pl.col("import_wh").sum() / 1e3,
                    fed_kwh=pl.col("export_wh").sum() / 1e3,
                    cost=(pl.col("baseline_amount") + pl.col("deviation_amount")).sum() / 1e8,
                    profit=(pl.col("feed_in_credit") + pl.col("community_credit")).sum() / 1e8,
                )
                rows.append(said.join(came.with_columns(balance=pl.col("profit") - pl.col("cost")), on="days"))
    return pl.concat(rows)
