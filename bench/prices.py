"""Speed and worth of the prices.

    python bench/prices.py speed            a year of one zone, a night of 1,000 zones
    python bench/prices.py promises [DAYS]  the properties of a curve on thousands of random zones and days
    python bench/prices.py homes            social cost on five real homes for a year, against flat, TOU and Agile-like
    python bench/prices.py settlement       10,000 premises x a month of 15 minutes, from a real lake
    python bench/prices.py ranges           how often the ranges of bills and outlooks hold, on the five homes

`homes` needs ENERGY_ASSETS_REAL_DATA; each home is given 4 kWp of its measured PV profile, and the day's net load is
known to 15 % (q10 to q90). The response of the homes is assumed, not measured: the linear one of `prices.response` with
its default elasticities (own 0.10, shifting 0.15), the same for every tariff that is compared. Every tariff earns the
flat rate's revenue on the load at the flat rate. A social cost is supply with carbon (the zone's default merit order),
utility lost by the response, and 0.10 a day for each kW of the expected peak; it is not a bill.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.prices.days import SCENARIO_WEIGHTS, day_slots, read_forecast
from energy_assets.prices.ladder import DayProblem
from energy_assets.prices.program import DayLimits
from energy_assets.prices.response import linear_response
from energy_assets.prices.supply import marginal_at, supply_cost
from energy_assets.prices.welfare import price_curve
from energy_assets.prices.zones import ZoneConfig

PUBLISHED = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_LIMIT_S, NIGHT_LIMIT_S = 15.0, 60.0


def random_day(seed: int, *, day: date, zone: ZoneConfig, interval_minutes: int = 60) -> pl.DataFrame:
    chance = np.random.default_rng(seed)
    slots = day_slots(day, zone=zone, interval_minutes=interval_minutes)
    hour = np.arange(len(slots)) * interval_minutes / 60
    shape = 50 + 60 * np.exp(-(((hour - 19) / 2.5) ** 2)) - 60 * np.exp(-(((hour - 13) / 2.5) ** 2))
    median = shape + chance.normal(0, 8, len(slots))
    band = chance.gamma(2, 5, len(slots))
    return pl.DataFrame(
        {"starts_at_utc": slots, "q10": median - band, "q50": median, "q90": median + band},
        schema_overrides={"starts_at_utc": UTC_TIME},
    )


def one_night(seed: int) -> str:
    zone, day = ZoneConfig(ramp_per_hour=0.1), date(2026, 6, 1)
    made = price_curve(
        random_day(seed, day=day, zone=zone), zone=zone, delivery_date=day, revision=0, published_at_utc=PUBLISHED
    )
    return str(made.day["rung"][0])


def speed() -> bool:
    """Price a year of one zone and a night of 1,000 zones, and return whether both are in time."""
    zone = ZoneConfig(timezone="Europe/Rome")
    start = time.perf_counter()
    for offset in range(365):
        day = date(2026, 1, 1) + timedelta(days=offset)
        price_curve(
            random_day(offset, day=day, zone=zone), zone=zone, delivery_date=day, revision=0, published_at_utc=PUBLISHED
        )
    year = time.perf_counter() - start
    print(f"365 days x 24 slots: {year:.1f} s, {year / YEAR_LIMIT_S:.2f} of the limit of {YEAR_LIMIT_S:.0f} s")
    start = time.perf_counter()
    # Forked children would inherit locks of Polars threads that do not exist in them.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rungs = list(pool.map(one_night, range(1000), chunksize=50))
    night = time.perf_counter() - start
    print(
        f"1,000 zones on 2 cores: {night:.1f} s, {night / NIGHT_LIMIT_S:.2f} of the limit of {NIGHT_LIMIT_S:.0f} s; "
        f"{rungs.count('welfare')} by welfare"
    )
    return year <= YEAR_LIMIT_S and night <= NIGHT_LIMIT_S


def promises(days: int) -> None:
    from hypothesis import given, settings

    from energy_assets_tests.prices import test_welfare
    from energy_assets_tests.prices.strategies import days as any_day
    from energy_assets_tests.prices.strategies import zones as any_zone

    check = test_welfare.test_every_curve_keeps_its_promises.hypothesis.inner_test  # type: ignore[attr-defined]

    def every_promise(zone: ZoneConfig, day: tuple[list[float], list[float], int]) -> None:
        check(zone, day)

    start = time.perf_counter()
    settings(max_examples=days, deadline=None, database=None)(given(zone=any_zone(), day=any_day())(every_promise))()
    print(f"{days} random zones and days keep every promise: {time.perf_counter() - start:.0f} s")


# Published: flat, 4-hour evening time of use, Agile-like, welfare. What their costs are made of was not published.
PUBLISHED_COSTS = np.array([4508.0, 4712.0, 4489.0, 4349.0])
TARIFFS = ("flat", "TOU", "Agile-like", "welfare")
KWP = 4.0


def homes() -> None:
    loads = pl.read_parquet(Path(os.environ["ENERGY_ASSETS_REAL_DATA"]) / "citylearn_2022_homes_1_5.parquet")
    zone = ZoneConfig(zone_id="fontana", currency_code="USD")
    each = [loads.filter(pl.col("building_id") == home) for home in loads["building_id"].unique().sort()]
    totals, parts, below, days = year_costs([loads], zone=zone, kwp=KWP)
    print(f"five homes as one zone, {KWP:g} kWp each; social cost of {days} days")
    for name, total, published in zip(TARIFFS, totals, PUBLISHED_COSTS, strict=True):
        change, theirs = total / totals[0] - 1, published / PUBLISHED_COSTS[0] - 1
        print(
            f"{name:>10}: {total:8.1f} {zone.currency_code} ({change:+.2%}); published {published:.0f} ({theirs:+.2%})"
        )
    print(f"welfare is lowest or equal on {dict(zip(TARIFFS, below.tolist(), strict=True))} of {days} days")
    print(f"the flat cost is supply {parts[0]:.0f} and expected peak {parts[1]:.0f}; no utility is lost at it")
    print(
        f"scaled to the published flat cost: {np.round(totals * PUBLISHED_COSTS[0] / totals[0]).astype(int).tolist()}"
    )
    print("\nother readings of the experiment, relative to flat")
    for name, zones, kwp in (
        ("one zone, no PV", [loads], 0.0),
        ("each home a zone, 4 kWp", each, KWP),
        ("each home a zone, no PV", each, 0.0),
    ):
        totals = year_costs(zones, zone=zone, kwp=kwp)[0]
        changes = ", ".join(f"{n} {t / totals[0] - 1:+.2%}" for n, t in zip(TARIFFS[1:], totals[1:], strict=True))
        print(f"{name:>24}: flat {totals[0]:7.1f} {zone.currency_code}; {changes}")


def year_costs(
    zones: list[pl.DataFrame], *, zone: ZoneConfig, kwp: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return the social cost per tariff, the flat one's parts, on how many days welfare is lowest, and the days."""
    totals, below, parts, count = np.zeros(4), np.zeros(4, dtype=int), np.zeros(2), 0
    for loads in zones:
        for day, values in homes_net_load(loads, kwp=kwp):
            of_day, of_flat = day_costs(values, day=day, zone=zone)
            totals += of_day
            parts += of_flat
            below += of_day[3] <= of_day + 1e-9
            count += 1
    return totals, parts, below, count


