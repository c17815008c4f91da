"""The outlook and the next hours as assets of the graph, and their skill as counted by hand."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import (
    FORECASTS_AHEAD,
    FORECASTS_OUTLOOK,
    METERS,
    QUANTILE_COLUMNS,
    READINGS_INTERVAL,
    READINGS_RAW,
)
from energy_assets.defs import horizons
from energy_assets.forecasts.other_horizons import outlook_rows, skill_of_ahead, skill_of_outlook
from energy_assets.models.spec import SPECS
from energy_assets_tests.features.frames import START, meters
from energy_assets_tests.forecasts.own_files import TINY
from energy_assets_tests.models.instance import DAYS, Instance, make_instance, rows_of

METER_ROWS = rows_of(METERS, meters("a", "b"))
ENDS = START + timedelta(days=DAYS)
KIND = "portfolio|electricity|consumption"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory):
    made = make_instance(tmp_path_factory.mktemp("home"))
    made.settings.sources_folder.mkdir(parents=True, exist_ok=True)
    yield made
    made.lake.close()


def materialise(instance: Instance, asset: dg.AssetsDefinition, **config: str) -> None:
    run_config = {"ops": {asset.op.name: {"config": config}}} if config else None
    done = dg.materialize(
        [asset], resources={"lake": instance.lake, "settings": instance.settings}, run_config=run_config
    )
    assert done.success


def test_ninety_days_of_every_meter(instance: Instance):
    materialise(instance, horizons.ninety_days)
    rows = instance.lake.read(FORECASTS_OUTLOOK)
    assert rows["issued_at_utc"].unique().to_list() == [ENDS]
    assert rows.filter(days=1).group_by("meter_id").len()["len"].to_list() == [90] * 4
    assert sorted(rows.filter(pl.col("days") > 1)["days"].unique()) == [7, 30, 60, 90]
    assert (np.diff(rows.select(QUANTILE_COLUMNS).to_numpy(), axis=1) >= 0).all()
    biggest = rows.filter(meter_id="m3", days=7).row(0, named=True)
    assert biggest["q50"] == pytest.approx(biggest["usual_kwh"], rel=0.2)
    materialise(instance, horizons.ninety_days)  # a second look changes nothing
    assert instance.lake.count(FORECASTS_OUTLOOK) == rows.height


def test_the_next_hours_from_readings_of_this_morning(instance: Instance, monkeypatch: pytest.MonkeyPatch):
    """Models come from the stored readings; this morning's ten hours are raw, and are cleaned on the way."""
    monkeypatch.setitem(SPECS, "quick", TINY)
    materialise(instance, horizons.short_term_models)
    assert [path.name for path in (instance.settings.home / "short_term").iterdir()] == ["load-electricity-60min.zip"]
    interval = instance.lake.read(READINGS_INTERVAL)
    morning = interval.filter(pl.col("starts_at_utc") < START + timedelta(hours=10)).with_columns(
        pl.col("starts_at_utc", "available_at_utc") + timedelta(days=DAYS), value=pl.col("energy_kwh") * 1.5
    )
    raw = rows_of(
        READINGS_RAW,
        morning,
        {"source": "t", "unit": "kWh", "measure": "interval_energy", "batch_id": "b", "payload_hash": 1},
    )
    instance.lake.append(READINGS_RAW, raw)
    assert horizons.newest_reading(instance.lake) == ENDS + timedelta(hours=10)
    materialise(instance, horizons.next_hours)
    rows = instance.lake.read(FORECASTS_AHEAD)
    assert rows["issued_at_utc"].unique().to_list() == [ENDS + timedelta(hours=10)]
    assert sorted(rows["minutes"].to_list()) == [60] * 12 + [180] * 4
    assert set(rows.filter(minutes=60)["method"]) <= {"champion", "without_weather"}
    materialise(instance, horizons.next_hours, issued_at_utc=ENDS.isoformat())
    blind = instance.lake.read(FORECASTS_AHEAD, where={"issued_at_utc": ENDS})
    assert blind["starts_at_utc"].min() == ENDS


