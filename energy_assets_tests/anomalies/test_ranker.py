"""The ranker: features by hand and blind to the future, labels from words, training, calibration, registration."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.anomalies.grid import Floats, grids_of
from energy_assets.anomalies.ranker import (
    NAME,
    RankerSpec,
    TrainedRanker,
    average_precision,
    calibration_error,
    judge_ranker,
    train_ranker,
)
from energy_assets.anomalies.ranker_calibration import SiteCurve, fit_site_curve
from energy_assets.anomalies.ranker_features import (
    NEIGHBOUR_HOURS,
    SCORE,
    feature_names,
    ranker_features,
    value_changes,
)
from energy_assets.anomalies.ranker_gain import gain_over_detectors
from energy_assets.anomalies.ranker_labels import LABELS, LabelMinimum, labels_of_faults, labels_of_feedback, shortage
from energy_assets.contracts import UTC_TIME, Window
from energy_assets.models.archive import read_archive, write_archive
from energy_assets_tests.anomalies.meters import MONDAY, clean_kwh, days_from, readings

DAYS = 60
SITES = pl.DataFrame({"site_id": ["s0", "s1"], "timezone": ["UTC", "Europe/Berlin"]})
SMALL = RankerSpec(rounds=30, minimum=LabelMinimum(faults=5, false_alarms=2, meters=5, fault_slots=20))


def registry(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"meter_id": [f"m{n:02d}" for n in range(count)], "site_id": [f"s{n % 2}" for n in range(count)]}
    )


def features_of(kwh: dict[str, np.ndarray], window: Window, **more: object) -> pl.DataFrame:
    return ranker_features(readings(kwh), window=window, meters=registry(20), sites=SITES, **more)  # type: ignore[arg-type]


def cell(rows: pl.DataFrame, hour: int, meter_id: str = "m00") -> dict[str, float]:
    at = MONDAY + timedelta(hours=hour)
    return rows.filter(pl.col("meter_id") == meter_id, pl.col("starts_at_utc") == at).row(0, named=True)


def test_value_changes_by_hand() -> None:
    kwh = np.full(DAYS * 24, 2.0)
    kwh[50 * 24 + 5] = 6.0
    kwh[50 * 24 + 3] = np.nan
    rows = features_of({"m00": kwh}, days_from(50))
    spike = cell(rows, 50 * 24 + 5)
    # The usual level is 2 kWh: the spike is 3 of it, 2 above each neighbour; the ratio has 0.02 on both sides.
    assert spike["level"] == pytest.approx(3)
    assert [spike[f"change_{h}h"] for h in (1, 24, 168)] == pytest.approx([2, 2, 2])
    assert spike["ratio_1h"] == pytest.approx(np.log(3.02 / 1.02), abs=1e-5)
    assert np.isnan(spike["change_2h"])
    assert cell(rows, 50 * 24 + 6)["change_1h"] == pytest.approx(-2)
    assert cell(rows, 50 * 24 + 10)["same_for_hours"] == 5
    assert cell(rows, 50 * 24 + 10)["mean_24h_change"] == pytest.approx(2 / 23)
    # A slot without a reading has no row: the rule for gaps is exact.
    assert rows.height == 23


def test_the_hour_is_that_of_the_sites_clock() -> None:
    kwh = clean_kwh(days=DAYS)
    rows = features_of({"m00": kwh, "m01": kwh}, days_from(50))
    assert (cell(rows, 50 * 24)["local_hour"], cell(rows, 50 * 24)["weekday"]) == (0, 1)
    assert cell(rows, 50 * 24 + 23, "m01")["local_hour"] == 0
    assert cell(rows, 50 * 24 + 23, "m01")["weekday"] == 2


def changed_by_the_future(make: Callable[[pl.DataFrame], dict[str, Floats]], *, hour: int) -> set[str]:
    """Return the features of slots up to `hour` that differ when everything after it is another world."""
    kwh = clean_kwh(days=DAYS, seed=1)
    other = kwh.copy()
    other[hour + 1 :] = np.random.default_rng(2).uniform(0, 50, len(kwh) - hour - 1)
    before, after = (make(readings({"m00": values})) for values in (kwh, other))
    return {
        name
        for name in before
        if not np.array_equal(before[name][:, : hour + 1], after[name][:, : hour + 1], equal_nan=True)
    }


def past_only(rows: pl.DataFrame) -> dict[str, Floats]:
    return value_changes(next(grids_of(rows, window=days_from(0, DAYS - 1))), sides="past")


@pytest.mark.parametrize("hour", [40 * 24, 50 * 24 + 13, 55 * 24 + 23])
def test_the_nightly_features_never_see_the_future(hour: int) -> None:
    assert changed_by_the_future(past_only, hour=hour) == set()


def test_a_planted_leak_is_found() -> None:
    def leaky(rows: pl.DataFrame) -> dict[str, Floats]:
        found = past_only(rows)
        return found | {"leak": np.roll(found["level"], -1, axis=1)}

    def both(rows: pl.DataFrame) -> dict[str, Floats]:
        return value_changes(next(grids_of(rows, window=days_from(0, DAYS - 1))), sides="both")

    assert changed_by_the_future(leaky, hour=50 * 24 + 13) == {"leak"}
    leaks = changed_by_the_future(both, hour=50 * 24 + 13)
    assert leaks == {f"{what}_after_{h}h" for what in ("change", "ratio") for h in NEIGHBOUR_HOURS}


def test_a_day_alone_equals_the_day_within_a_longer_window() -> None:
    kwh = {"m00": clean_kwh(days=DAYS, seed=3), "m01": clean_kwh(days=DAYS, seed=4)}
    alone, within = features_of(kwh, days_from(50)), features_of(kwh, days_from(45, 55))
    same = within.join(alone.select("meter_id", "starts_at_utc"), on=["meter_id", "starts_at_utc"], how="semi")
    names = [name for name in feature_names("past") if name != "detector_score"]
    order = ["meter_id", "starts_at_utc"]
    assert np.allclose(
        same.sort(order).select(names).to_numpy(), alone.sort(order).select(names).to_numpy(), equal_nan=True, atol=1e-4
    )


def test_labels_of_known_faults_cover_every_slot() -> None:
    slots = pl.DataFrame(
        {"meter_id": ["a"] * 4 + ["b"], "starts_at_utc": [MONDAY + timedelta(hours=h) for h in (0, 1, 2, 3, 1)]},
        schema_overrides={"starts_at_utc": UTC_TIME},
    )
    fault = pl.DataFrame(
        {
            "meter_id": ["a"],
            "starts_at_utc": [MONDAY + timedelta(hours=1)],
            "ends_at_utc": [MONDAY + timedelta(hours=3)],
        },
        schema_overrides={"starts_at_utc": UTC_TIME, "ends_at_utc": UTC_TIME},
    )
    assert labels_of_faults(fault, slots=slots)["is_fault"].to_list() == [False, True, True, False, False]


def test_labels_of_what_people_said() -> None:
    def at(day: int, hour: int = 0) -> datetime:
        return MONDAY + timedelta(days=day, hours=hour)

    events = pl.DataFrame(
        {
            "event_id": ["real", "wrong", "unseen", "incident"],
            "meter_id": ["a", "a", "a", None],
            "starts_at_utc": [at(10), at(20), at(12), at(10)],
            "ends_at_utc": [at(10, 3), at(20, 2), at(12, 2), at(10, 3)],
        },
        schema_overrides={"starts_at_utc": UTC_TIME, "ends_at_utc": UTC_TIME},
    )
    feedback = pl.DataFrame(
        {
            "event_id": ["real", "real", "wrong", "incident"],
            "verdict": ["false", "acknowledged", "expected", "acknowledged"],
            "author": ["x"] * 4,
            "recorded_at_utc": [at(30), at(31), at(31), at(31)],
        },
        schema_overrides={"recorded_at_utc": UTC_TIME},
    )
    flags = pl.DataFrame(
        {"meter_id": ["a"] * 3, "starts_at_utc": [at(10), at(10, 2), at(20)]},
        schema_overrides={"starts_at_utc": UTC_TIME},
    )
    slots = pl.DataFrame(
        {"meter_id": ["a"] * 40 * 24, "starts_at_utc": [at(0, hour) for hour in range(40 * 24)]},
        schema_overrides={"starts_at_utc": UTC_TIME},
    )
    labels = labels_of_feedback(feedback, events=events, flags=flags, slots=slots)
    known = dict(labels.select("starts_at_utc", "is_fault").iter_rows())
    assert [hour for hour in range(40 * 24) if known.get(at(0, hour))] == [240, 242]  # flagged and acknowledged last
    assert at(10, 1) not in known  # in the event, but not flagged
    assert known[at(20)] is False
    assert at(12) not in known  # an event that nobody judged
    assert known[at(5)] is False
    assert at(2) not in known  # more than a week from what was judged
    assert at(30) not in known
    assert labels.schema == LABELS


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        pytest.param([], "0 of 2 faults", id="none"),
        pytest.param([("m00", 0, 10), ("m00", 20, 10)], "1 of 2 meters", id="one meter"),
        pytest.param([("m00", 5, 1), ("m01", 5, 1)], "2 of 8 fault slots", id="short ones"),
        pytest.param([("m00", 5, 4), ("m01", 5, 4)], None, id="enough"),
    ],
)
def test_off_until_labels_suffice(faults: list[tuple[str, int, int]], expected: str | None) -> None:
    bad = {(meter, start + n) for meter, start, length in faults for n in range(length)}
    rows = [(m, MONDAY + timedelta(hours=h), (m, h) in bad) for m in ("m00", "m01") for h in range(48)]
    labels = pl.DataFrame(rows, schema=LABELS, orient="row")
    lacking = shortage(labels, minimum=LabelMinimum(faults=2, false_alarms=1, meters=2, fault_slots=8))
    assert lacking is None if expected is None else expected in (lacking or "")


@pytest.fixture(scope="module")
def world() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return features and labels of 20 offices with one day at four times their level, and noise for the score."""
    kwh, faults = {}, []
    for number in range(20):
        meter_id = f"m{number:02d}"
        values = clean_kwh(days=DAYS, seed=number, scale=1 + number)
        day = 40 + number % 18
        values[day * 24 : day * 24 + 24] *= 4
        kwh[meter_id] = values
        faults.append((meter_id, MONDAY + timedelta(days=day), MONDAY + timedelta(days=day + 1)))
    schema = {"meter_id": pl.String, "starts_at_utc": UTC_TIME, "ends_at_utc": UTC_TIME}
    features = features_of(kwh, days_from(36, DAYS - 1))
    noise = np.random.default_rng(0).random(features.height)
    features = features.with_columns(detector_score=pl.Series(noise, dtype=pl.Float32))
    return features, labels_of_faults(pl.DataFrame(faults, schema=schema, orient="row"), slots=features)


