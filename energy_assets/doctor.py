"""`energy doctor`: what of the platform works, what does not, and what to do about it.

Each examination looks at one thing and yields findings; none leaves anything behind. `now` is an argument.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape

from energy_assets import contracts
from energy_assets.errors import EnergyAssetsError
from energy_assets.lake import Lake
from energy_assets.parsing.account import account_of
from energy_assets.readings.source import load_sources
from energy_assets.settings import CONFIG_NAME, Settings
from energy_assets.sql import Query

LEAST_FREE_GB = 2.0
OLDEST_NIGHT = timedelta(hours=30)
OLDEST_READING = timedelta(days=2)
OLDEST_HEARTBEAT = timedelta(minutes=5)
CLOCK_TOLERANCE = timedelta(minutes=5)
SHARE_REFUSED = 0.05

Level = Literal["good", "notice", "trouble"]
_MARKS = {"good": "[green]✓[/]", "notice": "[yellow]![/]", "trouble": "[red]✗[/]"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at: what was found, and for a trouble or a notice what to do."""

    level: Level
    what: str
    remedy: str | None = None


def diagnose(settings: Settings, *, now: datetime, console: Console) -> int:
    """Print what was found, troubles with their remedies, and return the number of troubles."""
    troubles = 0
    for finding in findings(settings, now=now):
        troubles += finding.level == "trouble"
        remedy = f"\n    → {escape(finding.remedy)}" if finding.remedy else ""
        console.print(f"{_MARKS[finding.level]} {escape(finding.what)}{remedy}", highlight=False, soft_wrap=True)
    console.print("\nAll is well." if not troubles else f"\n{troubles} of these need you.")
    return troubles


def findings(settings: Settings, *, now: datetime) -> Iterator[Finding]:
    """Yield what the examinations find, from the ground up; what cannot be examined without a lake is left out."""
    yield from _ground(settings, now=now)
    if settings.lake_catalog is None and not Path(settings.catalog.removeprefix("sqlite:")).exists():
        yield _trouble(
            f"Nothing was made in {settings.home} yet",
            remedy="Start with `energy run`, with `energy ingest …`, or set ENERGY_ASSETS_HOME to where it was made.",
        )
        return
    try:
        lake = Lake.from_settings(settings)
        yield _good(
            f"Lake {_without_password(settings.catalog)}: snapshot {lake.snapshot_id()}, "
            f"{lake.count(contracts.READINGS_INTERVAL):,} intervals, files in {settings.data_path}",
        )
    except EnergyAssetsError as error:
        yield _trouble(f"Lake: {error}", remedy="See docs/operations.md, Recovery, for a lake that is gone.")
        return
    examinations: Sequence[Callable[..., Iterator[Finding]]] = (_sources, _accounts, _quarantine, _clock, _models)
    try:
        for examination in examinations:
            yield from _examined(examination, settings, lake, now)
    finally:
        lake.close()
    yield from _dagster(settings, now=now)


def _examined(
    examination: Callable[..., Iterator[Finding]], settings: Settings, lake: Lake, now: datetime
) -> Iterator[Finding]:
    try:
        yield from examination(settings, lake, now)
    except EnergyAssetsError as error:
        yield _trouble(str(error))


def _ground(settings: Settings, *, now: datetime) -> Iterator[Finding]:
    file = settings.home / CONFIG_NAME
    yield _good(f"Settings: home {settings.home}{f', file {file}' if file.exists() else ''}")
    folder = next(each for each in (settings.home, *settings.home.parents) if each.exists())
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < LEAST_FREE_GB:
        yield _trouble(
            f"Disk of {folder}: only {free_gb:.1f} GB free",
            remedy="Free some, or move the home to a larger disk. The weekly job `upkeep` drops files out of use.",
        )
    else:
        yield _good(f"Disk of {folder}: {free_gb:,.0f} GB free")
    if settings.home.exists():
        probe = settings.home / ".doctor"
        try:
            probe.touch()
            written = datetime.fromtimestamp(probe.stat().st_mtime, tz=now.tzinfo)
            probe.unlink()
        except OSError as error:
            yield _trouble(
                f"Home {settings.home} cannot be written: {error.strerror}",
                remedy=f"Give this user the folder: chown -R $USER {settings.home}",
            )
            return
        if abs(written - now) > CLOCK_TOLERANCE:
            yield _trouble(
                f"Clock: the disk says {written:%Y-%m-%d %H:%M}, this machine {now:%Y-%m-%d %H:%M}",
                remedy="Switch time synchronisation on (timedatectl set-ntp true) on both.",
            )


