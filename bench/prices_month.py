"""A month of 15 minutes of 10,000 premises, settled as the platform settles it: from a real lake to statements in it.

One zone, one premise in three with an export meter. The four weeks that baselines are made of lie in the lake as a
history that was loaded at once, the month as thirty nights that were each written by themselves. One reading in a
hundred is missing and one in two hundred came ten days late. What is timed are the assets `settlement/days` and
`settlement/statements` run by Dagster for the whole month, reading and writing included; then what they wrote is
held against the readings by other means.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from energy_assets.contracts import (
    METERS,
    PRICES_CURVES,
    READINGS_INTERVAL,
    SETTLEMENT_DAYS,
    SETTLEMENT_POOLS,
    SETTLEMENT_STATEMENTS,
    SITES,
    Window,
)
from energy_assets.defs import settlement as assets
from energy_assets.defs.jobs import PARTITION_RANGE_END, PARTITION_RANGE_START
from energy_assets.lake import Lake
from energy_assets.prices.gathering import LocalDay, gatherings
from energy_assets.prices.settlement import payments_of, prices_on
from energy_assets.prices.usage import counted_meters, use_of_gathered
from energy_assets.prices.zones import ZoneConfig, load_zone
from energy_assets.settings import Settings
from energy_assets.sql import Query

FIRST, DAYS = date(2026, 6, 1), 30
LIMIT_S = 30.0
ZONE = """
zone_id = "north"
timezone = "UTC"
[bill]
fixed_charge = 5.0
peak_cost_per_kw = 2.0
"""
# Whole Wh, so that their sums by SQL are those of the bills.
READINGS = """
SELECT meter_id, starts_at_utc, 15 AS interval_minutes, energy_kwh AS reported_kwh, energy_kwh,
       CASE WHEN energy_kwh IS NULL THEN 'missing' ELSE 'measured' END AS quality,
       CASE WHEN energy_kwh IS NULL THEN 'gap' END AS reason,
       starts_at_utc + CASE WHEN chance % 200 = 7 THEN INTERVAL 10 DAY ELSE INTERVAL 15 MINUTE END AS available_at_utc