@pytest.fixture(scope="module")
def trained(world: tuple[pl.DataFrame, pl.DataFrame]) -> TrainedRanker:
    made = train_ranker(world[0], labels=world[1], spec=SMALL)
    assert isinstance(made, TrainedRanker)
    return made


def test_it_finds_planted_faults_on_meters_that_it_has_not_seen(trained: TrainedRanker) -> None:
    assert trained.metrics["model"]["average_precision"] > 0.9
    assert trained.metrics["unsupervised"]["average_precision"] < 0.1
    assert trained.metrics["model"]["calibration_error"] < 0.05
    assert judge_ranker(trained.metrics) is None


def test_scores_are_chances_and_the_same_for_any_order_of_rows(
    world: tuple[pl.DataFrame, pl.DataFrame], trained: TrainedRanker
) -> None:
    features, labels = world
    again = train_ranker(features.reverse(), labels=labels.reverse(), spec=SMALL)
    assert isinstance(again, TrainedRanker)
    scores = trained.ranker.predict(features)
    assert again.ranker.predict(features)["score"].to_list() == scores["score"].to_list()
    assert 0 <= scores["score"].min() <= scores["score"].max() <= 1  # type: ignore[operator]


def test_an_archive_gives_back_the_same_ranker(
    world: tuple[pl.DataFrame, pl.DataFrame], trained: TrainedRanker, tmp_path: Path
) -> None:
    write_archive({"full": trained.ranker}, tmp_path / "variants.zip")
    loaded = read_archive(tmp_path / "variants.zip")["full"]
    assert loaded.predict(world[0]).equals(trained.ranker.predict(world[0]))


