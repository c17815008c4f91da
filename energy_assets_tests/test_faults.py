"""Faults of the whole: a night killed again and again, a full disk, files replaced while they are read, a damaged lake.

One small home with a back-filled history; each test leaves it as an undisturbed night would.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from energy_assets.community import generate
from energy_assets.contracts import READINGS_LANDINGS
from energy_assets.lake import Lake
from energy_assets.settings import Settings
from energy_assets.sql import Query
from energy_assets_tests.test_end_to_end import energy

pytestmark = pytest.mark.slow

DAYS = 45
# What was published is never taken back: of the price curves the last revision counts.
LAST_CURVES = (
    "(SELECT * EXCLUDE (revision) FROM prices.curves "
    "QUALIFY revision = max(revision) OVER (PARTITION BY zone_id, delivery_date))"
)
Contents = dict[str, dict[str, object]]
TABLES = ("readings.raw", "readings.interval", "forecasts.load", LAST_CURVES, "anomalies.flags", "marts.outlook")


class Home:
    """A home whose source has two versions: as generated, and with other readings of yesterday."""

    def __init__(self, home: Path) -> None:
        self.path = home
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        self.first: date = yesterday - timedelta(days=DAYS)
        folder = home / "set" / "ashrae"
        generate(home / "set", buildings=3, households=0, first_day=self.first, last_day=yesterday, seed=1)
        self.train = folder / "train.csv"
        lines = self.train.read_text().splitlines()
        # Electricity only: the season of the others ends in some weeks of the year.
        kept = [lines[0], *(line for line in lines[1:] if line.split(",")[1] == "0")]
        self.before = "\n".join(kept) + "\n"
        self.after = "\n".join(
            f"{line[: line.rindex(',')]},77.5" if f",{yesterday} 1" in line else line for line in kept
        )
        self.after += "\n"
        assert self.before != self.after
        self.train.write_text(self.before)

    def write(self, text: str) -> None:
        """Replace the file as a careful sender does: at once."""
        fresh = self.train.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.train)

    def content(self) -> dict[str, object]:
        """Return a fingerprint of every table that a night writes."""
        lake = Lake.from_settings(Settings(home=self.path))
        try:
            return {
                name: lake.query(
                    Query(text=f"SELECT count(*) AS stored, sum(hash(stored)::HUGEINT)::VARCHAR FROM {name} AS stored")
                ).rows()
                for name in TABLES
            }
        finally:
            lake.close()

    def night(self) -> None:
        done = energy(self.path, "nightly")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("home"))
    for words in (["ingest", "ashrae", str(made.train.parent)], ["backfill", made.first.isoformat()]):
        done = energy(made.path, *words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return made


@pytest.fixture(scope="module")
def undisturbed(home: Home) -> Contents:
    """What the tables hold after nights in which nothing happened, by the version of the source that they read."""
    home.night()
    contents = {home.before: home.content()}
    home.write(home.after)
    home.night()
    contents[home.after] = home.content()
    assert contents[home.before] != contents[home.after]
    return contents


def started(home: Home, *, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ENERGY_ASSETS", "DAGSTER"))}
    return subprocess.Popen(
        [str(Path(sys.executable).parent / "energy"), "nightly"],
        env=environment | {"ENERGY_ASSETS_HOME": str(home.path), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=home.path,
        start_new_session=True,
        preexec_fn=limit,  # noqa: PLW1509 (the tests start no thread before)
    )


def test_a_night_that_is_killed_again_and_again_ends_as_an_undisturbed_one(home: Home, undisturbed: Contents) -> None:
    home.write(home.before)
    for seconds in (3.0, 5.0, 8.0):
        process = started(home)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    home.night()
    assert home.content() == undisturbed[home.before]


def test_a_source_replaced_while_it_is_read_loses_nothing(home: Home, undisturbed: Contents) -> None:
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for text in (home.before, home.after):
                home.write(text)
                time.sleep(0.02)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        printed, _ = started(home).communicate(timeout=120)
    finally:
        stop.set()
        writer.join()
    assert "Traceback" not in printed
    lake = Lake.from_settings(Settings(home=home.path))
    account = lake.read(READINGS_LANDINGS)
    lake.close()
    assert account["rows_in"].sum() == sum(account[name].sum() for name in ("stored", "duplicate", "quarantined"))
    home.write(home.after)
    home.night()
    assert home.content() == undisturbed[home.after]


@pytest.mark.parametrize(
    "limit_bytes",
    [
        pytest.param(30_000, id="nothing can be written"),
        pytest.param(300_000, id="the lake can, the records cannot"),
    ],
)
def test_a_full_disk_is_said_and_leaves_what_was(home: Home, undisturbed: Contents, limit_bytes: int) -> None:
    home.write(home.after)

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    process = started(home, limit=small_files_only)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in printed, printed[-3000:]
    assert printed.count("energy: ") == 1
    assert "disk" in printed
    assert "free some" in printed
    home.night()
    assert home.content() == undisturbed[home.after]


def test_a_damaged_file_of_the_lake_is_named_once_with_run_and_log(home: Home) -> None:
    files = list((home.path / "lake" / "data" / "readings" / "interval").glob("*.parquet"))
    kept = {file: file.read_bytes() for file in files}
    for file in files:
        file.write_bytes(b"garbage")
    try:
        process = started(home)
        printed, _ = process.communicate(timeout=120)
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
    assert process.returncode == 1
    assert "Traceback" not in printed
    assert printed.count("energy: ") == 1
    for expected in ("readings/interval failed", ".parquet", "Run ", "run.log"):
        assert expected in printed
