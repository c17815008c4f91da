"""Forecasts: every meter and slot of the coming delivery date, and how good the past ones were."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    FEATURES_LOAD,
    FORECASTS_AHEAD,
    FORECASTS_EVIDENCE,
    FORECASTS_LIMITS,
    FORECASTS_LOAD,
    FORECASTS_OUTLOOK,
    FORECASTS_PEAKS,
    FORECASTS_RECIPES,
    FORECASTS_SKILL,
    METERS,
    PREMISES,
    PROFILES_METERS,
    READINGS_INTERVAL,
    SITES,
    Window,
)
from energy_assets.defs.automation import FRESH_EVERY_MORNING
from energy_assets.defs.contract_checks import contract_check
from energy_assets.defs.features import stored_features
from energy_assets.defs.following import followers_of
from energy_assets.defs.live_skill import drawn_in_mlflow, medians_of
from energy_assets.defs.partitions import (
    DELIVERY_DATE,
    NEWEST_DATA_OF_DELIVERY,
    delivery_dates_of,
    issue_time,
    issue_window,
)
from energy_assets.defs.peers import peer_groups_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message, table_of
from energy_assets.defs.sums import peaks_in_weeks
from energy_assets.forecasts.actuals import known_within, with_actuals
from energy_assets.forecasts.champions import champions_of, known_at
from energy_assets.forecasts.daily import forecast_delivery
from energy_assets.forecasts.evidence import evidence_of
from energy_assets.forecasts.leaderboard import lead_skill, leaderboard, table_of_board
from energy_assets.forecasts.learning import MEASURED_AFTER, MEMORY, learned_from
from energy_assets.forecasts.limit_skill import reliability, skill_of_limits
from energy_assets.forecasts.limits import likeliest_beyond
from energy_assets.forecasts.other_horizons import skill_of_ahead, skill_of_outlook
from energy_assets.forecasts.outlook import LONGEST_DAYS, daily_energy
from energy_assets.forecasts.peak_learning import peak_skill, with_actual_peaks
from energy_assets.forecasts.skill import judge_coverage, judge_plausibility, skill_of_compared
from energy_assets.forecasts.standing import HISTORY, standing
from energy_assets.lake import Lake
from energy_assets.models.registry import Registry
from energy_assets.settings import Settings

READ_COLUMNS = ["meter_id", "starts_at_utc", "interval_minutes", "energy_kwh", "available_at_utc"]
_JUDGED_WEEKS = 4
_MOST_PLACES = 40


@dg.multi_asset(
    name="load_forecasts",
    specs=[
        dg.AssetSpec(
            description=description,
            deps=[FEATURES_LOAD.asset_key, PROFILES_METERS.asset_key],
            freshness_policy=FRESH_EVERY_MORNING,
            **looks_of(table, kinds=("ducklake", "xgboost")),
        )
        for table, description in (
            (
                FORECASTS_LOAD,
                "Energy per meter, premise, site and portfolio as quantiles, from the best rung that works.",
            ),
            (FORECASTS_PEAKS, FORECASTS_PEAKS.description),
            (FORECASTS_LIMITS, FORECASTS_LIMITS.description),
            (FORECASTS_RECIPES, FORECASTS_RECIPES.description),
        )
    ],
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
)
def load_forecasts(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
) -> Iterator[dg.MaterializeResult[None]]:
    """Make the forecasts of delivery dates, with what past ones teach: their evidence is of issues before, no cycle."""
    meters, premises, sites = (lake.read(table) for table in (METERS, PREMISES, SITES))
    dates = delivery_dates_of(context)
    issues = [issue_time(each, issue_hour_utc=settings.issue_hour_utc) for each in dates]
    followers = followers_of(lake, champions_of(registry, meters=meters), meters=meters, issues=issues)
    first = issue_time(dates[0], issue_hour_utc=settings.issue_hour_utc)
    last = issue_time(dates[-1], issue_hour_utc=settings.issue_hour_utc)
    readings = lake.read(
        READINGS_INTERVAL, Window(starts_at_utc=first - HISTORY, ends_at_utc=last), columns=READ_COLUMNS
    )
    evidence = lake.read(FORECASTS_EVIDENCE, Window(starts_at_utc=first - MEMORY, ends_at_utc=last))
    rungs, peaks, limits, recipes = [], [], [], []
    for each in dates:
        issued = issue_time(each, issue_hour_utc=settings.issue_hour_utc)
        features, fingerprint = stored_features(lake, issued_at=issued)
        # No more than a single night would read, so that the night alone can be made again.
        recent = readings.filter(pl.col("starts_at_utc").is_between(issued - HISTORY, issued, closed="left"))
        made = forecast_delivery(
            features,
            readings=recent,
            meters=meters,
            premises=premises,
            sites=sites,
            champions=known_at(followers.at(issued), issued_at_utc=issued),
            issued_at_utc=issued,
            features_hash=fingerprint,
            seed=issued.toordinal(),
            learned=learned_from(evidence, issued_at_utc=issued),
            peer_groups=peer_groups_of(lake, readings=recent, meters=meters, sites=sites, issued_at_utc=issued),
            portfolio_limit_kw=settings.portfolio_limit_kw,
        )
        window = issue_window([each], issue_hour_utc=settings.issue_hour_utc)
        commit = lake.replace(FORECASTS_LOAD, made.rows, window=window, message=run_message(context))
        peaks.append(made.peaks)
        limits.append(made.limits)
        recipes.append(made.recipe)
        rungs.append(made.rows.filter(pl.col("node_kind") == "meter").group_by("method", "reason").len("slots"))
    summary = pl.concat(rungs).group_by("method", "reason").agg(pl.col("slots").sum())
    yield report(commit, FORECASTS_LOAD, rungs=summary.sort("slots", descending=True), issues=len(dates))
    window = issue_window(dates, issue_hour_utc=settings.issue_hour_utc)
    for table, frames in ((FORECASTS_PEAKS, peaks), (FORECASTS_LIMITS, limits), (FORECASTS_RECIPES, recipes)):
        frame = pl.concat(frames)
        commit = lake.replace(table, frame, window=window, message=run_message(context))
        newest = frame.filter(pl.col("issued_at_utc") == pl.col("issued_at_utc").max())
        yield report(commit, table, newest=likeliest_beyond(newest) if table is FORECASTS_LIMITS else newest)


@dg.asset_check(asset=FORECASTS_LOAD.asset_key, name="every_meter_has_a_forecast", blocking=True)
def every_meter_has_a_forecast(
    lake: dg.ResourceParam[Lake],
) -> dg.AssetCheckResult:
    """Every registered meter has rows in the newest forecast."""
    newest = _newest(lake)
    served = newest.filter(pl.col("node_kind") == "meter")["node_id"].unique()
    missing = lake.read(METERS, columns=["meter_id"]).filter(~pl.col("meter_id").is_in(served.implode()))
    return dg.AssetCheckResult(
        passed=missing.is_empty(),
        description=f"{served.len():,} meters served, {missing.height:,} without a forecast",
        metadata={"missing": table_of(missing)},
    )


@dg.asset_check(asset=FORECASTS_LOAD.asset_key, name="forecast_is_plausible", blocking=True)
def forecast_is_plausible(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """The newest forecast is of the size of recent readings; one that is a thousand times too big stops here."""
    newest = _newest(lake)
    if newest.is_empty():
        return dg.AssetCheckResult(passed=False, description="there is no forecast")
    issued = newest["issued_at_utc"][0]
    readings = lake.read(
        READINGS_INTERVAL, Window(starts_at_utc=issued - HISTORY, ends_at_utc=issued), columns=READ_COLUMNS
    )
    known = standing(readings, meters=lake.read(METERS), premises=lake.read(PREMISES), issued_at_utc=issued)
    judged = judge_plausibility(newest, known=known)
    return dg.AssetCheckResult(
        passed=judged.holds,
        severity=dg.AssetCheckSeverity.ERROR if judged.is_grave else dg.AssetCheckSeverity.WARN,
        description=judged.evidence,
        metadata={"offenders": table_of(judged.offenders)},
    )


@dg.multi_asset(
    name="forecast_skill",
    specs=[
        dg.AssetSpec(
            description=description,
            deps=[
                FORECASTS_LOAD.asset_key,
                FORECASTS_PEAKS.asset_key,
                FORECASTS_LIMITS.asset_key,
                FORECASTS_RECIPES.asset_key,
                dg.AssetDep(READINGS_INTERVAL.asset_key, partition_mapping=NEWEST_DATA_OF_DELIVERY),
            ],
            **looks_of(table),
        )
        for table, description in (
            (
                FORECASTS_SKILL,
                "Error of the published forecasts against readings and plain baselines, per node, rung and lead time. "
                "`medians` are of the nodes on the nights of the run. `error_by_lead_time` (all meters together) and "
                "`leaderboard` (by site, the 40 worst first) are of the last four weeks: a cell is the error as a "
                "share of the energy and, in brackets, the skill over the better of last week and the mean of four "
                "weeks. What each model version was worth is drawn in its MLflow run, under `live/` and "
                "`leaderboard_…`.",
            ),
            (FORECASTS_EVIDENCE, FORECASTS_EVIDENCE.description),
        )
    ],
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
)
def forecast_skill(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
) -> Iterator[dg.MaterializeResult[None]]:
    """Measure published forecasts, and count what later ones learn from."""
    window = issue_window(delivery_dates_of(context), issue_hour_utc=settings.issue_hour_utc)
    read = window.padded(before=timedelta(weeks=5), after=timedelta(days=3))
    meters, sites = lake.read(METERS), lake.read(SITES)
    readings = lake.read(READINGS_INTERVAL, read)
    compared = with_actuals(lake.read(FORECASTS_LOAD, window), readings=readings, meters=meters, sites=sites)
    skill = skill_of_compared(compared)
    others = skill_of_other_horizons(lake, context, readings=readings, meters=meters, sites=sites, settings=settings)
    peaks = with_actual_peaks(lake.read(FORECASTS_PEAKS, window), compared=compared, sites=sites)
    limits = skill_of_limits(lake.read(FORECASTS_LIMITS, window), compared=compared, readings=readings, meters=meters)
    rows = pl.concat([skill, lead_skill(compared), peak_skill(peaks), limits, *others])
    commit = lake.replace(FORECASTS_SKILL, rows, window=window, message=run_message(context))
    recent = lake.read(FORECASTS_SKILL, window.padded(before=timedelta(weeks=_JUDGED_WEEKS)))
    board = leaderboard(recent)
    yield report(
        commit,
        FORECASTS_SKILL,
        **medians_of(skill),
        error_by_lead_time=table_of(table_of_board(leaderboard(recent, portfolio=True))),
        leaderboard=table_of(table_of_board(board), rows=_MOST_PLACES),
        peaks=peaks_in_weeks(recent),
        chances_of_limits=reliability(recent),
        in_mlflow=drawn_in_mlflow(registry, compared, board=board),
    )
    in_time = known_within(compared, readings=readings, meters=meters, after=MEASURED_AFTER)
    if in_time is not compared:
        peaks = with_actual_peaks(lake.read(FORECASTS_PEAKS, window), compared=in_time, sites=sites)
    evidence = evidence_of(in_time, recipes=lake.read(FORECASTS_RECIPES, window), meters=meters, peaks=peaks)
    commit = lake.replace(FORECASTS_EVIDENCE, evidence, window=window, message=run_message(context))
    counted = evidence.group_by("statistic", "subject").agg(pl.col("slots").sum()).sort("statistic", "subject")
    yield report(commit, FORECASTS_EVIDENCE, counted=counted)


def skill_of_other_horizons(
    lake: Lake,
    context: dg.AssetExecutionContext,
    *,
    readings: pl.DataFrame,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    settings: Settings,
) -> Iterator[pl.DataFrame]:
    """Yield the skill of the outlook on the delivery dates, and of the next hours that were issued on issue days."""
    issues = {each: issue_time(each, issue_hour_utc=settings.issue_hour_utc) for each in delivery_dates_of(context)}
    first, last = min(issues.values()), max(issues.values())
    made = Window(starts_at_utc=first - timedelta(days=LONGEST_DAYS), ends_at_utc=last + timedelta(days=1))
    looked = lake.read(FORECASTS_OUTLOOK, made, where={"days": 1, "local_date": list(issues)})
    if looked.height:
        recent = readings.filter(pl.col("starts_at_utc") >= first - timedelta(days=1))
        daily = daily_energy(recent, meters=meters, sites=sites)
        yield skill_of_outlook(looked, daily=daily, meters=meters, issues=issues)
    ahead = lake.read(FORECASTS_AHEAD, Window(starts_at_utc=first, ends_at_utc=last + timedelta(days=1)))
    if ahead.height:
        days = {each.date(): each for each in issues.values()}
        yield skill_of_ahead(ahead, readings=readings, meters=meters, issues=days)


@dg.asset_check(asset=FORECASTS_SKILL.asset_key, name="bands_cover_what_they_claim")
def bands_cover_what_they_claim(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """The 80 % bands of the last weeks held about 80 % of the readings, on every rung."""
    skill = lake.read(FORECASTS_SKILL)
    newest = skill["window_start_utc"].max()
    if isinstance(newest, datetime):
        skill = skill.filter(pl.col("window_start_utc") > newest - timedelta(weeks=_JUDGED_WEEKS))
    judged = judge_coverage(skill)
    return dg.AssetCheckResult(
        passed=judged.holds,
        severity=dg.AssetCheckSeverity.WARN,
        description=judged.evidence,
        metadata={"offenders": table_of(judged.offenders)},
    )


def _newest(lake: Lake) -> pl.DataFrame:
    issues = lake.read(FORECASTS_LOAD, columns=["issued_at_utc"])["issued_at_utc"]
    if issues.is_empty():
        return FORECASTS_LOAD.empty()
    newest = issues.max()
    return lake.read(FORECASTS_LOAD, where={"issued_at_utc": newest})


checks = [
    contract_check(FORECASTS_LOAD),
    every_meter_has_a_forecast,
    forecast_is_plausible,
    contract_check(FORECASTS_PEAKS),
    contract_check(FORECASTS_RECIPES),
    contract_check(FORECASTS_SKILL),
    contract_check(FORECASTS_EVIDENCE),
    bands_cover_what_they_claim,
]