def test_too_few_labels_train_nothing(world: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    features, labels = world
    said = train_ranker(features, labels=labels)
    assert said == "too few labels: 20 of 30 faults"
    assert NAME == "anomaly-ranker"


def labelled(count: int, *, lucky: int, seed: int = 0) -> pl.DataFrame:
    """Return 50 slots of each meter with a fault of 5; the ranker finds the faults of some meters, else both guess."""
    random = np.random.default_rng(seed)
    meter = np.repeat(np.arange(count), 50)
    fault = np.tile(np.arange(50) < 5, count)
    score = np.where(meter < lucky, fault + 0.1 * random.random(50 * count), random.random(50 * count))
    return pl.DataFrame(
        {"meter_id": [f"m{each:03d}" for each in meter], "is_fault": fault, "score": score}
    ).with_columns(detector_score=pl.Series(random.random(50 * count)))


@pytest.mark.parametrize(
    ("meters", "lucky", "is_sure"),
    [
        pytest.param(40, 40, True, id="on every meter"),
        pytest.param(40, 20, True, id="on half of many"),
        pytest.param(40, 0, False, id="on none"),
        pytest.param(20, 1, False, id="on one of twenty: that is luck"),
    ],
)
def test_a_gain_is_sure_when_it_stands_on_many_meters(meters: int, lucky: int, *, is_sure: bool) -> None:
    rows = labelled(meters, lucky=lucky)
    gain = gain_over_detectors(rows)
    areas = [average_precision(rows["is_fault"].to_numpy(), rows[name].to_numpy()) for name in ("score", SCORE)]
    assert gain.measured == pytest.approx(areas[0] - areas[1], abs=1e-9)
    assert gain.at_least < gain.measured
    assert (gain.at_least > 0) is is_sure


def test_equal_scores_are_one_rank_and_no_faults_no_gain() -> None:
    rows = labelled(30, lucky=30)
    flat = rows.with_columns(score=pl.lit(0.5), detector_score=pl.lit(0.2))
    assert gain_over_detectors(flat).measured == pytest.approx(0.0, abs=1e-12)
    assert gain_over_detectors(rows.with_columns(is_fault=pl.lit(value=False))).at_least == 0.0


def test_a_ranker_without_a_sure_gain_is_not_used() -> None:
    def judged(at_least: float, per_site: float) -> str | None:
        ours = {"gain_at_least": at_least, "average_precision": 0.45, "average_precision_per_site": per_site}
        theirs = {"average_precision": 0.4, "average_precision_per_site": 0.4}
        return judge_ranker({"model": ours, "unsupervised": theirs})

    assert judged(-0.01, 0.5) == (
        "no sure gain: average precision 0.450 on unseen meters against 0.400 of the detectors' score, -0.010 at least"
    )
    assert judged(0.02, 0.39) == "per site 0.390 on unseen meters against 0.400 of the detectors' score"
    assert judged(0.02, 0.40) is None


def test_each_site_gets_its_own_rate_and_a_site_with_few_labels_the_shared_one() -> None:
    random = np.random.default_rng(0)
    sites = np.repeat(["plain", "dirty", "few"], [4000, 4000, 3])
    truth = np.where(sites == "dirty", 1.5, 0.0)
    raw = random.normal(-2, 1.5, len(sites))
    fault = random.random(len(sites)) < 1 / (1 + np.exp(-(raw + truth)))
    curve = fit_site_curve(raw, fault=fault, sites=pl.Series(sites))
    assert curve.offsets["dirty"] - curve.offsets["plain"] == pytest.approx(1.5, abs=0.2)
    assert abs(curve.offsets["few"]) < 0.8
    chance = curve.probability(raw, sites=pl.Series(sites))
    for site in ("plain", "dirty"):
        here = sites == site
        assert chance[here].mean() == pytest.approx(fault[here].mean(), abs=0.005)
    assert calibration_error(fault, chance) < 0.03
    assert SiteCurve.from_json(curve.as_json()) == curve


def test_average_precision_by_hand() -> None:
    # Ranked: hit, miss, hit; two of the three are level: (1/1 + 2/3) / 2, and ties count as one threshold.
    assert average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([True, False]), np.array([1.0, 1.0])) == pytest.approx(0.5)
    assert average_precision(np.array([False, False]), np.array([1.0, 0.5])) == 0.0
