"""Jobs, schedules and sensors: what runs every night, every week, and when files or readings change."""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from energy_assets.contracts import Window
from energy_assets.defs.automation import every_week, minutes_later
from energy_assets.defs.message_sensor import MESSAGES_JOB, hash_of, new_segments
from energy_assets.defs.partitions import DAILY
from energy_assets.defs.profile_sensor import first_profiles
from energy_assets.defs.weather import weather_issue
from energy_assets.lake import Lake
from energy_assets.readings.cleaning import DAYS_AT_ONCE, changed_window, stale_days_query
from energy_assets.readings.known_dirt import known_dirt_of
from energy_assets.readings.source import Source, load_sources
from energy_assets.settings import Settings, load_settings
from energy_assets.sql import Query

PARTITION_RANGE_START = "dagster/asset_partition_range_start"
PARTITION_RANGE_END = "dagster/asset_partition_range_end"

_DAILY_KEYS = (
    *("readings/raw", "readings/quarantine", "readings/interval"),
    *("weather/observed", "weather/forecast", "weather/quarantine"),
)
_USAGE_KEYS = tuple(f"marts/usage_{name}" for name in ("hourly", "daily", "weekly", "monthly", "by_clock"))
_DERIVED_KEYS = ("readings/interval", "anomalies/flags", "anomalies/events", "marts/daily_energy", *_USAGE_KEYS)
_SETTLEMENT_KEYS = ("settlement/days", "settlement/pools", "settlement/statements", "ledger/settlement_ledger")
# Without partitions: what hangs on the newest of everything. The night makes them once, with the delivery.
_STANDING_KEYS = ("settlement/to_date", "ledger/entries", "ledger/checkpoints")
_DELIVERY_KEYS = (
    *("features/load", "forecasts/load", "forecasts/peaks", "forecasts/limits", "forecasts/recipes"),
    *("prices/wholesale", "prices/wholesale_members"),
    *("prices/curves", "prices/days", "prices/horizon"),
    *("ledger/price_ledger", "ledger/promotion_ledger", "marts/outlook"),
    *_STANDING_KEYS,
)

_PROFILE_KEYS = tuple(f"profiles/{name}" for name in ("shapes", "traits", "clusters", "centroids", "meters"))


def _selection(*keys: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*keys)


REGISTRY_JOB = dg.define_asset_job(
    "registry",
    _selection("metering/sites", "metering/premises", "metering/meters"),
    description="Sites, premises and meters.",
)
HISTORY_JOB = dg.define_asset_job("history", _selection(*_DAILY_KEYS), description="Readings and weather of days.")
DERIVED_JOB = dg.define_asset_job(
    "derived",
    _selection(*_DERIVED_KEYS, *_SETTLEMENT_KEYS, *_STANDING_KEYS),
    description="What follows from readings that changed.",
)
DAY_JOB = dg.define_asset_job(
    "day",
    _selection(
        *_DAILY_KEYS,
        *("anomalies/flags", "anomalies/events", "anomalies/ranking", "marts/daily_energy"),
        *_USAGE_KEYS,
        *_SETTLEMENT_KEYS,
    ),
    description="Readings, weather, flags, energy and bills of days.",
)
DELIVERY_JOB = dg.define_asset_job(
    "delivery",
    _selection(*_DELIVERY_KEYS),
    description="Forecast and prices of delivery dates, bills to date, and the log of what was published.",
)
SKILL_JOB = dg.define_asset_job(
    "skill",
    _selection("forecasts/skill", "forecasts/evidence"),
    description="Measured error of past forecasts.",
)
TRAINING_JOB = dg.define_asset_job("training", _selection("models/load"), description="Train and register models.")
RANKER_JOB = dg.define_asset_job(
    "ranker", _selection("models/ranker"), description="Train the ranker of anomalies from what people said."
)
PROFILES_JOB = dg.define_asset_job(
    "profiles",
    _selection(*_PROFILE_KEYS),
    description="Mean days of meters, clusters of alike meters, the cluster of each meter.",
)
UPKEEP_JOB = dg.define_asset_job("upkeep", _selection("lake/maintenance"), description="Files and snapshots in order.")

