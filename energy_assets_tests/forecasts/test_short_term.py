"""The next hours: the last reading counts, every interval is filled, and the band of a sum is honest."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.forecasts.backtest_inputs import Inputs
from energy_assets.forecasts.short_term import Places, ShortTerm, forecast_short_term, learn_short_term, sums_of
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, read_archive, write_archive
from energy_assets.models.registry import LoadedModel, UnresolvedModelError
from energy_assets_tests.forecasts import portfolio as given
from energy_assets_tests.forecasts.own_files import START, TINY, inputs_of, wave

DAYS = 50
TRAINED_AT = START + timedelta(days=42)


@cache
def wandering() -> Inputs:
    """Two meters, hourly and every quarter of an hour, whose level wanders from hour to hour: it pays to look."""
    frames = []
    for name, minutes in (("a", 60), ("q", 15)):
        rows = wave(name, days=DAYS, minutes=minutes)
        steps = np.random.default_rng(minutes).normal(0, 0.15 * (minutes / 60) ** 0.5, rows.height)
        level = np.zeros(rows.height)
        for index in range(1, rows.height):
            level[index] = 0.9 ** (minutes / 60) * level[index - 1] + steps[index]
        frames.append(rows.with_columns(pl.col("energy_kwh") * pl.Series(np.exp(level))))
    return inputs_of(Path(mkdtemp()), pl.concat(frames))


@cache
def learned():
    inputs = wandering()
    places = Places(meters=inputs.meters, sites=inputs.sites, premises=inputs.premises)
    return places, learn_short_term(
        inputs.readings, places=places, weather=None, trained_at=TRAINED_AT, spec=TINY, seed=0
    )


def at(issue: datetime, readings: pl.DataFrame | None = None, **changes) -> ShortTerm:
    places, champions = learned()
    chosen = {"champions": champions, "places": places} | changes
    rows = wandering().readings if readings is None else readings
    return forecast_short_term(rows, weather=None, issued_at_utc=issue, seed=1, **chosen)


def test_every_interval_of_the_next_three_hours_is_there_at_any_minute_of_issue():
    found = at(TRAINED_AT + timedelta(hours=5, minutes=45))
    counts = dict(found.intervals.group_by("node_id").len().iter_rows())
    # Three hours from 5:45 hold the hours from 6:00 and 7:00 and 8:00, and twelve quarters from 5:45 itself.
    assert counts == {"a": 3, "q": 12}
    assert found.intervals.filter(pl.col("node_id") == "q")["starts_at_utc"][0] == TRAINED_AT + timedelta(hours=5.75)
    assert set(found.intervals["method"]) == {"without_weather"}
    assert found.sums.select("meter_id", "hours").rows() == [("a", 3.0), ("q", 3.0)]


def test_the_last_reading_counts_and_the_bands_hold():
    readings = wandering().readings.select("meter_id", "starts_at_utc", "energy_kwh")
    issues = [TRAINED_AT + timedelta(hours=5 * number) for number in range(36)]
    made = [at(issue) for issue in issues]
    first = pl.concat(each.intervals.filter(pl.col("starts_at_utc") == pl.col("issued_at_utc")) for each in made)
    first = first.rename({"node_id": "meter_id"}).join(readings, on=["meter_id", "starts_at_utc"])
    yesterday = readings.with_columns(pl.col("starts_at_utc") + timedelta(days=1)).rename({"energy_kwh": "before"})
    first = first.join(yesterday, on=["meter_id", "starts_at_utc"])
    ours, theirs = (first.select((pl.col(n) - pl.col("energy_kwh")).abs().mean()).item() for n in ("q50", "before"))
    assert ours < 0.75 * theirs
    intervals = pl.concat(each.intervals for each in made).rename({"node_id": "meter_id"})
    actual = intervals.join(readings, on=["meter_id", "starts_at_utc"])
    assert actual.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item() == pytest.approx(0.8, abs=0.12)
    truth = actual.group_by("meter_id", "issued_at_utc").agg(pl.col("energy_kwh").sum())
    sums = pl.concat(each.sums for each in made).join(truth, on=["meter_id", "issued_at_utc"])
    assert sums.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item() == pytest.approx(0.8, abs=0.15)


def test_what_comes_after_the_issue_changes_nothing():
    issue = TRAINED_AT + timedelta(days=2, hours=7)
    readings = wandering().readings
    later = pl.col("available_at_utc") > issue
    other = readings.with_columns(energy_kwh=pl.when(later).then(999.0).otherwise("energy_kwh"))
    assert at(issue, other).intervals.equals(at(issue).intervals)


def test_without_a_model_the_ladder_serves():
    name = "load-electricity-60min"
    nothing = {name: UnresolvedModelError("too little", reason="no_champion")}
    found = at(TRAINED_AT, champions=nothing)
    assert found.intervals.height == 15
    assert found.intervals.select(pl.all_horizontal(pl.col(QUANTILE_COLUMNS).is_finite()).all()).item()
    assert set(found.intervals["method"]) == {"analogue"}
    assert set(found.intervals["reason"]) == {"no_champion", "registry_empty"}


def test_too_little_to_learn_from_is_no_model_and_no_error():
    inputs, (places, _) = wandering(), learned()
    young = inputs.readings.filter(pl.col("starts_at_utc") < START + timedelta(days=9))
    champions = learn_short_term(
        young, places=places, weather=None, trained_at=START + timedelta(days=9), spec=TINY, seed=0
    )
    assert {type(each) for each in champions.values()} == {UnresolvedModelError}


def test_the_band_of_a_sum_is_wider_than_independence_and_narrower_than_the_sum_of_bands():
    rows = given.METER_ROWS.filter(pl.col("meter_id") == "t.a.electricity")
    quantiles = {name: [1.0 + 0.1 * step] * 4 for step, name in enumerate(QUANTILE_COLUMNS)}
    starts = [given.ISSUE + timedelta(hours=hour) for hour in range(4)]
    intervals = pl.DataFrame({"starts_at_utc": starts, **quantiles}).with_columns(
        node_id=pl.lit("t.a.electricity"), node_kind=pl.lit("meter"), interval_minutes=pl.lit(60, pl.Int64),
        issued_at_utc=pl.lit(given.ISSUE),
    )  # fmt: skip
    total = sums_of(intervals, meters=rows, seed=1).row(0, named=True)
    assert total["q50"] == pytest.approx(4 * 1.3, rel=0.02)
    width = total["q90"] - total["q10"]
    assert (4**0.5) * 0.4 * 1.1 < width <= 4 * 0.4 * 1.1  # a thousand scenarios tell it to a few percent


def test_a_model_of_the_next_hours_says_the_same_when_it_is_read_again(tmp_path: Path):
    _, champions = learned()
    champion = champions["load-electricity-60min"]
    assert isinstance(champion, LoadedModel)
    write_archive({FULL: champion.variants[WITHOUT_WEATHER], **champion.variants}, tmp_path / "m.zip")
    again = LoadedModel(name=champion.name, version=1, variants=read_archive(tmp_path / "m.zip"), tags={})
    noon = TRAINED_AT + timedelta(hours=12)
    first, second = (at(noon, champions={champion.name: each}) for each in (champion, again))
    assert first.intervals.select(QUANTILE_COLUMNS).equals(second.intervals.select(QUANTILE_COLUMNS))
    assert first.sums.equals(second.sums)
