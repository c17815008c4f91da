"""Usage tables against a slow recomputation from readings, day by day in any order, over changes of the clock."""

from __future__ import annotations

import math
import random as randoms
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_assets.contracts import METERS, PRICES_CURVES, READINGS_INTERVAL, SITES, Window
from energy_assets.contracts.marts import (
    MARTS_USAGE,
    MARTS_USAGE_BY_CLOCK,
    MARTS_USAGE_DAILY,
    MARTS_USAGE_HOURLY,
    MARTS_USAGE_MONTHLY,
    MARTS_USAGE_WEEKLY,
    USAGE_NODE_KINDS,
)
from energy_assets.contracts.prices import PRICE_COMPONENTS
from energy_assets.forecasts.nodes import memberships
from energy_assets.lake import Change, Lake
from energy_assets.profiles.usage import MEMBER_COLUMNS, cluster_members, usage_update

ZONES = {"berlin": "Europe/Berlin", "kolkata": "Asia/Kolkata", "island": "Australia/Lord_Howe"}
FLAT, EXPORT = {"berlin": 0.3, "kolkata": 0.2, "island": 0.4}, 0.08
# (meter, premise, site, direction, minutes, commodity): a home with PV behind grid meters, an office, a factory.
METER_ROWS = [
    ("home.load", "home", "berlin", "consumption", 60, "electricity"),
    ("home.import", "home", "berlin", "grid_import", 15, "electricity"),
    ("home.export", "home", "berlin", "grid_export", 15, "electricity"),
    ("home.pv", "home", "berlin", "production", 60, "electricity"),
    ("home.gas", "home", "berlin", "consumption", 60, "gas"),
    ("office.a", "office", "kolkata", "consumption", 30, "electricity"),
    ("office.b", "office", "kolkata", "consumption", 60, "electricity"),
    ("factory", "factory", "island", "consumption", 60, "electricity"),
]
CLUSTERS = {"home.load": "electricity.consumption.1", "factory": "electricity.consumption.1"}
Row = dict[str, Any]
Prices = dict[tuple[str, datetime], tuple[int, int]]


def registry() -> tuple[pl.DataFrame, pl.DataFrame]:
    names = ("meter_id", "premise_id", "site_id", "direction", "interval_minutes", "commodity")
    rows = pl.DataFrame(METER_ROWS, schema=names, orient="row").with_columns(
        measure=pl.lit("interval_energy"), unit=pl.lit("kWh"), source=pl.lit("test")
    )
    places = [{"site_id": name, "name": name, "timezone": zone, "source": "test"} for name, zone in ZONES.items()]
    return METERS.conform(rows), SITES.conform(pl.DataFrame(places))


def readings_of(days: list[date], *, random: randoms.Random) -> pl.DataFrame:
    rows = []
    for meter_id, _, _, _, minutes, _ in METER_ROWS:
        for day in days:
            for slot in range(1440 // minutes):
                starts = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minutes * slot)
                kwh = None if random.random() < 0.1 else round(random.uniform(0, 5), 3)
                rows.append(
                    {"meter_id": meter_id, "starts_at_utc": starts, "interval_minutes": minutes, "energy_kwh": kwh}
                )
    frame = pl.DataFrame(rows, schema_overrides={"energy_kwh": pl.Float64})
    return READINGS_INTERVAL.conform(
        frame.with_columns(
            reported_kwh="energy_kwh",
            quality=pl.when(pl.col("energy_kwh").is_null()).then(pl.lit("missing")).otherwise(pl.lit("measured")),
            available_at_utc="starts_at_utc",
        )
    )