JOBS = [
    REGISTRY_JOB,
    MESSAGES_JOB,
    HISTORY_JOB,
    DERIVED_JOB,
    DAY_JOB,
    DELIVERY_JOB,
    SKILL_JOB,
    TRAINING_JOB,
    RANKER_JOB,
    PROFILES_JOB,
    UPKEEP_JOB,
]

_ZONE = load_settings().timezone


@dg.schedule(
    job=DAY_JOB,
    cron_schedule=load_settings().nightly_cron,
    execution_timezone=_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Readings, weather and flags of yesterday.",
)
def nightly_day(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for yesterday's data, and for the day before's once more: a register's last interval ends after midnight."""
    yesterday = _scheduled_date(context) - timedelta(days=1)
    before = yesterday - timedelta(days=1)
    return dg.RunRequest(
        run_key=f"day {yesterday}",
        tags={PARTITION_RANGE_START: before.isoformat(), PARTITION_RANGE_END: yesterday.isoformat()},
    )


@dg.schedule(
    job=DELIVERY_JOB,
    cron_schedule=minutes_later(load_settings().nightly_cron, 15),
    execution_timezone=_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Forecast, prices and marts of tomorrow, from whatever data is there by now.",
)
def nightly_delivery(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for tomorrow, waiting for no other run: a late feed costs a rung of the ladder, not the forecast."""
    tomorrow = _scheduled_date(context) + timedelta(days=1)
    return dg.RunRequest(partition_key=tomorrow.isoformat(), run_key=f"delivery {tomorrow}")


@dg.schedule(
    job=SKILL_JOB,
    cron_schedule=minutes_later(load_settings().nightly_cron, 25),
    execution_timezone=_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Measures the newest forecast whose whole delivery has been read.",
)
def nightly_skill(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for the skill of the delivery date that ended yesterday."""
    measured = _scheduled_date(context) - timedelta(days=2)
    return dg.RunRequest(partition_key=measured.isoformat(), run_key=f"skill {measured}")


evening_weather = dg.ScheduleDefinition(
    name="evening_weather",
    job=weather_issue,
    cron_schedule=minutes_later(f"0 {load_settings().issue_hour_utc} * * *", -15),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Keeps the weather forecast of just before the issue, for sources that ask for Open-Meteo's.",
)
weekly_training = every_week("weekly_training", job=TRAINING_JOB, description="Trains challengers from all readings.")
weekly_ranker = every_week(
    "weekly_ranker",
    job=RANKER_JOB,
    minutes=60,
    description="Trains the ranker of anomalies from what people said, once they said enough.",
)
weekly_profiles = every_week(
    "weekly_profiles",
    job=PROFILES_JOB,
    minutes=90,
    description="Looks at the last year of every meter again, and fits the clusters of alike meters.",
)
weekly_upkeep = every_week("weekly_upkeep", job=UPKEEP_JOB, minutes=120, description="Tidies the lake.")


@dg.sensor(
    job=HISTORY_JOB,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Lands the declared sources again when one of their files changed or a source was added.",
    required_resource_keys={"settings"},
)
def changed_sources(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for the whole history when the files of a source changed; days that stayed the same stay as they are."""
    settings: Settings = context.resources.settings
    # Read before it is written: `context.cursor` follows `update_cursor`.
    seen = context.cursor
    before = json.loads(seen or "{}")
    files = [source for source in load_sources(settings.sources_folder) if source.kind != "mqtt"]
    present = {source.name: stamp_of(source) for source in files}
    context.update_cursor(json.dumps(present))
    changed = sorted(name for name, stamp in present.items() if before.get(name) != stamp)
    if not changed or seen is None:
        yield dg.SkipReason("first look: the sources are as they are" if seen is None else "no source changed")
        return
    last = DAILY.get_last_partition_key()
    assert last is not None
    yield dg.RunRequest(
        run_key=f"sources {json.dumps(present, sort_keys=True)}",
        tags={PARTITION_RANGE_START: DAILY.get_first_partition_key() or last, PARTITION_RANGE_END: last},
    )


@dg.sensor(
    job=DERIVED_JOB,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Re-materialises exactly the days whose stored readings changed, by content.",
    required_resource_keys={"lake", "settings"},
)
def changed_readings(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for the days that cleaning would write differently now, near those whose landed content changed.

    A late reading may change other days than its own (a register's gap, what is usual for a meter), and a night that
    landed and cleaned its day has left nothing to do.
    """
    lake: Lake = context.resources.lake
    settings: Settings = context.resources.settings
    newest = DAILY.get_last_partition_key() or ""
    present = lake.query(Query.from_file("energy_assets.defs", "landing_digests"))
    # A day that has not ended has no partition yet; the night that follows it cleans it.
    digest = {day.isoformat(): mark for day, mark in present.iter_rows() if day.isoformat() <= newest}
    if context.cursor is None:
        context.update_cursor(json.dumps(digest))
        yield dg.SkipReason("first look: the days that are there count as seen")
        return
    before = json.loads(context.cursor)
    changed = sorted(date.fromisoformat(day) for day, stamp in digest.items() if before.get(day) != stamp)
    context.update_cursor(json.dumps(digest))
    stale = _stale_days(lake, changed, sources=load_sources(settings.sources_folder)) if changed else []
    if not stale:
        yield dg.SkipReason("no day changed" if not changed else "the changed days are clean already")
    for first, last in spans_of(stale):
        yield dg.RunRequest(
            run_key=f"{first} {last} {hash_of(json.dumps([digest[day] for day in sorted(digest)])):016x}",
            tags={PARTITION_RANGE_START: first.isoformat(), PARTITION_RANGE_END: last.isoformat()},
        )


def _stale_days(lake: Lake, changed: Sequence[date], *, sources: Sequence[Source]) -> list[date]:
    """Return the days, up to the newest of data, that cleaning would write differently now that `changed` days did."""
    dirt = known_dirt_of(sources)
    cleaned_until = lake.query(Query.from_file("energy_assets.defs", "newest_interval")).item()
    newest = max(changed[-1], cleaned_until.date()) if cleaned_until else changed[-1]
    stale: set[date] = set()
    for first, last in spans_of(changed):
        for piece in changed_window(Window.of_days(first, last)).pieces(days=DAYS_AT_ONCE):
            stale.update(lake.query(stale_days_query(piece, known_dirt=dirt))["day"])
    return sorted(day for day in stale if day <= newest)


def stamp_of(source: Source) -> str:
    """Return what changes when a file of a source does: names, sizes, times of its files."""
    root = source.path
    files = sorted(root.rglob("*")) if root.is_dir() else [root] if root.exists() else []
    facts = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files if file.is_file()]
    return f"{hash_of(chr(10).join(facts)):016x}"


def spans_of(days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """Yield the first and last day of every run of consecutive days; `days` are sorted."""
    first = previous = None
    for day in days:
        if first is None or previous is None:
            first = day
        elif day - previous > timedelta(days=1):
            yield first, previous
            first = day
        previous = day
    if first is not None and previous is not None:
        yield first, previous


def _scheduled_date(context: dg.ScheduleEvaluationContext) -> date:
    moment: datetime = context.scheduled_execution_time
    return moment.date()


SCHEDULES = [
    evening_weather,
    nightly_day,
    nightly_delivery,
    nightly_skill,
    weekly_training,
    weekly_ranker,
    weekly_profiles,
    weekly_upkeep,
]
SENSORS = [changed_sources, new_segments, changed_readings, first_profiles]
