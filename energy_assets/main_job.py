"""The main job: the graph materialised through Dagster, step by step, in this process, with progress for a person.

`energy run` makes a community first; `energy backfill` and `energy nightly` start from the sources that are declared.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster_shared.error import SerializableErrorInfo
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import OperationalError

from energy_assets.errors import EnergyAssetsError
from energy_assets.instance import EVENT_BATCH_SIZE, dagster_home
from energy_assets.settings import Settings

_SILENT_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SKILL_DAYS = 14
FLAG_DAYS = 28


@dataclass(frozen=True, kw_only=True)
class Step:
    """One run of a job: over a range of partitions, one partition, or none; `ops` is the run config of its steps."""

    title: str
    job: str
    first: date | None = None
    last: date | None = None
    ops: Mapping[str, object] = field(default_factory=dict)

    @property
    def tags(self) -> Mapping[str, str]:
        """Return the tags that select the partitions."""
        from energy_assets.defs.jobs import PARTITION_RANGE_END, PARTITION_RANGE_START

        if self.first is None or self.last is None:
            return {}
        return {PARTITION_RANGE_START: self.first.isoformat(), PARTITION_RANGE_END: self.last.isoformat()}


def history_steps(*, first: date, today: date) -> list[Step]:
    """Return the steps from declared sources to tomorrow's delivery: history, models, back-filled forecasts, tonight.

    Forecasts of the last two weeks are back-filled as they would have been issued, so that their error can be measured.
    """
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
    measured = max(first + timedelta(days=2), yesterday - timedelta(days=SKILL_DAYS - 1))
    flagged = max(first, yesterday - timedelta(days=FLAG_DAYS - 1))
    return [
        Step(title="Meters and sites", job="registry"),
        Step(title="Readings and weather", job="history", first=first, last=yesterday),
        Step(title="Models, trained and registered", job="training"),
        Step(title="Forecasts of the last two weeks", job="delivery", first=measured, last=today),
        Step(title="Anomalies, energy and bills by day", job="derived", first=flagged, last=yesterday),
        # Before tomorrow's, which learns from it: the night again then changes nothing.
        Step(title="Error of past forecasts", job="skill", first=measured, last=yesterday),
        Step(title="Tomorrow: forecast and prices", job="delivery", first=tomorrow, last=tomorrow),
    ]


def nightly_steps(*, today: date) -> list[Step]:
    """Return what the schedules do in one night."""
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
    return [
        # The day before once more: a register's last interval ends after midnight.
        Step(
            title="Yesterday: readings, weather, flags", job="day", first=yesterday - timedelta(days=1), last=yesterday
        ),
        Step(title="Tomorrow: forecast and prices", job="delivery", first=tomorrow, last=tomorrow),
        Step(title="Error of the last forecast", job="skill", first=yesterday, last=yesterday),
    ]


def training_steps(names: Sequence[str]) -> list[Step]:
    """Return what the weekly training does, for registered models of these names or for all."""
    only = {"models__load": {"config": {"only": list(names)}}} if names else {}
    return [Step(title="Models, trained and registered", job="training", ops=only)]


def profile_steps() -> list[Step]:
    """Return what the weekly job of load profiles does."""
    return [Step(title="Load profiles and peers", job="profiles")]


def carry_out(steps: Sequence[Step], *, settings: Settings, console: Console) -> dict[str, float]:
    """Run the steps one after another and return the seconds that each took.

    Raises:
        EnergyAssetsError: a step failed; the message names the run and the first asset that failed.
    """
    os.environ["DAGSTER_HOME"] = str(dagster_home(settings))
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH_SIZE))
    log = _quiet(settings)
    from energy_assets.definitions import defs

    seconds: dict[str, float] = {}
    with (
        _recorded(settings, log=log),
        dg.DagsterInstance.get() as instance,
        Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
        ) as progress,
    ):
        for step in steps:
            job = defs.resolve_job_def(step.job)
            names = sorted(node.name for node in job.nodes)
            task = progress.add_task(step.title.ljust(36), total=len(names), note="")
            started = time.monotonic()
            watcher = _StepWatcher(progress, task)
            handler = logging.getLogger("dagster")
            handler.addHandler(watcher)
            try:
                result = job.execute_in_process(
                    instance=instance,
                    tags=dict(step.tags),
                    run_config={**_SILENT_CONSOLE, "ops": dict(step.ops)},
                    raise_on_error=False,
                )
            finally:
                handler.removeHandler(watcher)
            seconds[step.title] = time.monotonic() - started
            if not result.success:
                raise EnergyAssetsError(_failure(step, result, log=log))
            progress.update(task, completed=len(names), note="")
    return seconds


class _StepWatcher(logging.Handler):
    """Moves a progress bar as Dagster reports that steps start and succeed."""

    def __init__(self, progress: Progress, task: object) -> None:
        super().__init__(level=logging.DEBUG)
        self._progress = progress
        self._task = task
        self._lock_rows = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Show the step that a Dagster event names."""
        message = record.getMessage()
        with self._lock_rows:
            if "STEP_START" in message:
                step = message.rsplit('"', 2)[-2] if '"' in message else ""
                self._progress.update(self._task, note=step.replace("_", " "))  # type: ignore[arg-type]
            elif "STEP_SUCCESS" in message:
                self._progress.advance(self._task)  # type: ignore[arg-type]