def test_the_outlook_is_measured_by_lead():
    """Two meters, 24 kWh a day each at the usual level: read 30 on the tenth day, so off by 6 of 30."""
    first = date(2026, 1, 1)
    days = [first + timedelta(days=number) for number in range(120)]
    daily = pl.DataFrame({"meter_id": ["a"] * 120 + ["b"] * 120, "local_date": days * 2, "energy_kwh": [24.0] * 240})
    issued = datetime(2026, 5, 1, tzinfo=UTC)
    rows = outlook_rows(daily, issued_at_utc=issued)
    assert rows.filter(days=7)["usual_kwh"].to_list() == [168, 168]
    day = issued.date() + timedelta(days=9)
    read = pl.DataFrame({"meter_id": ["a", "b"], "local_date": [day] * 2, "energy_kwh": [30.0, 30.0]})
    measured = {day: datetime(2026, 5, 9, tzinfo=UTC)}
    skill = skill_of_outlook(rows, daily=read, meters=METER_ROWS, issues=measured)
    found = {(row["model"], row["metric"]): row["value"] for row in skill.iter_rows(named=True)}
    assert found["mean_4_weeks", "outlook_nmae_08_30d"] == pytest.approx(0.2)
    assert found["outlook", "outlook_nmae_08_30d"] == pytest.approx(0.2, abs=0.01)
    assert found["outlook", "outlook_coverage_80_08_30d"] in (0.0, 1.0)
    assert set(skill["node_id"]) == {KIND}
    assert skill["window_start_utc"].unique().to_list() == [measured[day]]


def test_the_next_hours_are_measured_on_the_first_interval_and_the_sum():
    """Said 4 and 12, read 5, 5 and 6 (16 in all): off by 1 of 5 and by 4 of 16; a week before it was 5 each."""
    issued = datetime(2026, 5, 1, 10, tzinfo=UTC)
    starts = [issued, issued + timedelta(hours=1), issued + timedelta(hours=2), issued]
    said = [4.0, 4.0, 4.0, 12.0]
    made = pl.DataFrame(
        {"starts_at_utc": starts, "minutes": [60, 60, 60, 180], **dict.fromkeys(QUANTILE_COLUMNS, said)}
    )
    rows = made.with_columns(
        meter_id=pl.lit("a"), issued_at_utc=pl.lit(issued), reason=pl.lit(None, pl.String),
        method=pl.when(pl.col("minutes") == 180).then(pl.lit("sum")).otherwise(pl.lit("champion")),
    ).select(FORECASTS_AHEAD.column_names)  # fmt: skip
    rows = FORECASTS_AHEAD.conform(rows)
    week = timedelta(weeks=1)
    energy = [5.0, 5.0, 6.0, 5.0, 5.0, 5.0]
    readings = pl.DataFrame(
        {"starts_at_utc": [*starts[:3], *(each - week for each in starts[:3])], "energy_kwh": energy}
    )
    readings = readings.with_columns(
        pl.col("starts_at_utc").cast(rows.schema["starts_at_utc"]), meter_id=pl.lit("a"),
        interval_minutes=pl.lit(60, pl.Int64),
    )  # fmt: skip
    at = {issued.date(): datetime(2026, 5, 1, tzinfo=UTC)}
    skill = skill_of_ahead(rows, readings=readings, meters=METER_ROWS, issues=at)
    found = {(row["model"], row["metric"]): row["value"] for row in skill.iter_rows(named=True)}
    assert found["ahead", "ahead_nmae_next"] == pytest.approx(1 / 5)
    assert found["ahead", "ahead_nmae_sum"] == pytest.approx(4 / 16)
    assert found["last_week", "ahead_nmae_next"] == 0
    assert found["last_week", "ahead_nmae_sum"] == pytest.approx(1 / 16)
    unread = readings.filter(pl.col("energy_kwh") != 6)
    left = skill_of_ahead(rows, readings=unread, meters=METER_ROWS, issues=at)
    assert set(left["metric"]) == {"ahead_nmae_next", "ahead_coverage_80_next"}