def curves_of(day: date, *, minutes: int, zone: str = "berlin", price: int = 25_000, revision: int = 0) -> pl.DataFrame:
    """Return a curve of a local day whose price rises by the slot, and whose feed-in price is half of it."""
    clock = ZoneInfo(ZONES[zone])
    starts = datetime(day.year, day.month, day.day, tzinfo=clock).astimezone(UTC)
    after = day + timedelta(days=1)
    ends = datetime(after.year, after.month, after.day, tzinfo=clock).astimezone(UTC)
    slots = pl.datetime_range(starts, ends, f"{minutes}m", closed="left", time_zone="UTC", eager=True)
    frame = pl.DataFrame({"starts_at_utc": slots}).with_columns(price_units=pl.int_range(pl.len()) * 100 + price)
    return PRICES_CURVES.conform(
        frame.with_columns(
            **{f"{name}_component": pl.lit(0.0) for name in PRICE_COMPONENTS},
            zone_id=pl.lit(zone),
            delivery_date=pl.lit(day),
            revision=pl.lit(revision),
            interval_minutes=pl.lit(minutes),
            currency_code=pl.lit("EUR"),
            export_price_units=pl.col("price_units") // 2,
            net_load_q10_kwh=pl.lit(0.0),
            net_load_q50_kwh=pl.lit(0.0),
            net_load_q90_kwh=pl.lit(0.0),
            rung=pl.lit("welfare"),
            solver_status=pl.lit("ok"),
            inputs_hash=pl.lit("x"),
            published_at_utc="starts_at_utc",
        )
    )


def update(lake: Lake, days: list[date]) -> None:
    meters, sites = lake.read(METERS), lake.read(SITES)
    assigned = pl.DataFrame({"meter_id": list(CLUSTERS), "cluster_id": list(CLUSTERS.values())})
    members = pl.concat([memberships(meters).select(MEMBER_COLUMNS), cluster_members(assigned, meters=meters)])
    rates = pl.DataFrame(
        [(site, flat, EXPORT, "INR" if site == "kolkata" else "EUR") for site, flat in FLAT.items()],
        schema=["site_id", "flat_rate", "export_rate", "currency_code"], orient="row",
    )  # fmt: skip
    for day in days:
        made = usage_update(Window.of_days(day), meters=meters, sites=sites, members=members, rates=rates)
        with lake.session() as session:
            for name, frame in made.frames.items():
                session.register(name, frame)
            where = {"node_kind": list(USAGE_NODE_KINDS)}
            changes = [Change(table=r.table, rows=r.query, window=r.window, where=where) for r in made.replacements]
            lake.commit(changes, session=session)


def nodes_of(row: tuple[str, str, str, str, int, str]) -> list[tuple[str, int]]:
    """Return the nodes of a meter and its sign in them, worked out apart from the library."""
    meter_id, premise, site, direction, _, commodity = row
    found = [(f"{place}|{commodity}|{direction}", 1) for place in (premise, site, "portfolio")]
    is_net = commodity == "electricity" and (premise != "home" or direction.startswith("grid"))
    if is_net:
        sign = -1 if direction in ("production", "grid_export") else 1
        found += [(f"{place}|{commodity}|net", sign) for place in (premise, site, "portfolio")]
    if meter_id in CLUSTERS:
        found.append((CLUSTERS[meter_id], 1))
    return found


