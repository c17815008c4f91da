"""What people's files are like: other rasters, types and gaps; each is judged, or refused in a sentence that helps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.anomalies.detect import Detection, detect, detect_files
from energy_assets.contracts import ANOMALIES_EVENTS, ANOMALIES_FLAGS, UTC_TIME
from energy_assets.errors import SourceError
from energy_assets_tests.anomalies.meters import MONDAY, clean_kwh, readings

DAYS = 30
SPIKE = 25 * 24 + 3


def person(kwh: np.ndarray | None = None, *, meter_id: str = "a", interval_minutes: int = 60) -> pl.DataFrame:
    values = clean_kwh(days=DAYS, interval_minutes=interval_minutes) if kwh is None else kwh
    rows = readings({meter_id: values}, interval_minutes=interval_minutes)
    return rows.select("meter_id", "starts_at_utc", energy_kwh="reported_kwh")


def with_spike() -> pl.DataFrame:
    kwh = clean_kwh(days=DAYS)
    kwh[SPIKE] = 90.0
    return person(kwh)


def well_formed(found: Detection, given: pl.DataFrame) -> None:
    assert found.flags.columns == ANOMALIES_FLAGS.column_names
    assert found.events.columns == ANOMALIES_EVENTS.column_names
    assert found.events["event_id"].is_unique().all()
    assert found.scores.null_count().sum_horizontal().item() == 0
    assert found.scores["score"].is_between(0, 1).all()
    assert not found.scores.select("meter_id", "starts_at_utc").is_duplicated().any()
    slots = given.select(pl.col("meter_id").cast(pl.String), "starts_at_utc").unique()
    if isinstance(slots.schema["starts_at_utc"], pl.Datetime):
        kept = slots.with_columns(pl.col("starts_at_utc").dt.convert_time_zone("UTC").cast(UTC_TIME)).join(
            found.scores, on=["meter_id", "starts_at_utc"], how="semi"
        )
        assert kept.height == slots.height
    flagged = found.flags.join(found.events, on="meter_id").filter(
        pl.col("starts_at_utc") >= pl.col("starts_at_utc_right"), pl.col("starts_at_utc") < pl.col("ends_at_utc")
    )
    counted = found.flags.filter(~pl.col("rule").is_in(["duplicate", "late"]))
    assert flagged.select("meter_id", "starts_at_utc").unique().height >= (
        counted.select("meter_id", "starts_at_utc").unique().height
    )


late, jitter = timedelta(minutes=30), pl.duration(seconds=pl.int_range(pl.len()) % 50 - 25)


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        pytest.param(lambda rows: rows, timedelta(0), id="whole hours"),
        pytest.param(lambda rows: rows.with_columns(pl.col("starts_at_utc") + late), late, id="half past, as in India"),
        pytest.param(lambda rows: rows.sample(fraction=1, shuffle=True, seed=1), timedelta(0), id="any order"),
        pytest.param(lambda rows: rows.with_columns(pl.col("energy_kwh").cast(pl.Float32)), timedelta(0), id="float32"),
        pytest.param(
            lambda rows: rows.with_columns(pl.col("energy_kwh").cast(pl.Decimal(12, 3))), timedelta(0), id="decimal"
        ),
        pytest.param(lambda rows: rows.with_columns(meter_id=pl.lit(7)), timedelta(0), id="numbered meters"),
        pytest.param(
            lambda rows: rows.with_columns(pl.col("meter_id").cast(pl.Categorical)), timedelta(0), id="categories"
        ),
        pytest.param(
            lambda rows: rows.with_columns(pl.col("starts_at_utc").dt.convert_time_zone("Asia/Tokyo")),
            timedelta(0), id="another zone",
        ),
        pytest.param(
            lambda rows: rows.with_columns(pl.col("starts_at_utc").cast(pl.Datetime("ns", "UTC"))),
            timedelta(0), id="nanoseconds",
        ),
        pytest.param(
            lambda rows: rows.with_columns(pl.col("starts_at_utc").dt.strftime("%Y-%m-%dT%H:%M:%S+02:00")),
            timedelta(hours=-2), id="offsets in text",
        ),
    ],
)  # fmt: skip
def test_a_spike_is_found_where_it_is_whatever_the_file_is_like(change: object, moved: timedelta) -> None:
    rows = change(with_spike())  # type: ignore[operator]
    found = detect(rows)
    well_formed(found, rows)
    spike = found.flags.filter(pl.col("rule") == "spike")
    assert spike["starts_at_utc"].to_list() == [MONDAY + timedelta(hours=SPIKE) + moved]
    event = found.events.filter(pl.col("cause") == "spike")
    assert event["starts_at_utc"].to_list() == [MONDAY + timedelta(hours=SPIKE) + moved]


def test_readings_that_jitter_around_the_hour_count_for_it_and_keep_their_times() -> None:
    rows = with_spike().with_columns(pl.col("starts_at_utc") + jitter)
    found = detect(rows)
    well_formed(found, rows)
    assert found.flags.filter(pl.col("rule") == "gap").is_empty()
    assert found.flags.filter(pl.col("rule") == "spike")["starts_at_utc"].item() == rows["starts_at_utc"][SPIKE]
    assert any("beside their meter's raster" in note for note in found.notes)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(person(np.zeros(DAYS * 24)), id="all zero"),
        pytest.param(person(np.full(DAYS * 24, np.nan)), id="all missing"),
        pytest.param(person(np.full(DAYS * 24, 3.3)), id="all the same"),
        pytest.param(person(clean_kwh(days=DAYS) * 1e-7), id="tiny"),
        pytest.param(person(clean_kwh(days=1)), id="one day"),
        pytest.param(person().gather_every(24), id="one reading a day"),
    ],
)
def test_meters_that_never_do_anything_odd_are_left_in_peace(rows: pl.DataFrame) -> None:
    found = detect(rows)
    well_formed(found, rows)
    assert not found.events["is_alert"].any()


def test_runs_of_missing_readings_cadences_and_strays_in_one_file() -> None:
    holes = clean_kwh(days=DAYS)
    holes[400:480] = np.nan
    stray = person(clean_kwh(days=1)).head(1).with_columns(
        meter_id=pl.lit("stray"), starts_at_utc=pl.col("starts_at_utc").dt.offset_by("-50y")
    )  # fmt: skip
    rows = pl.concat(
        [person(holes), person(meter_id="q", interval_minutes=15), person(meter_id="one").head(1), stray]
    )  # fmt: skip
    found = detect(rows)
    well_formed(found, rows)
    assert found.flags.filter(pl.col("rule") == "gap", pl.col("meter_id") == "a").height == 80
    assert found.flags.filter(pl.col("meter_id") == "q").is_empty()
    assert any("2 meters have readings on 14 days or fewer" in note for note in found.notes)


def test_days_of_23_and_25_hours_are_days_like_others() -> None:
    # Berlin: 2024-03-31 has 23 hours, and working hours move by one in UTC from then on.
    utc = pl.datetime_range(
        pl.datetime(2024, 2, 1, time_zone="UTC"), pl.datetime(2024, 4, 20, 23, time_zone="UTC"), "1h", eager=True
    )
    local = utc.dt.convert_time_zone("Europe/Berlin")
    works = (local.dt.weekday() <= 5) & local.dt.hour().is_between(8, 17)
    noise = np.random.default_rng(0).normal(1, 0.05, len(utc))
    rows = pl.DataFrame(
        {"meter_id": ["a"] * len(utc), "starts_at_utc": utc, "energy_kwh": np.where(works, 10, 2) * noise}
    )
    at_home = detect(rows, timezone="Europe/Berlin")
    well_formed(at_home, rows)
    assert not at_home.events["is_alert"].any()
    assert at_home.flags.height < detect(rows).flags.height


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("meter_id;starts_at_utc;energy_kwh\na;2024-01-01;1\n", "lacks the columns", id="semicolons"),
        pytest.param(
            "meter_id,starts_at_utc\na,2024-01-01T00:00\n", r"lacks the columns \['energy_kwh'\]", id="no energy"
        ),
        pytest.param(
            "meter_id,starts_at_utc,energy_kwh\na,2024-01-01T00:00,1\n", "only one reading; declare", id="one reading"
        ),
        pytest.param(
            "meter_id,starts_at_utc,energy_kwh\na,2024-01-01,1\na,2024-01-08,1\n", "does not divide a day", id="weeks"
        ),
        pytest.param("meter_id,starts_at_utc,energy_kwh\na,1704067200,1\n", "not a time", id="seconds since 1970"),
    ],
)
def test_what_cannot_be_read_ends_with_one_line_and_status_1(tmp_path: Path, content: str, message: str) -> None:
    source = tmp_path / "r.csv"
    source.write_text(content)
    outs = {"flags_path": tmp_path / "f.csv", "events_path": tmp_path / "e.csv"}
    with pytest.raises(SourceError, match=message):
        detect_files(source, **outs)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("[fe].csv"))


def test_the_command_writes_every_file_and_says_what_it_found(tmp_path: Path) -> None:
    with_spike().write_csv(tmp_path / "r.csv")
    (tmp_path / "w.csv").write_text("starts_at_utc,temperature_c\n2024-01-01T00:00:00Z,3.5\n")
    (tmp_path / "m.csv").write_text("meter_id,site_id,timezone\nb,s,Europe/Berlin\n")
    out = {name: tmp_path / f"{name}.csv" for name in ("flags", "events", "scores")}
    energy = Path(sys.executable).with_name("energy")
    done = subprocess.run(
        [
            str(energy), "detect", "--readings", str(tmp_path / "r.csv"), "--weather", str(tmp_path / "w.csv"),
            "--meters", str(tmp_path / "m.csv"), *(part for name in out for part in (f"--{name}", str(out[name]))),
            "--report", str(tmp_path / "report.json"),
        ],
        capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "140"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 of them ask for attention" in done.stdout
    assert "1 meters are not in the meters file, for instance a" in done.stdout
    assert "The weather has nothing for 29 of 30 days" in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["alerts_by_cause"] == {"spike": 1}
    assert pl.read_csv(out["events"])["cause"].to_list().count("spike") == 1
    assert pl.read_csv(out["scores"]).height == DAYS * 24
