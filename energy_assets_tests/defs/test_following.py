"""Outcomes read from the lake move a champion as those of a back-test do, and a snapshot keeps what they were."""

from datetime import timedelta

import polars as pl

from energy_assets.contracts import FEATURES_LOAD, READINGS_INTERVAL, Window
from energy_assets.defs.following import followers_of
from energy_assets.features.matrix import KEY
from energy_assets.forecasts.following import is_counted
from energy_assets.lake import Lake
from energy_assets_tests.forecasts.test_following import (
    NAME,
    OFFICES,
    champion,
    followers,
    nights,
    past_and_nights,
    said,
)


def readings_of(rows: pl.DataFrame) -> pl.DataFrame:
    known = rows.filter(pl.col("energy_kwh").is_finite()).unique(["meter_id", "starts_at_utc"])
    energy = pl.col("energy_kwh").cast(pl.Float64)
    return READINGS_INTERVAL.conform(
        known.select(
            "meter_id",
            "starts_at_utc",
            "interval_minutes",
            energy_kwh=energy,
            reported_kwh=energy,
            quality=pl.lit("measured"),
            available_at_utc="energy_known_at_utc",
        )
    )


def fill(lake: Lake, rows: pl.DataFrame) -> None:
    stored = rows.drop("energy_kwh", "energy_known_at_utc").with_columns(pl.selectors.float().fill_nan(None))
    lake.replace(FEATURES_LOAD, FEATURES_LOAD.conform(stored))
    lake.replace(READINGS_INTERVAL, readings_of(rows))


def test_a_night_from_the_lake_says_the_bits_of_a_back_test(lake: Lake):
    _, rows = past_and_nights()
    fill(lake, rows)
    direct, issue = followers(champion()), nights()[-1]
    direct.learn(rows)
    of_lake = followers_of(lake, champion(), meters=OFFICES, issues=[issue])
    assert said(of_lake, issue).equals(said(direct, issue))
    several = followers_of(lake, champion(), meters=OFFICES, issues=nights())
    for night in nights():
        last = said(several, night)
    assert last.equals(said(direct, issue))


def test_a_snapshot_keeps_what_a_night_followed(lake: Lake):
    _, rows = past_and_nights()
    fill(lake, rows)
    snapshot_id, issue = lake.snapshot_id(), nights()[-1]
    before = said(followers_of(lake, champion(), meters=OFFICES, issues=[issue]), issue)
    changed = readings_of(rows).with_columns(pl.col("energy_kwh") * 3)
    window = Window(starts_at_utc=nights()[0], ends_at_utc=nights()[-1] + timedelta(days=5))
    lake.replace(READINGS_INTERVAL, changed, window=window)
    assert not said(followers_of(lake, champion(), meters=OFFICES, issues=[issue]), issue).equals(before)
    then = followers_of(lake, champion(), meters=OFFICES, issues=[issue], snapshot_id=snapshot_id)
    assert said(then, issue).equals(before)


def test_readings_that_come_too_late_move_no_night(lake: Lake):
    _, rows = past_and_nights()
    issue = nights()[-1]
    late = (pl.col("starts_at_utc").dt.hour() == 4) & pl.col("energy_kwh").is_finite()
    energy, known_at = pl.col("energy_kwh"), pl.col("energy_known_at_utc")
    answers = []
    for factor in (1.0, 9.0):
        fill(
            lake,
            rows.with_columns(
                energy_kwh=pl.when(late).then(energy * factor).otherwise(energy).cast(pl.Float32),
                energy_known_at_utc=pl.when(late).then(issue + timedelta(minutes=1)).otherwise(known_at),
            ),
        )
        answers.append(said(followers_of(lake, champion(), meters=OFFICES, issues=[issue]), issue))
    assert answers[0].equals(answers[1])


def test_some_hours_are_read_where_meters_are_many(lake: Lake, monkeypatch):
    _, rows = past_and_nights()
    fill(lake, rows)
    asked: list[pl.DataFrame] = []
    read = lake.read
    monkeypatch.setattr(lake, "read", lambda *table, **how: asked.append(read(*table, **how)) or asked[-1])
    many = pl.concat([OFFICES, *(OFFICES.with_columns(pl.col("meter_id") + f" {n}") for n in range(60))])
    issue = nights()[-1]
    of_lake = followers_of(lake, champion(), meters=many, issues=[issue])
    direct = type(of_lake)(champion(), meters=many, stride=5)
    direct.learn(rows.sample(fraction=1, shuffle=True, seed=3))
    assert said(of_lake, issue).equals(said(direct, issue))
    assert NAME in of_lake.at(issue)
    assert len(asked) == 2
    for frame in asked:  # of features and of readings no more than what counts
        assert frame.select(is_counted(stride=5)).to_series().all()
        assert frame.height
    assert rows.select(KEY).is_unique().all()