def homes_net_load(loads: pl.DataFrame, *, kwp: float) -> list[tuple[date, np.ndarray]]:
    """Return whole days of the summed net load, kWh per hour; PV as the file's watts per kWp times `kwp` a home."""
    net = pl.col("load_kwh") - pl.col("solar_w_per_kwp") / 1000.0 * kwp
    hourly = loads.group_by("ts_local_std").agg(net=net.sum()).sort("ts_local_std")
    of_days = hourly.with_columns(day=pl.col("ts_local_std").dt.date()).group_by("day", maintain_order=True).agg("net")
    return [(day, np.array(values)) for day, values in of_days.filter(pl.col("net").list.len() == 24).iter_rows()]


def day_costs(net: np.ndarray, *, day: date, zone: ZoneConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the day's social cost under flat, TOU, Agile-like and welfare curves that earn the same revenue.

    Beside it supply (energy and carbon) and capacity, which make up the flat one.
    """
    band = 0.15 * np.abs(net) + 0.2
    frame = pl.DataFrame(
        {
            "starts_at_utc": day_slots(day, zone=zone, interval_minutes=60),
            "q10": net - band,
            "q50": net,
            "q90": net + band,
        },
        schema_overrides={"starts_at_utc": UTC_TIME},
    )
    forecast = read_forecast(frame, zone=zone, delivery_date=day)
    billed = forecast.billed_kwh
    supply = supply_cost(zone, day=forecast)
    problem = DayProblem(
        zone=zone,
        day=forecast,
        supply=supply,
        response=linear_response(zone, day=forecast),
        limits=DayLimits(floor=zone.floor, cap=zone.cap, ramp=float("inf"), revenue_target=0.0),
        flat=zone.flat_rate,
    )

    def neutral(shape: np.ndarray) -> np.ndarray:
        return shape * (zone.flat_rate * billed.sum() / (billed @ shape)) if billed @ shape > 0 else shape * 0 + 0.3

    hours = np.arange(24)
    parts = marginal_at(supply, net_load_kwh=forecast.net_load_kwh)
    wholesale = parts.energy + parts.carbon + parts.risk
    evening = np.where((hours >= 16) & (hours < 20), 1.0, 0.0)
    curves = [
        np.full(24, zone.flat_rate),
        neutral(1.0 + evening),  # twice the price from 16 to 20
        neutral(np.minimum(2.0 * wholesale + 0.12 * evening, 0.8)),  # twice wholesale, 0.12 more from 16 to 20, capped
    ]
    made = price_curve(frame, zone=zone, delivery_date=day, revision=0, published_at_utc=PUBLISHED)
    costs = np.array([*(problem.social_cost(shape) for shape in curves), made.day["social_cost"][0]])
    energy = supply.expected_cost(forecast.net_load_kwh, weights=SCENARIO_WEIGHTS)
    return costs, np.array([energy, zone.capacity_price_per_kw_day * problem.peak_kw(curves[0])])


def curve_of_month(day: date, zone: ZoneConfig) -> pl.DataFrame:
    """Return a curve of 15 minutes."""
    frame = random_day(day.toordinal(), day=day, zone=zone, interval_minutes=15)
    return price_curve(frame, zone=zone, delivery_date=day, revision=0, published_at_utc=PUBLISHED).rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("speed", help="a year of one zone, a night of 1,000 zones")
    kept = commands.add_parser("promises", help="the properties of a curve on random zones and days")
    kept.add_argument("days", type=int, nargs="?", default=3000)
    commands.add_parser("homes", help="social cost on five real homes")
    commands.add_parser("ranges", help="how often the ranges of bills and outlooks hold")
    month = commands.add_parser("settlement", help="10,000 premises x a month of 15 minutes")
    month.add_argument("--premises", type=int, default=10_000)
    chosen = parser.parse_args()
    if chosen.command == "speed":
        return 0 if speed() else 1
    if chosen.command == "promises":
        promises(chosen.days)
    elif chosen.command == "homes":
        return 0 if homes() else 1
    elif chosen.command == "ranges":
        from prices_ranges import ranges

        return 0 if ranges() else 1
    else:
        from prices_month import settlement

        return 0 if settlement(premises=chosen.premises, curve=curve_of_month) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