def _sources(settings: Settings, lake: Lake, now: datetime) -> Iterator[Finding]:
    sources = load_sources(settings.sources_folder)
    if not sources:
        yield _trouble(
            f"No source is declared in {settings.sources_folder}",
            remedy="Declare one with `energy ingest …`, or see how it looks with `energy run`.",
        )
    newest = dict(lake.query(Query.from_file("energy_assets.defs", "newest_of_sources")).iter_rows())
    for source in sources:
        declared = settings.sources_folder / f"{source.name}.toml"
        for key, path in source.files().items():
            if not _is_there(path):
                what = "" if key == "path" else f"{key} "
                yield _trouble(
                    f"Source {source.name}: {what}{path} does not exist",
                    remedy=f"Put it back, mend {key} in {declared}, or stop reading it: rm {declared}",
                )
        last = newest.get(source.name)
        if last is None:
            yield _trouble(
                f"Source {source.name}: nothing of it is in the lake",
                remedy="Land it with `energy ingest …` or `energy nightly`, which name what is wrong with it.",
            )
        elif now - last > OLDEST_READING:
            yield _notice(
                f"Source {source.name}: newest reading of {last:%Y-%m-%d %H:%M} UTC, {_ago(now - last)} ago",
                remedy="A finished history may stay so; of a living feed ask its sender.",
            )
        else:
            yield _good(f"Source {source.name}: newest reading {_ago(now - last)} ago ({source.path})")


def _accounts(_settings: Settings, lake: Lake, _now: datetime) -> Iterator[Finding]:
    for what, table in (("Readings", contracts.READINGS_LANDINGS), ("Weather", contracts.WEATHER_LANDINGS)):
        account = account_of(lake.read(table))
        if not account.is_balanced:
            batches = ", ".join(account.unbalanced["batch_id"].unique().sort().head(3))
            yield _trouble(
                f"{what}: {account.statement}; rows are gone in {batches}",
                remedy="Land the source again (`energy backfill FIRST`); if it stays, it is a fault: please report it.",
            )
        else:
            yield _good(f"{what}: {account.statement}")


def _quarantine(_settings: Settings, lake: Lake, _now: datetime) -> Iterator[Finding]:
    refused = lake.query(Query.from_file("energy_assets.defs", "quarantine_by_reason"))
    stored = lake.count(contracts.READINGS_RAW)
    for source, reason, rows, example in refused.iter_rows():
        share = rows / max(1, rows + stored)
        yield Finding(
            level="notice" if share < SHARE_REFUSED else "trouble",
            what=f"Quarantine: {rows:,} rows of {source} ({share:.1%}) for {reason}, as {example[:80]}",
            remedy=f"See them: energy sql \"FROM readings.quarantine WHERE reason = '{reason}' LIMIT 20\"",
        )


def _clock(_settings: Settings, lake: Lake, now: datetime) -> Iterator[Finding]:
    written = lake.read(contracts.READINGS_LANDINGS, columns=["landed_at_utc"])["landed_at_utc"].max()
    if isinstance(written, datetime) and written - now > CLOCK_TOLERANCE:
        yield _trouble(
            f"Clock: readings landed at {written:%Y-%m-%d %H:%M} UTC, which is after now ({now:%Y-%m-%d %H:%M})",
            remedy="Correct this machine's clock; forecasts count as issued when it says.",
        )
    else:
        yield _good(f"Clock: {now:%Y-%m-%d %H:%M} UTC, nothing in the lake is of later")


