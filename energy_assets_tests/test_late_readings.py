"""Known dirt and late readings through the graph: what is refused by name, and which days are cleaned again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from energy_assets import ingestion
from energy_assets.contracts import READINGS_INTERVAL, Window
from energy_assets.defs.jobs import PARTITION_RANGE_END, PARTITION_RANGE_START, changed_readings
from energy_assets.defs.readings import interval_readings, newest_reading_is_recent
from energy_assets.lake import Lake
from energy_assets.readings.source import Source, load_sources, save_source
from energy_assets.settings import Settings

NOW = datetime(2026, 11, 21, tzinfo=UTC)
FIRST, LAST = date(2016, 5, 1), date(2016, 6, 10)


class Platform:
    """One building of GEPIII's site 0 and a lake; its file can be written again."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.lake = Lake.from_settings(self.settings)
        self.folder = home / "gepiii"
        self.folder.mkdir(parents=True)
        (self.folder / "building_metadata.csv").write_text(
            "site_id,building_id,primary_use,square_feet,year_built,floor_count\n0,0,Education,7432,2008,\n"
        )
        save_source(self.settings.sources_folder, Source(name="ashrae", kind="ashrae", path=self.folder))
        self.cursor: str | None = None

    def land(self, values: dict[datetime, float]) -> None:
        """Write the file with these readings (site clock, kBtu) and land it whole."""
        lines = [f"0,0,{at:%Y-%m-%d %H:%M:%S},{value}" for at, value in sorted(values.items())]
        (self.folder / "train.csv").write_text("building_id,meter,timestamp,meter_reading\n" + "\n".join(lines) + "\n")
        sources = load_sources(self.settings.sources_folder)
        ingestion.register(self.lake, sources, now=NOW)
        # Day by day, as the graph lands a backfill: each day has its own account.
        ingestion.land_all(self.lake, sources, window=Window.of_days(FIRST, LAST), now=NOW, message="test")

    def clean(self, first: date, last: date) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [interval_readings, newest_reading_is_recent],
            tags={PARTITION_RANGE_START: first.isoformat(), PARTITION_RANGE_END: last.isoformat()},
            resources={"lake": self.lake, "settings": self.settings},
        )

    def ask(self) -> list[tuple[str, str]]:
        """Return the spans of days that the sensor asks for."""
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance, cursor=self.cursor, resources={"lake": self.lake, "settings": self.settings}
            )
            asked = changed_readings.evaluate_tick(context)
        self.cursor = asked.cursor
        return [
            (request.tags[PARTITION_RANGE_START], request.tags[PARTITION_RANGE_END]) for request in asked.run_requests
        ]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    yield made
    made.lake.close()


def hourly(*, without: tuple[date, ...] = (), zero_until: date = FIRST) -> dict[datetime, float]:
    hours = ((LAST - FIRST).days + 1) * 24
    moments = [datetime.combine(FIRST, datetime.min.time()) + timedelta(hours=hour) for hour in range(hours)]
    return {
        at: 0.0 if at.date() < zero_until else 100.0 + at.hour + at.day for at in moments if at.date() not in without
    }


def test_the_false_zeros_of_site_0_are_refused_by_name_in_the_graph(platform: Platform) -> None:
    platform.land(hourly(zero_until=date(2016, 5, 21)))
    assert platform.clean(FIRST, LAST).success
    rows = platform.lake.read(READINGS_INTERVAL).sort("starts_at_utc")
    refused = rows.filter(rows["reason"] == "known_false_zero")
    assert refused.height == 20 * 24
    assert refused["energy_kwh"].null_count() == refused.height
    assert refused["reported_kwh"].to_list() == [0.0] * refused.height
    assert rows.filter(rows["starts_at_utc"] >= datetime(2016, 5, 21, 5, tzinfo=UTC))["energy_kwh"].null_count() == 0


def test_the_sensor_asks_for_nothing_that_is_clean_and_for_the_days_of_late_readings(platform: Platform) -> None:
    late = date(2016, 5, 30)
    platform.land(hourly(without=(late,)))
    platform.clean(FIRST, LAST)
    assert platform.ask() == []  # the first look only remembers

    platform.land(hourly())
    assert platform.ask() == [("2016-05-30", "2016-05-31")]  # the site's clock is five hours behind UTC

    platform.clean(date(2016, 5, 30), date(2016, 5, 31))
    assert platform.ask() == []
    assert json.loads(platform.cursor or "{}")


def test_a_run_that_came_does_not_hide_that_the_data_did_not(platform: Platform) -> None:
    platform.land(hourly())
    (fresh,) = platform.clean(FIRST, LAST).get_asset_check_evaluations()
    assert fresh.passed
    (stale,) = platform.clean(LAST + timedelta(days=3), LAST + timedelta(days=4)).get_asset_check_evaluations()
    assert not stale.passed
    assert stale.description == "ashrae ends 2016-06-10 23:00 UTC"
