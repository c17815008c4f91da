"""Settlement: what each local day cost every premise, the statements of whole months, and the bill to date."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    FORECASTS_LOAD,
    METERS,
    PRICES_CURVES,
    READINGS_INTERVAL,
    SETTLEMENT_DAYS,
    SETTLEMENT_POOLS,
    SETTLEMENT_STATEMENTS,
    SETTLEMENT_TO_DATE,
    SITES,
    Window,
)
from energy_assets.defs.automation import FRESH_EVERY_MORNING
from energy_assets.defs.contract_checks import checked_window, contract_checks
from energy_assets.defs.partitions import DAILY, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message, specs_of, table_of
from energy_assets.lake import Change, Commit, Lake
from energy_assets.prices.daily import zones_of
from energy_assets.prices.gathering import LocalDay, gatherings
from energy_assets.prices.periods import CURVE_COLUMNS, LONGEST_DAY, closed_days, on_slots, pieces_of, settle_days
from energy_assets.prices.statements import month_of, next_revisions, statements_of
from energy_assets.prices.to_date import TYPICAL_DAYS, bills_to_date
from energy_assets.prices.usage import DayUse, counted_meters, use_of_gathered
from energy_assets.prices.zones import ZoneConfig
from energy_assets.settings import Settings
from energy_assets.sql import Query

_DAY_TABLES = (SETTLEMENT_DAYS, SETTLEMENT_POOLS)
LAWS = (
    "payments_sum_to_the_grid_bill",
    "credits_sum_to_zero_around_it",
    "nobody_pays_more_than_alone",
    "parts_sum_to_what_is_paid",
    "energy_is_conserved",
)


@dg.multi_asset(
    name="settled_days",
    specs=specs_of(
        _DAY_TABLES,
        deps=[READINGS_INTERVAL.asset_key, METERS.asset_key, PRICES_CURVES.asset_key],
        freshness_policy=FRESH_EVERY_MORNING,
    ),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
)
def settled_days(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Energy and money per premise and local day, of every day that has ended and that the run's readings touch."""
    zones = _zones(lake, settings)
    members = counted_meters(lake.read(METERS))
    until = _end_of_readings(lake)
    commits = []
    for piece in pieces_of(_touched(context), members=members):
        closed = closed_days(zones, window=piece, until=until)
        dates = sorted({day for _, day in closed})
        # None asks for rows without a date, of which there are none.
        curves = lake.read(PRICES_CURVES, columns=CURVE_COLUMNS, where={"delivery_date": dates or None})
        days = on_slots(closed, curves=curves, members=members)
        settled = settle_days(_uses(lake, days, members=members), curves=curves)
        commits.append(
            lake.commit(
                [
                    Change(table=SETTLEMENT_DAYS, rows=settled.days, window=piece),
                    Change(table=SETTLEMENT_POOLS, rows=settled.pools, window=piece),
                ],
                message=run_message(context),
            )
        )
    whole = Commit.together(commits)
    yield report(whole, SETTLEMENT_DAYS, settled_until=str(until))
    yield report(whole, SETTLEMENT_POOLS)


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            name=law, asset=SETTLEMENT_DAYS.asset_key, blocking=True, description=f"To the last unit: {law}."
        )
        for law in LAWS
    ]
)
def laws_of_settlement(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """Energy and money are conserved per zone and day, and no member of a community pays more than alone."""
    window = checked_window(context) or Window.of_days(date(1970, 1, 1), date(9999, 1, 1))
    window = window.padded(before=LONGEST_DAY)
    query = Query.from_file(
        "energy_assets.defs", "settlement_laws", starts=window.starts_at_utc, ends=window.ends_at_utc
    )
    found = lake.query(query).row(0, named=True)
    for law in LAWS:
        yield dg.AssetCheckResult(
            asset_key=SETTLEMENT_DAYS.asset_key,
            check_name=law,
            passed=found[law] == 0,
            description=f"{found[law]} of {found['zone_days']} zones and days break it",
        )


@dg.asset(
    **looks_of(SETTLEMENT_STATEMENTS),
    description=SETTLEMENT_STATEMENTS.description,
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[SETTLEMENT_DAYS.asset_key],
    freshness_policy=FRESH_EVERY_MORNING,
)
def statements(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Statements of the months that have ended; what changed since the last one becomes its next revision."""
    window = _touched(context)
    newest = dict(lake.query(Query.from_file("energy_assets.defs", "settled_until")).iter_rows())
    # Local days begin up to fourteen hours before the UTC day of the same date.
    months = sorted({month_of(day) for day in window.padded(after=timedelta(hours=14)).days()})
    zones = [zone for zone in _zones(lake, settings) if zone.zone_id in newest]
    fresh = [SETTLEMENT_STATEMENTS.empty()]
    for first, after in months:
        ended = [zone for zone in zones if newest[zone.zone_id] >= after - timedelta(days=1)]
        if ended:
            dates = [first + timedelta(days=i) for i in range((after - first).days)]
            days = lake.read(SETTLEMENT_DAYS, where={"local_date": dates}).partition_by("zone_id", as_dict=True)
            fresh += [
                statements_of(days[zone.zone_id,], zone=zone, period_start=first)
                for zone in ended
                if (zone.zone_id,) in days
            ]
    made = pl.concat(fresh)
    periods = sorted(set(made["period_start"].to_list()))
    before = lake.read(SETTLEMENT_STATEMENTS, where={"period_start": periods}) if periods else made.clear()
    changed = next_revisions(before, fresh=made)
    # By publication, so that two runs that find the same change at once write it once.
    names = ("zone_id", "period_start", "publication")
    changes = [
        Change(table=SETTLEMENT_STATEMENTS, rows=rows, where=dict(zip(names, publication, strict=True)))
        for publication, rows in changed.group_by(names, maintain_order=True)
    ]
    commit = lake.commit(changes, message=run_message(context))
    return report(
        commit, SETTLEMENT_STATEMENTS, corrected=changed.filter(pl.col("revision") > 0).height, months=len(periods)
    )


@dg.asset_check(asset=SETTLEMENT_STATEMENTS.asset_key, name="statements_are_the_sum_of_their_days", blocking=True)
def statements_are_the_sum_of_their_days(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Every statement that stands is the sum of its settled days, and its total the sum of its parts."""
    window = checked_window(context)
    since = month_of((window.starts_at_utc - LONGEST_DAY).date())[0] if window else date(1970, 1, 1)
    off = lake.query(Query.from_file("energy_assets.defs", "statements_off", since=since))
    return dg.AssetCheckResult(
        passed=off.is_empty(),
        description=f"{off.height} statements differ from their days",
        metadata={"wrong": table_of(off)},
    )


@dg.asset(
    **looks_of(SETTLEMENT_TO_DATE),
    description=SETTLEMENT_TO_DATE.description,
    # Of no partition: it is of the newest settled day and the newest forecast, whichever run made them.
    deps=[SETTLEMENT_DAYS.asset_key, FORECASTS_LOAD.asset_key, PRICES_CURVES.asset_key],
    freshness_policy=FRESH_EVERY_MORNING,
)
def bill_to_date(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """The running month's bill per premise, from what is settled and what the newest forecast says of the rest."""
    newest = dict(lake.query(Query.from_file("energy_assets.defs", "settled_until")).iter_rows())
    zones = [zone for zone in _zones(lake, settings) if zone.zone_id in newest]
    made = [SETTLEMENT_TO_DATE.empty()]
    if zones:
        first, last = min(newest.values()), max(newest.values())
        since = min(first - timedelta(days=TYPICAL_DAYS), month_of(first)[0])
        dates = [since + timedelta(days=i) for i in range((last - since).days + 1)]
        coming = [first + timedelta(days=i) for i in range(1, (last - first).days + 5)]
        days, forecasts, curves = (
            frame.partition_by("zone_id", as_dict=True)
            for frame in (
                lake.read(SETTLEMENT_DAYS, where={"local_date": dates}),
                lake.query(Query.from_file("energy_assets.defs", "premise_forecasts")),
                lake.read(PRICES_CURVES, where={"delivery_date": coming}),
            )
        )
        made += [
            bills_to_date(
                days[zone.zone_id,],
                forecast=forecasts.get((zone.zone_id,), _NO_FORECAST),
                curves=curves.get((zone.zone_id,), PRICES_CURVES.empty()),
                zone=zone,
            )
            for zone in zones
            if (zone.zone_id,) in days
        ]
    return report(lake.replace(SETTLEMENT_TO_DATE, pl.concat(made), message=run_message(context)), SETTLEMENT_TO_DATE)


_NO_FORECAST = FORECASTS_LOAD.empty().select(
    pl.col("node_id").alias("premise_id"), "starts_at_utc", "interval_minutes", "q10", "q50", "q90"
)


def _zones(lake: Lake, settings: Settings) -> list[ZoneConfig]:
    return zones_of(settings.home / "zones", sites=lake.read(SITES), currency_code=settings.currency_code)


def _uses(lake: Lake, days: Sequence[LocalDay], *, members: pl.DataFrame) -> Iterator[DayUse]:
    """Yield the use of days, of as many zones at a time as memory takes."""
    for gathered in gatherings(days, members=members):
        for query in gathered.queries():
            gathered.add(lake.query(query))
        yield from use_of_gathered(gathered)


def _touched(context: dg.AssetExecutionContext) -> Window:
    """Return the starts of the local days that readings of the run's days can be part of."""
    return window_of(context).padded(before=LONGEST_DAY)


def _end_of_readings(lake: Lake) -> datetime:
    """Return the end of the newest UTC day that has readings."""
    newest = lake.query(Query.from_file("energy_assets.defs", "newest_interval")).item()
    day = newest.date() if newest else date(1970, 1, 1)
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


checks = [
    *contract_checks(_DAY_TABLES),
    laws_of_settlement,
    *contract_checks([SETTLEMENT_STATEMENTS]),
    statements_are_the_sum_of_their_days,
    *contract_checks([SETTLEMENT_TO_DATE]),
]
