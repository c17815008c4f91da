"""Events in a real lake: what a night changes, prices, feedback that survives re-runs, and the commands on them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.anomalies.limits import Limits
from energy_assets.cli import app
from energy_assets.contracts import (
    ANOMALIES_DAYS,
    ANOMALIES_EVENTS,
    ANOMALIES_FEEDBACK,
    ANOMALIES_FLAGS,
    METERS,
    PRICES_CURVES,
    Window,
)
from energy_assets.contracts.prices import PRICE_COMPONENTS
from energy_assets.defs.anomaly_events import changed_events, say, whole_id
from energy_assets.errors import LakeError
from energy_assets.lake import Lake
from energy_assets.settings import load_settings
from energy_assets.sql import Query
from energy_assets_tests.anomalies.meters import MONDAY
from energy_assets_tests.anomalies.test_events import flag, table

LIMITS = Limits()
TABLES = (METERS, ANOMALIES_FLAGS, ANOMALIES_DAYS, ANOMALIES_EVENTS, ANOMALIES_FEEDBACK, PRICES_CURVES)
CHECKS = ("anomaly_overlaps", "anomaly_wrong_excess")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A lake of the few tables that events live on."""
    opened = Lake(
        catalog=f"sqlite:{tmp_path / 'catalog.sqlite'}", data_path=str(tmp_path / "data"),
        work_folder=tmp_path / "work", tables=TABLES,
    )  # fmt: skip
    yield opened
    opened.close()


def fill(lake: Lake, *rows: dict[str, object]) -> None:
    meters = pl.DataFrame({"meter_id": [f"m{number}" for number in range(8)]}).with_columns(
        premise_id=pl.col("meter_id"), site_id=pl.lit("s0"), commodity=pl.lit("electricity"),
        direction=pl.lit("consumption"), measure=pl.lit("interval_energy"), unit=pl.lit("kWh"), interval_minutes=60,
        source=pl.lit("test"),
    )  # fmt: skip
    lake.replace(METERS, METERS.conform(meters))
    lake.replace(ANOMALIES_FLAGS, table(*rows))
    judged = pl.DataFrame({"starts_at_utc": [MONDAY + timedelta(days=day) for day in range(5)]}).with_columns(
        commodity=pl.lit("electricity"), interval_minutes=60, meters=8, median_strength=5.0, upper_strength=7.0
    )
    lake.replace(ANOMALIES_DAYS, ANOMALIES_DAYS.conform(judged))


def judge_day(lake: Lake, day: int, last: int | None = None) -> int:
    """Carry out what the asset does for a day or more and return the rows that it wrote."""
    last = day if last is None else last
    window = Window.of_days((MONDAY + timedelta(day)).date(), (MONDAY + timedelta(last)).date())
    changes = changed_events(lake, window=window, limits=LIMITS)
    lake.replace(ANOMALIES_EVENTS, changes.rows, where={"event_id": changes.touched_ids})
    for name in CHECKS:
        assert lake.query(Query.from_file("energy_assets.defs", name)).is_empty(), name
    bounds = {"starts": window.starts_at_utc, "ends": window.ends_at_utc}
    assert lake.query(Query.from_file("energy_assets.defs", "anomaly_events_without_flags", **bounds)).is_empty()
    return changes.rows.height


ROWS = [
    *(flag("m0", hour, "level_change", score=0.8) for hour in range(10, 60)),
    *(flag("m1", hour, "gap", actual_kwh=None) for hour in range(20, 31)),
    *(flag(f"m{meter}", 75, "gap", actual_kwh=None) for meter in range(2, 8)),
    *(flag(f"m{meter}", 76, "gap", actual_kwh=None) for meter in range(2, 8)),
]


def test_nights_make_events_that_a_second_run_leaves_alone(lake: Lake) -> None:
    fill(lake, *ROWS)
    for day in range(5):
        judge_day(lake, day)
    events = lake.read(ANOMALIES_EVENTS).sort("starts_at_utc", "event_id")
    alerts = events.filter("is_alert").select("meter_id", "cause", "slots", "state", "meters")
    assert alerts.rows() == [
        ("m0", "level_change", 50, "closed", 1), ("m1", "gap", 11, "closed", 1), (None, "gap", 12, "closed", 6),
    ]  # fmt: skip
    assert [judge_day(lake, day) for day in (0, 3)] == [0, 0]
    assert judge_day(lake, 0, 4) == 0
    assert lake.read(ANOMALIES_EVENTS).sort("starts_at_utc", "event_id").equals(events)