def price_of(curves: Prices, site: str, starts: datetime, minutes: int) -> tuple[float, float] | None:
    """Return import and feed-in price as the mean over the five-minute parts of an interval, if all have one."""
    parts = [curves.get((site, starts + timedelta(minutes=part))) for part in range(0, minutes, 5)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return sum(p for p, _ in known) / len(known) / 1e5, sum(e for _, e in known) / len(known) / 1e5


def recomputed(readings: pl.DataFrame, curves: pl.DataFrame) -> dict[str, dict[tuple[Any, ...], Row]]:
    prices: Prices = {}
    for row in curves.sort("revision").iter_rows(named=True):
        for part in range(0, row["interval_minutes"], 5):
            at = row["starts_at_utc"] + timedelta(minutes=part)
            prices[row["zone_id"], at] = (row["price_units"], row["export_price_units"])
    about = {row[0]: row for row in METER_ROWS}
    tables: dict[str, dict[tuple[Any, ...], Row]] = {table.name: defaultdict(_nothing) for table in MARTS_USAGE}
    for reading in readings.iter_rows(named=True):
        row = about[reading["meter_id"]]
        site, direction, minutes, commodity = row[2:]
        starts, kwh = reading["starts_at_utc"], reading["energy_kwh"]
        local = starts.astimezone(ZoneInfo(ZONES[site]))
        day = local.date()
        fed_in = direction in ("production", "grid_export")
        price = price_of(prices, site, starts, minutes) if commodity == "electricity" else None
        flat = EXPORT if fed_in else FLAT[site]
        paid = flat if price is None else price[1] if fed_in else price[0]
        for node, sign in nodes_of(row):
            month = day.replace(day=1)
            keys = {
                MARTS_USAGE_HOURLY.name: [(node, starts.replace(minute=0), day, local.hour)],
                MARTS_USAGE_DAILY.name: [(node, day)],
                MARTS_USAGE_WEEKLY.name: [(node, day - timedelta(days=day.weekday()))],
                MARTS_USAGE_MONTHLY.name: [(node, month)],
                MARTS_USAGE_BY_CLOCK.name: [
                    (node, month, "hour_of_day", local.hour), (node, month, "weekday", day.isoweekday()),
                ],
            }  # fmt: skip
            for name, places in keys.items():
                for place in places:
                    cell = tables[name][place]
                    cell["expected_hours"] += minutes / 60
                    if kwh is None:
                        continue
                    cell["known_hours"] += minutes / 60
                    cell["energy_kwh"] = (cell["energy_kwh"] or 0) + sign * kwh
                    if commodity == "electricity":
                        way = -1 if fed_in else 1
                        cell["cost"] = (cell["cost"] or 0) + way * kwh * paid
                        cell["flat_cost"] = (cell["flat_cost"] or 0) + way * kwh * flat
                        cell["published_kwh"] += kwh if price is not None else 0
    return tables


def _nothing() -> Row:
    return {
        "energy_kwh": None, "known_hours": 0.0, "expected_hours": 0.0, "cost": None, "flat_cost": None,
        "published_kwh": 0.0,
    }  # fmt: skip


def assert_same(lake: Lake, readings: pl.DataFrame, curves: pl.DataFrame) -> None:
    expected = recomputed(readings, curves)
    for table in MARTS_USAGE:
        rows = lake.read(table)
        found = {tuple(row[name] for name in table.key): row for row in rows.iter_rows(named=True)}
        assert len(found) == rows.height, f"{table.name} repeats a key"
        assert found.keys() == expected[table.name].keys(), table.name
        for key, wanted in expected[table.name].items():
            row = found[key]
            mixed = key[0].startswith("portfolio|electricity|") and row["currency_code"] is None
            for name, value in wanted.items():
                if mixed and name in ("cost", "flat_cost"):
                    assert row[name] is None
                elif value is None:
                    assert row[name] is None, (table.name, key, name)
                else:
                    assert math.isclose(row[name], value, rel_tol=1e-9, abs_tol=1e-9), (table.name, key, name)


# On the island a curve begins at half past an hour of UTC, so an hour of a meter may be priced in part.
@example(first=date(2024, 4, 5), seed=0)
@settings(max_examples=2)
@given(
    first=st.sampled_from([date(2024, 3, 29), date(2024, 4, 5), date(2024, 10, 26), date(2024, 12, 30)]),
    seed=st.integers(0, 10**6),
)
def test_any_order_of_days_equals_a_recomputation_from_the_readings(lake: Lake, first: date, seed: int) -> None:
    random = randoms.Random(seed)
    days = [first + timedelta(days=number) for number in range(4)]
    readings = readings_of(days, random=random)
    curves = pl.concat(
        [
            curves_of(days[0], minutes=60),
            curves_of(days[1], minutes=15),
            curves_of(days[1], minutes=15, price=11_000, revision=1),
            curves_of(days[3], minutes=60, zone="island"),
        ]
    )
    meters, sites = registry()
    lake.replace(METERS, meters)
    lake.replace(SITES, sites)
    lake.replace(PRICES_CURVES, curves)
    lake.replace(READINGS_INTERVAL, readings)
    for table in MARTS_USAGE:
        lake.replace(table, table.empty())
    random.shuffle(days)
    update(lake, days)
    assert_same(lake, readings, curves)
    # Late readings change one day; bringing up that day alone is enough, and twice is as good as once.
    late = Window.of_days(days[0])
    inside = pl.col("starts_at_utc").is_between(late.starts_at_utc, late.ends_at_utc, closed="left")
    changed = readings_of([days[0]], random=random)
    lake.replace(READINGS_INTERVAL, changed, window=late)
    update(lake, [days[0], days[0]])
    assert_same(lake, pl.concat([readings.filter(~inside), changed]), curves)


@pytest.mark.parametrize(
    ("day", "hours"),
    [pytest.param(date(2024, 3, 31), 23, id="spring"), pytest.param(date(2024, 10, 27), 25, id="autumn")],
)
def test_a_local_day_has_the_hours_that_its_clock_gives_it(lake: Lake, day: date, hours: int) -> None:
    meters, sites = registry()
    lake.replace(METERS, meters)
    lake.replace(SITES, sites)
    days = [day - timedelta(days=1), day, day + timedelta(days=1)]
    readings = readings_of(days, random=randoms.Random(0)).with_columns(
        energy_kwh=pl.lit(1.0), quality=pl.lit("measured")
    )
    lake.replace(READINGS_INTERVAL, readings)
    update(lake, days)
    of_home = {"node_id": "home|electricity|consumption"}
    daily = lake.read(MARTS_USAGE_DAILY, where={**of_home, "local_date": day})
    assert daily["energy_kwh"].to_list() == [float(hours)]
    clock = lake.read(MARTS_USAGE_HOURLY, where={**of_home, "local_date": day}).group_by("local_hour").len()
    assert dict(clock.iter_rows()).get(2, 0) == hours - 23


def test_nothing_counts_twice_and_directions_stay_apart(lake: Lake) -> None:
    meters, sites = registry()
    lake.replace(METERS, meters)
    lake.replace(SITES, sites)
    day = date(2024, 6, 5)
    readings = readings_of([day], random=randoms.Random(0)).with_columns(energy_kwh=pl.lit(1.0))
    lake.replace(READINGS_INTERVAL, readings)
    update(lake, [day])
    sums = dict(
        lake.read(MARTS_USAGE_MONTHLY, where={"node_kind": "premise"}).select("node_id", "energy_kwh").iter_rows()
    )
    # The home's net is what its grid meters say: 96 - 96; its load and its PV are behind them.
    assert sums["home|electricity|net"] == 0
    assert sums["home|electricity|consumption"] == sums["home|electricity|production"] == 24
    assert sums["office|electricity|net"] == sums["office|electricity|consumption"] == 48 + 24
    bill = lake.read(MARTS_USAGE_DAILY, where={"node_id": "home|electricity|net"})["cost"].sum()
    assert bill == pytest.approx(96 * 0.3 - 96 * 0.08)


def test_a_day_touches_its_own_rows_only(lake: Lake) -> None:
    meters, sites = registry()
    lake.replace(METERS, meters)
    lake.replace(SITES, sites)
    days = [date(2024, 5, 30) + timedelta(days=number) for number in range(30)]
    lake.replace(READINGS_INTERVAL, readings_of(days[::3], random=randoms.Random(1)))
    update(lake, days[::3])
    before = {table.name: lake.read(table) for table in MARTS_USAGE}
    day = days[12]  # 11 June, a Tuesday
    lake.replace(READINGS_INTERVAL, readings_of([day], random=randoms.Random(2)), window=Window.of_days(day))
    update(lake, [day])
    near = {
        MARTS_USAGE_DAILY.name: (day - timedelta(days=1), day + timedelta(days=1)),
        MARTS_USAGE_WEEKLY.name: (date(2024, 6, 10), date(2024, 6, 10)),
        MARTS_USAGE_MONTHLY.name: (date(2024, 6, 1), date(2024, 6, 1)),
        MARTS_USAGE_BY_CLOCK.name: (date(2024, 6, 1), date(2024, 6, 1)),
    }
    for table in MARTS_USAGE:
        after = lake.read(table)
        changed = after.join(before[table.name], on=after.columns, how="anti", nulls_equal=True)
        assert changed.height > 0
        column = changed[table.window_column or ""]
        if table is MARTS_USAGE_HOURLY:
            assert set(column.dt.date()) == {day}
        else:
            low, high = near[table.name]
            assert low <= column.min() <= column.max() <= high, table.name  # type: ignore[operator]