def _models(settings: Settings, lake: Lake, _now: datetime) -> Iterator[Finding]:
    from energy_assets.defs.resources import registry_from
    from energy_assets.forecasts.champions import model_names
    from energy_assets.models.store_probe import shown, trouble_with_store
    from energy_assets.models.versions import UnresolvedModelError

    trouble = trouble_with_store(settings.tracking_uri)
    if trouble:
        yield _trouble(f"MLflow: {trouble}")
        return
    registry = registry_from(settings)
    versions = {name: registry.version(name) for name in model_names(lake.read(contracts.METERS))}
    yield _good(f"MLflow: {shown(settings.tracking_uri)} answers")
    for name, version in versions.items():
        if version is None:
            yield _trouble(
                f"Model {name} has no champion: its meters are served by a lower rung",
                remedy=f"`energy models train {name}`; what is not better than last week stays challenger.",
            )
            continue
        try:
            registry.load(name, version=version)
            yield _good(f"Model {name}: version {version} is champion")
        except UnresolvedModelError as error:
            yield _trouble(
                f"Model {name}: its champion cannot serve ({error.reason}), lower rungs do. {error}",
                remedy=f"`energy models train {name}`; under `energy up` the sensor `drift` asks for it by itself.",
            )


def _dagster(settings: Settings, *, now: datetime) -> Iterator[Finding]:
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorStatus

    from energy_assets.instance import dagster_home

    with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
        stopped = [
            state.instigator_name
            for state in instance.all_instigator_state()
            if state.status == InstigatorStatus.STOPPED
        ]
        beats = [status.last_heartbeat for status in instance.get_daemon_statuses().values() if status.last_heartbeat]
        newest = max((beat.timestamp for beat in beats), default=0.0)
        nights = instance.get_run_records(
            dg.RunsFilter(job_name="delivery", statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1
        )
        failed = instance.get_run_records(
            dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], created_after=now - timedelta(days=1)), limit=20
        )
    if stopped:
        yield _trouble(
            f"Schedules and sensors that are off: {', '.join(sorted(stopped))}",
            remedy="Switch them on in the Dagster UI under Automation.",
        )
    if now.timestamp() - newest > OLDEST_HEARTBEAT.total_seconds():
        yield _notice(
            "Schedules: no Dagster daemon is running, so nothing runs by itself",
            remedy="Start it with `energy up`, or run `energy nightly` by cron.",
        )
    else:
        yield _good("Schedules: the Dagster daemon is running")
    yield from _nights(nights[0].end_time if nights else None, now=now)
    for record in failed:
        run = record.dagster_run
        yield _notice(
            f"Run {run.run_id} of {run.job_name} failed {_ago(now - record.create_timestamp)} ago",
            remedy=f"Its log is in the Dagster UI under Runs, and in {settings.home / 'logs' / 'run.log'}.",
        )


def _nights(ended: float | None, *, now: datetime) -> Iterator[Finding]:
    if ended is None:
        yield _trouble("Nightly run: there was none", remedy="Run it once: `energy nightly` (or `energy run`).")
        return
    age = now - datetime.fromtimestamp(ended, tz=now.tzinfo)
    if age > OLDEST_NIGHT:
        yield _trouble(
            f"Nightly run: the last good delivery is {_ago(age)} old",
            remedy="Run `energy nightly`, and see why the schedule did not: daemon above, failed runs below.",
        )
    else:
        yield _good(f"Nightly run: the last good delivery is {_ago(age)} old")


def _good(what: str) -> Finding:
    return Finding(level="good", what=what)


def _notice(what: str, *, remedy: str) -> Finding:
    return Finding(level="notice", what=what, remedy=remedy)


def _trouble(what: str, *, remedy: str | None = None) -> Finding:
    return Finding(level="trouble", what=what, remedy=remedy)


def _is_there(path: Path) -> bool:
    return path.exists() or any(path.parent.glob(path.name))


def _without_password(catalog: str) -> str:
    return " ".join(part for part in catalog.split(" ") if not part.startswith("password="))


def _ago(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return (
        f"{age.total_seconds() / 60:.0f} minutes"
        if hours < 1
        else f"{hours:.0f} h"
        if hours < 48
        else f"{age.days} days"
    )