def test_the_last_published_price_of_the_site_is_the_cost(lake: Lake) -> None:
    fill(lake, *ROWS[:50])
    curve = pl.DataFrame({"revision": [0, 1], "price_units": [90_000, 20_000]}).with_columns(
        zone_id=pl.lit("s0"), delivery_date=pl.lit(date(2024, 1, 1)), starts_at_utc=pl.lit(MONDAY).dt.offset_by("10h"),
        interval_minutes=60, currency_code=pl.lit("EUR"), export_price_units=0, net_load_q10_kwh=0.0,
        net_load_q50_kwh=0.0, net_load_q90_kwh=0.0, greenhouse_gas_kg_per_kwh=0.3, rung=pl.lit("flat"),
        solver_status=pl.lit("-"), inputs_hash=pl.lit("-"), published_at_utc=pl.lit(MONDAY),
        **{f"{name}_component": pl.lit(0.0) for name in PRICE_COMPONENTS},
    )  # fmt: skip
    lake.replace(PRICES_CURVES, PRICES_CURVES.conform(curve))
    judge_day(lake, 0)
    # Hours 10 and 11 have the price (it holds for an hour at most after its own slot): 2 kWh more each, at 0.20.
    event = lake.read(ANOMALIES_EVENTS)
    assert event["cost"].item() == pytest.approx(0.8)
    assert event["greenhouse_gas_kg"].item() == pytest.approx(1.2)


def test_what_people_say_survives_runs_and_silences_its_like(lake: Lake) -> None:
    again = [flag("m0", hour, "level_change", score=0.8) for hour in range(24 * 9, 24 * 9 + 20)]
    other = [flag("m1", hour, "level_change", score=0.8) for hour in range(24 * 9, 24 * 9 + 20)]
    fill(lake, *ROWS[:50], *again, *other)
    judge_day(lake, 0, 3)
    event_id = lake.read(ANOMALIES_EVENTS)["event_id"].item()
    said = say(lake, [event_id[:6]], verdict="expected", author="ann", note="new tenant", now=MONDAY + timedelta(4))
    assert said.events.select("state", "is_alert").row(0) == ("expected", False)
    judge_day(lake, 0, 3)
    judge_day(lake, 9)
    events = lake.read(ANOMALIES_EVENTS).sort("starts_at_utc", "meter_id")
    assert events.select("meter_id", "state", "is_alert").rows() == [
        ("m0", "expected", False), ("m0", "open", False), ("m1", "open", True),
    ]  # fmt: skip
    back = say(lake, [event_id], verdict="reopened", author="bob", note=None, now=MONDAY + timedelta(5))
    assert back.events.select("state", "is_alert").row(0) == ("closed", True)
    assert lake.read(ANOMALIES_EVENTS)["is_alert"].all()
    assert lake.count(ANOMALIES_FEEDBACK) == 2


def test_what_is_said_of_an_incident_holds_for_its_members(lake: Lake) -> None:
    fill(lake, *ROWS)
    judge_day(lake, 0, 4)
    incident = lake.read(ANOMALIES_EVENTS, where={"meter_id": None})["event_id"].item()
    say(lake, [incident], verdict="false", author="ann", note=None, now=MONDAY + timedelta(5))
    members = lake.read(ANOMALIES_EVENTS, where={"incident_id": incident})
    assert members.height == 7
    assert set(members["state"]) == {"false"}
    judge_day(lake, 3)
    assert set(lake.read(ANOMALIES_EVENTS, where={"incident_id": incident})["state"]) == {"false"}


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        pytest.param("abc", "names no event", id="too short"),
        pytest.param("ffffffff0", "names no event", id="unknown"),
    ],
)
def test_an_id_that_is_none_is_told(lake: Lake, begin: str, message: str) -> None:
    fill(lake, *ROWS)
    judge_day(lake, 0, 4)
    with pytest.raises(LakeError, match=message):
        whole_id(lake, begin)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of its own with the events of ROWS."""
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    load_settings.cache_clear()
    lake = Lake.from_settings(load_settings())
    fill(lake, *ROWS)
    judge_day(lake, 0, 4)
    lake.close()
    yield
    load_settings.cache_clear()


@pytest.mark.usefixtures("home")
def test_the_commands_list_show_and_keep_what_is_said() -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["anomalies", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    shown = run("list")
    assert "s0, 6 meters together: gap" in shown
    assert "3 events ask for attention: 0 new" not in shown
    line = next(line for line in shown.splitlines() if "level change" in line)
    event = line.split()[0]
    page = run("show", event)
    assert "600.0 kWh reported, 500.0 kWh expected: +100.0 kWh" in page
    assert "reported █" in page
    assert "acknowledged" in run("acknowledge", event, "--note", "on it", "--author", "ann")
    assert "level change" not in run("list")
    assert "level change" in run("list", "--all")
    assert "ann said acknowledged: on it" in run("show", event)
    assert "No event matches" in run("list", "--site", "nowhere")