def _failure(step: Step, result: dg.ExecuteInProcessResult, *, log: Path) -> str:
    """Return what failed, where, and what to do: a blocking check's evidence, or the error below Dagster's own."""
    where = f"Run {result.run_id}, which `energy up` shows; its log is {log}."
    refused = [
        f"{each.asset_key.to_user_string()} did not pass its check {each.check_name}: {each.description}"
        for each in result.get_asset_check_evaluations()
        if not each.passed and each.blocking
    ]
    if refused:
        kept = "What hangs on it was left as it was; mend the input or the forecast's cause, then repeat the command."
        return f"{step.title}: {'; '.join(refused)}. {kept} {where}"
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            what = (event.step_key or "").replace("__", "/")
            return f"{step.title}: {what} failed: {_said(event.step_failure_data.error)} {where}"
    return f"{step.title} failed. {where}"


@contextmanager
def _recorded(settings: Settings, *, log: Path) -> Iterator[None]:
    """Say what to do when Dagster cannot write its own records, most often because a disk is full."""
    try:
        yield
    except (OSError, OperationalError) as error:
        free_mb = shutil.disk_usage(settings.home).free / 1e6
        said = error.orig if isinstance(error, OperationalError) else error
        raise EnergyAssetsError(
            f"Dagster could not keep its records in {dagster_home(settings)}: {said}. The disk has {free_mb:,.0f} MB "
            f"free: if that is little, free some, then repeat the command; nothing half-written counts. See {log}."
        ) from error


def _said(error: SerializableErrorInfo) -> str:
    """Return an error as a person reads it: ours as it is, another with its class and what to make of it."""
    chain = [error]
    while chain[-1].cause is not None:
        chain.append(chain[-1].cause)
    ours = [each for each in chain if f"{EnergyAssetsError.__module__}." in each.message.split(":")[0]]
    below = [each for each in chain if not (each.cls_name or "").startswith("Dagster")]
    chosen = (ours or below or chain)[0]
    text = " ".join(chosen.message.split())
    if ours:
        said = text.split(": ", 1)[-1]
        return said if said.endswith(".") else f"{said}."
    if "No space left" in text or "File too large" in text or "disk is full" in text:
        return f"{text}. The disk is full: free some and repeat the command; nothing half-written counts."
    return f"{text}. This is not an error that energy_assets foresees; the log has its traceback."


def _quiet(settings: Settings) -> Path:
    """Send the libraries' logs to a file, so that the terminal shows progress and errors only; return the file."""
    folder: Path = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(folder / "run.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    for name in ("dagster", "alembic", "mlflow", "energy_assets", "py.warnings"):
        logger = logging.getLogger(name)
        logger.handlers = [file]
        logger.propagate = False
    logging.captureWarnings(capture=True)
    # A log that cannot be written, as on a full disk, is no reason to fill the terminal with tracebacks.
    logging.raiseExceptions = False
    return folder / "run.log"


def today_utc() -> date:
    """Return the present UTC day."""
    return datetime.now(UTC).date()