FROM (
    SELECT meter_id, starts_at_utc, chance,
           CASE WHEN chance % 100 = 3 THEN NULL
                WHEN direction = 'grid_import' THEN (chance // 1000 % 400)::BIGINT / 1000.0
                WHEN hour(starts_at_utc) BETWEEN 8 AND 16 THEN (chance // 1000 % 900)::BIGINT / 1000.0
                ELSE 0.0 END AS energy_kwh
    FROM (
        SELECT meter_id, direction, starts_at_utc, hash(meter_id, starts_at_utc) AS chance
        FROM metering.meters
        CROSS JOIN (SELECT unnest(generate_series($starts, $ends - INTERVAL 15 MINUTE, INTERVAL 15 MINUTE))
                    AS starts_at_utc)
    )
)
ORDER BY meter_id, starts_at_utc
"""
READ_PER_SLOT = """
SELECT starts_at_utc, coalesce(sum(round(energy_kwh * 1000)::BIGINT) FILTER (WHERE ends_with(meter_id, 'import')), 0),
       coalesce(sum(round(energy_kwh * 1000)::BIGINT) FILTER (WHERE ends_with(meter_id, 'export')), 0)
FROM readings.interval WHERE starts_at_utc >= $starts AND starts_at_utc < $ends GROUP BY 1 ORDER BY 1
"""
UNREAD = """
SELECT split_part(meter_id, '.', 1) AS premise_id, (epoch(starts_at_utc - $starts) // 900)::BIGINT AS slot
FROM readings.interval
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends AND energy_kwh IS NULL AND ends_with(meter_id, 'import')
"""


def furnish(lake: Lake, home: Path, *, premises: int, curve: Callable[[date, ZoneConfig], pl.DataFrame]) -> int:
    """Write registry, prices and readings, and return how many readings."""
    (home / "zones").mkdir(parents=True)
    (home / "zones" / "north.toml").write_text(ZONE)
    zone = load_zone(home / "zones" / "north.toml")
    names = [f"p{i:05d}" for i in range(premises)]
    sides = ("grid_import", "grid_export")
    directions = [(name, side) for i, name in enumerate(names) for side in sides[: 1 + (i % 3 == 0)]]
    declared = pl.DataFrame(
        {
            "meter_id": [f"{name}.{side}" for name, side in directions],
            "premise_id": [name for name, _ in directions],
            "direction": [side for _, side in directions],
        }
    ).with_columns(
        site_id=pl.lit("north"), commodity=pl.lit("electricity"), measure=pl.lit("interval_energy"),
        unit=pl.lit("kWh"), interval_minutes=pl.lit(15, pl.Int64), source=pl.lit("bench"),
    )  # fmt: skip
    site = {"site_id": "north", "name": "North", "timezone": "UTC", "source": "bench"}
    lake.replace(SITES, SITES.conform(pl.DataFrame([site])))
    lake.replace(METERS, METERS.conform(declared))
    dates = [FIRST + timedelta(days=i) for i in range(DAYS)]
    lake.replace(PRICES_CURVES, pl.concat(curve(day, zone) for day in dates))
    windows = [Window.of_days(FIRST - timedelta(days=28), FIRST - timedelta(days=1))]
    windows += [Window.of_days(day) for day in dates]
    readings = 0
    for window in windows:
        query = Query(text=READINGS, parameters={"starts": window.starts_at_utc, "ends": window.ends_at_utc})
        readings += lake.replace(READINGS_INTERVAL, query, window=window).rows
    return readings


def settlement(*, premises: int, curve: Callable[[date, ZoneConfig], pl.DataFrame]) -> bool:
    """Settle the month, print what it took, and return whether it was in time and nothing is lost."""
    last = FIRST + timedelta(days=DAYS - 1)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        lake = Lake.from_settings(settings)
        started = time.perf_counter()
        readings = furnish(lake, settings.home, premises=premises, curve=curve)
        print(f"{readings:,} readings of {premises:,} premises in the lake, {time.perf_counter() - started:.0f} s")
        started = time.perf_counter()
        done = dg.materialize(
            [assets.settled_days, assets.statements],
            tags={PARTITION_RANGE_START: FIRST.isoformat(), PARTITION_RANGE_END: last.isoformat()},
            resources={"lake": lake, "settings": settings},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        spent = time.perf_counter() - started
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"settled, {DAYS} days x 96 slots: {spent:.1f} s, {spent / LIMIT_S:.2f} of the limit of {LIMIT_S:.0f} s; "
            f"{peak_gb:.2f} GB"
        )
        started = time.perf_counter()
        conserved = done.success and is_conserved(lake, settings, premises=premises)
        lake.close()
        print(f"held against the readings and slot by slot in {time.perf_counter() - started:.0f} s")
    return conserved and spent <= LIMIT_S * premises / 10_000


def is_conserved(lake: Lake, settings: Settings, *, premises: int) -> bool:
    """Return whether nothing is lost, to the Wh and to 1e-8 of the currency, in any slot, day or statement."""
    days, pools = lake.read(SETTLEMENT_DAYS), lake.read(SETTLEMENT_POOLS)
    statements = lake.read(SETTLEMENT_STATEMENTS, where={"period_start": FIRST})
    members, zone = counted_meters(lake.read(METERS)), load_zone(settings.home / "zones" / "north.toml")
    drawn_off, fed_off, money_off, days_off = 0, 0, 0, 0
    for each in (FIRST + timedelta(days=i) for i in range(DAYS)):
        (gathered,) = gatherings([LocalDay(zone=zone, local_date=each, interval_minutes=15)], members=members)
        for query in gathered.queries():
            gathered.add(lake.query(query))
        (use,) = use_of_gathered(gathered)
        bounds = dict(zip(("starts", "ends"), use.day.bounds, strict=True))
        _, drawn, fed = lake.query(Query(text=READ_PER_SLOT, parameters=bounds)).get_columns()
        unread = lake.query(Query(text=UNREAD, parameters=bounds))
        row = {name: place for place, name in enumerate(use.premise_ids)}
        where = unread["slot"].to_numpy(), np.array([row[name] for name in unread["premise_id"]])
        usual = np.zeros_like(use.import_wh)
        usual[where] = use.baseline_wh[where]
        drawn_off += int((use.import_wh.sum(axis=1) != drawn.to_numpy() + usual.sum(axis=1)).sum())
        fed_off += int((use.export_wh.sum(axis=1) != fed.to_numpy()).sum())
        prices = prices_on(use, curves=lake.read(PRICES_CURVES, where={"delivery_date": each}))
        paid = payments_of(use, prices=prices)
        net = (use.import_wh - use.export_wh).sum(axis=1)
        bill = net * np.where(net > 0, prices.import_units, prices.export_units)
        money_off += int(((paid.amount.sum(axis=1) != bill) | (paid.local_amount.sum(axis=1) != 0)).sum())
        own, pool = days.filter(local_date=each), pools.filter(local_date=each).row(0, named=True)
        said = (own["import_wh"].sum(), own["export_wh"].sum(), pool["grid_amount"])
        days_off += said != (use.import_wh.sum(), use.export_wh.sum(), bill.sum())
    energy = ("import_wh", "export_wh", "baseline_amount", "deviation_amount", "feed_in_credit", "community_credit")
    of_month = days.filter(pl.col("local_date") >= FIRST)
    sums_off = sum(statements[name].sum() != of_month[name].sum() for name in energy)
    print(
        f"slots off, of {DAYS * 96}: energy drawn {drawn_off}, fed in {fed_off}, money {money_off}; "
        f"days off {days_off}; sums of {statements.height:,} statements off {sums_off}"
    )
    return statements.height == premises and not drawn_off + fed_off + money_off + days_off + sums_off
