"""Speed and worth of the prices.

    python bench/prices.py speed            a year of one zone, a night of 1,000 zones
    python bench/prices.py promises [DAYS]  the properties of a curve on thousands of random zones and days
    python bench/prices.py homes            social cost on five real homes for a year, against flat, TOU and Agile-like
    python bench/prices.py settlement       10,000 premises x a month of 15 minutes

`homes` needs ENERGY_ASSETS_REAL_DATA; each home is given 4 kWp of its measured PV profile, and the day's net load is
known to 15 % (q10 to q90). The response of the homes is assumed, not measured: the linear one of `prices.response` with
its default elasticities (own 0.10, shifting 0.15), the same for every tariff that is compared. Every tariff earns the
flat rate's revenue on the load at the flat rate. A social cost is supply with carbon (the zone's default merit order),
utility lost by the response, and 0.10 a day for each kW of the expected peak; it is not a bill.
"""

from __future__ import annotations

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
from energy_assets.prices.settlement import Settled, prices_on, settle_day
from energy_assets.prices.statements import statements_of
from energy_assets.prices.supply import marginal_at, supply_cost
from energy_assets.prices.terms import BillTerms
from energy_assets.prices.usage import DayUse, LocalDay, counted_meters, use_of_days
from energy_assets.prices.welfare import price_curve
from energy_assets.prices.zones import ZoneConfig

PUBLISHED = datetime(2026, 1, 1, tzinfo=UTC)


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


def speed() -> None:
    zone = ZoneConfig(timezone="Europe/Rome")
    start = time.perf_counter()
    for offset in range(365):
        day = date(2026, 1, 1) + timedelta(days=offset)
        price_curve(
            random_day(offset, day=day, zone=zone), zone=zone, delivery_date=day, revision=0, published_at_utc=PUBLISHED
        )
    print(f"365 days x 24 slots: {time.perf_counter() - start:.1f} s (target 15)")
    start = time.perf_counter()
    # Forked children would inherit locks of Polars threads that do not exist in them.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rungs = list(pool.map(one_night, range(1000), chunksize=50))
    print(
        f"1,000 zones on 2 cores: {time.perf_counter() - start:.1f} s (target 60), {rungs.count('welfare')} by welfare"
    )


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


def settlement() -> None:
    """Settle 10,000 premises, one in three with panels, for a month: as arrays, and from readings of five days."""
    premises, days = 10_000, 30
    zone = ZoneConfig(bill=BillTerms(fixed_charge=5.0, peak_cost_per_kw=2.0))
    first = date(2026, 6, 1)
    dates = [first + timedelta(days=i) for i in range(days)]
    curves = pl.concat(
        price_curve(
            random_day(i, day=day, zone=zone, interval_minutes=15),
            zone=zone,
            delivery_date=day,
            revision=0,
            published_at_utc=PUBLISHED,
        ).rows
        for i, day in enumerate(dates)
    )
    chance = np.random.default_rng(3)
    names = [f"p{i}" for i in range(premises)]
    spent, drawn, parts = 0.0, 0, []
    for day in dates:
        size = (96, premises)
        use = DayUse(
            day=LocalDay(zone=zone, local_date=day, interval_minutes=15),
            premise_ids=names,
            import_wh=(chance.gamma(1, 100, size)).astype(np.int64),
            export_wh=np.maximum(chance.normal(-100, 300, size), 0).astype(np.int64) * (np.arange(premises) % 3 == 0),
            baseline_wh=(chance.gamma(1, 100, size)).astype(np.int64),
            is_estimated=np.zeros(size, dtype=bool),
        )
        drawn += int(use.import_wh.sum())
        start = time.perf_counter()
        parts.append(settle_day(use, prices=prices_on(use, curves=curves.filter(delivery_date=day))))
        spent += time.perf_counter() - start
    start = time.perf_counter()
    made = Settled.together(parts)
    statements = statements_of(made.days, zone=zone, period_start=first)
    spent += time.perf_counter() - start
    assert statements["import_wh"].sum() == drawn == made.pools["import_wh"].sum()
    assert (made.days["grid_amount"] + made.days["local_amount"]).sum() == made.pools["grid_amount"].sum()
    assert statements.height == premises
    print(f"{premises} premises x {days} days x 96 slots: {spent:.1f} s (target 30); {drawn} Wh conserved")
    readings_of_a_day(names, day=LocalDay(zone=zone, local_date=dates[-1], interval_minutes=15))


def readings_of_a_day(names: list[str], *, day: LocalDay) -> None:
    """Make the use of one day from readings: of the day and of the same weekday of four weeks before."""
    declared = pl.DataFrame({"meter_id": names, "premise_id": names}).with_columns(
        site_id=pl.lit(day.zone.zone_id), commodity=pl.lit("electricity"), direction=pl.lit("consumption"),
        interval_minutes=pl.lit(15, pl.Int64), valid_from_utc=pl.lit(None, UTC_TIME),
        valid_to_utc=pl.lit(None, UTC_TIME),
    )  # fmt: skip
    slots = [slot - timedelta(weeks=week) for week in range(5) for slot in day.slots]
    frame = (
        pl.DataFrame({"starts_at_utc": slots}, schema={"starts_at_utc": UTC_TIME})
        .join(declared.select("meter_id"), how="cross")
        .with_columns(
            interval_minutes=pl.lit(15, pl.Int64),
            energy_kwh=(pl.int_range(pl.len()) % 977) / 1000.0,
            available_at_utc=pl.col("starts_at_utc") + timedelta(minutes=15),
        )
    )
    start = time.perf_counter()
    (use,) = use_of_days(frame, members=counted_meters(declared), days=[day])
    spent = time.perf_counter() - start
    assert use.import_wh.shape == use.baseline_wh.shape == (96, len(names))
    print(f"one day's use and baseline from {frame.height:,} readings: {spent:.1f} s")


if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 1 else "speed"
    if command == "promises":
        promises(int(sys.argv[2]) if len(sys.argv) > 2 else 3000)
    else:
        {"speed": speed, "homes": homes, "settlement": settlement}[command]()
