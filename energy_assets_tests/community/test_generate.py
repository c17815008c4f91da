"""The generated community: the same by seed, unchanged when extended, balanced, in Kaggle's layout, and lifelike."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.community import generate
from energy_assets.community.faults import Fault
from energy_assets.community.home_files import register_shown
from energy_assets.community.span import Span, Truth
from energy_assets.contracts import METERS, PREMISES, SITES, WEATHER_FORECAST, WEATHER_OBSERVED, Window
from energy_assets.readings.ashrae_sites import ashrae_sites
from energy_assets.readings.mapping import load_mapping
from energy_assets.weather.sources import read_in_layout

FIRST, LAST = date(2026, 3, 1), date(2026, 4, 20)
SIZE = {"buildings": 12, "households": 8}


@pytest.fixture(scope="module")
def community(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("community")
    generate(folder, first_day=FIRST, last_day=LAST, **SIZE)
    return folder


def train(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "ashrae" / "train.csv", try_parse_dates=True)


def homes(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "households" / "readings-*.parquet")


def test_the_same_seed_gives_the_same_files(community: Path, tmp_path: Path) -> None:
    generate(tmp_path, first_day=FIRST, last_day=LAST, **SIZE)
    for path in sorted(community.rglob("*.*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(community)).read_bytes(), path.name


def test_another_seed_gives_other_readings(community: Path, tmp_path: Path) -> None:
    generate(tmp_path, first_day=FIRST, last_day=FIRST, buildings=3, households=0, seed=1)
    assert not train(tmp_path).equals(train(community).head(train(tmp_path).height))


def test_a_later_end_leaves_the_days_before_as_they_were(community: Path, tmp_path: Path) -> None:
    generate(tmp_path, first_day=FIRST, last_day=LAST + timedelta(days=12), **SIZE)
    before = train(community)
    after = train(tmp_path).join(
        before.select("building_id", "meter", "timestamp"), on=["building_id", "meter", "timestamp"], how="semi"
    )
    assert after.sort(after.columns).equals(before.sort(before.columns))
    known = homes(community)
    later = homes(tmp_path).join(known.select("meter_id", "timestamp"), on=["meter_id", "timestamp"], how="semi")
    assert later.sort(later.columns).equals(known.sort(known.columns))


def test_kaggles_columns_and_kinds(community: Path) -> None:
    rows = train(community)
    assert rows.columns == ["building_id", "meter", "timestamp", "meter_reading"]
    assert set(rows["meter"]) <= {0, 1, 2, 3}
    assert rows["timestamp"].is_sorted()
    metadata = pl.read_csv(community / "ashrae" / "building_metadata.csv")
    assert metadata.columns == ["site_id", "building_id", "primary_use", "square_feet", "year_built", "floor_count"]
    assert metadata["floor_count"].null_count() > 0, "as in the original, most floors are unknown"


def test_nothing_lies_in_the_future_and_the_last_day_is_whole(community: Path) -> None:
    assert homes(community)["timestamp"].max() == datetime(2026, 4, 20, 23)  # noqa: DTZ001
    assert homes(community)["timestamp"].min() == datetime(2026, 3, 1)  # noqa: DTZ001
    forecast = pl.read_parquet(community / "weather" / "forecast.parquet")
    assert forecast["issued_at_utc"].max() == datetime(2026, 4, 21, tzinfo=UTC)
    assert forecast["starts_at_utc"].max() == datetime(2026, 4, 23, 23, tzinfo=UTC)


def test_the_declared_meters_meet_their_contracts_and_the_mapping_can_be_read(community: Path) -> None:
    folder = community / "households"
    for name, table in (("sites", SITES), ("premises", PREMISES), ("meters", METERS)):
        frame = pl.read_csv(folder / f"{name}.csv").with_columns(source=pl.lit("households"))
        assert table.conform(frame).height > 0
    assert load_mapping(folder / "mapping.toml").registry.meters == folder / "meters.csv"
    assert set(homes(community)["meter_id"]) <= set(pl.read_csv(folder / "meters.csv")["meter_id"])


def test_weather_is_plausible_and_forecasts_worsen_with_the_lead(community: Path) -> None:
    observed = pl.read_parquet(community / "weather" / "observed.parquet")
    forecast = pl.read_parquet(community / "weather" / "forecast.parquet")
    for frame, table in ((observed, WEATHER_OBSERVED), (forecast, WEATHER_FORECAST)):
        assert set(frame.columns) <= set(table.column_names)
        path = community / "weather" / f"{table.name}.parquet"
        judged = read_in_layout(path, table, source="made", window=Window.of_days(date(2020, 1, 1), date(2030, 1, 1)))
        assert judged.refused.is_empty()
        assert judged.account["rows_in"].sum() == frame.height
    both = forecast.join(observed, on=["site_id", "starts_at_utc"], suffix="_seen").with_columns(
        lead=(pl.col("starts_at_utc") - pl.col("issued_at_utc")).dt.total_hours()
    )
    error = both.group_by((pl.col("lead") // 24).alias("day")).agg(
        (pl.col("temperature_c") - pl.col("temperature_c_seen")).abs().mean()
    )
    by_day = error.sort("day")["temperature_c"].to_list()
    assert 0.2 < by_day[0] < by_day[1] < by_day[2] < 3.0


def test_labels_name_meters_that_exist_and_gaps_really_are_gaps(community: Path) -> None:
    labels = pl.read_parquet(community / "labels.parquet")
    assert labels.height > 0
    assert (labels["ends_at_utc"] > labels["starts_at_utc"]).all()
    rows = homes(community).with_columns(at=pl.col("timestamp").dt.replace_time_zone("UTC"))
    for row in labels.filter(pl.col("fault") == "gap", pl.col("meter_id").str.starts_with("households")).iter_rows(
        named=True
    ):
        within = rows.filter(
            pl.col("meter_id") == row["meter_id"],
            pl.col("at") >= row["starts_at_utc"],
            pl.col("at") < row["ends_at_utc"],
        )
        assert within.is_empty(), row


def test_buildings_have_the_rhythm_of_buildings(community: Path) -> None:
    rows = train(community).filter(pl.col("meter") == 0)
    per_hour = rows.with_columns(hour=pl.col("timestamp").dt.hour(), weekday=pl.col("timestamp").dt.weekday())
    night = pl.col("meter_reading").filter(pl.col("hour") < 5).mean()
    noon = pl.col("meter_reading").filter(pl.col("hour").is_between(10, 15), pl.col("weekday") < 6).mean()
    ratios = per_hour.group_by("building_id").agg(ratio=noon / night)["ratio"]
    assert 1.1 < ratios.median() < 4.0
    assert (ratios > 0.9).mean() > 0.7


def test_the_sites_of_the_buildings_have_clocks_and_coordinates(community: Path) -> None:
    sites = ashrae_sites(community / "ashrae")
    used = pl.read_csv(community / "ashrae" / "building_metadata.csv")["site_id"].unique()
    assert set(used) <= set(sites["site_code"])
    assert sites.select("latitude", "longitude", "timezone").null_count().sum_horizontal().item() == 0


def test_a_register_counts_on_starts_anew_and_runs_over() -> None:
    def shown(first: float, energy: list[float], *faults: Fault) -> tuple[list[float], float]:
        counted = {"m": first}
        truth = Truth(seed=0, span=Span(first=FIRST, last=LAST, is_local=False))
        values = register_shown(
            "m", np.array(energy), list(faults), start=100, truth=truth, minutes=60, counted=counted
        )
        return values.tolist(), counted["m"]

    reset = Fault(meter_id="m", fault="reset", first_hour=102, end_hour=103, magnitude=1.0)
    assert shown(10, [1, 2, 3, 4]) == ([10, 11, 13, 16], 20)
    assert shown(10, [1, 2, 3, 4], reset) == ([10, 11, 0, 3], 7)
    assert shown(99_998, [1, 2, 3]) == ([99_998, 99_999, 1], 100_004)
