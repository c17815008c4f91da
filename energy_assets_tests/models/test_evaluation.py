"""Metrics against slow loops that follow the definitions word by word."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.errors import ContractError
from energy_assets.models.evaluation import (
    METRICS,
    known_by,
    metrics_of,
    rolling_origin,
    skill_of,
    skills_of,
    summary_of,
)

START = datetime(2024, 1, 1, tzinfo=UTC)


def predictions(*, model: str, node: str, days: int, seed: int, noise: float, level: float = 10.0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    truth = np.random.default_rng(99).gamma(4, level / 4, len(hours))
    centre = truth + random.normal(0, noise, len(hours))
    return pl.DataFrame(
        {
            "model": model,
            "node_id": node,
            "issued_at_utc": [START + timedelta(days=int(hour // 24)) for hour in hours],
            "starts_at_utc": [START + timedelta(hours=int(hour)) for hour in hours],
            "energy_kwh": truth,
            **{name: centre + (share - 0.5) * 4 for name, share in LEVELS.items()},
        }
    )


def slow_metrics(rows: list[dict[str, float]]) -> dict[str, float]:
    count = len(rows)
    mean = sum(abs(row["energy_kwh"]) for row in rows) / count
    squares = absolutes = logs = pin = crps = bias = 0.0
    inside_80 = inside_90 = 0
    edges = [0.0, 0.075, 0.175, 0.375, 0.625, 0.825, 0.925, 1.0]  # half way between 5, 10, 25, 50, 75, 90 and 95 %
    for row in rows:
        y, p = row["energy_kwh"], row["q50"]
        squares += (p - y) ** 2
        absolutes += abs(p - y)
        bias += p - y
        logs += (math.log(1 + max(p, 0)) - math.log(1 + max(y, 0))) ** 2
        for index, (name, share) in enumerate(LEVELS.items()):
            loss = share * (y - row[name]) if y >= row[name] else (1 - share) * (row[name] - y)
            crps += 2 * loss * (edges[index + 1] - edges[index])
            if name in ("q10", "q50", "q90"):
                pin += loss / 3
        inside_80 += row["q10"] <= y <= row["q90"]
        inside_90 += row["q05"] <= y <= row["q95"]
    energies = np.array([row["energy_kwh"] for row in rows])
    return {
        "nrmse": math.sqrt(squares / count) / mean,
        "nmae": absolutes / count / mean,
        "rmsle": math.sqrt(logs / count),
        "pinball": pin / count / mean,
        "crps": crps / count / mean,
        "rcrps": crps / count / float(np.percentile(energies, 99) - np.percentile(energies, 1)),
        "coverage_80": inside_80 / count,
        "coverage_90": inside_90 / count,
        "bias": bias / count / mean,
    }


def test_metrics_equal_the_slow_loop():
    rows = pl.concat(
        predictions(model=model, node=node, days=5, seed=seed, noise=noise)
        for model, node, seed, noise in [("a", "m1", 1, 1.0), ("a", "m2", 2, 6.0), ("b", "m1", 3, 2.0)]
    )
    measured = metrics_of(rows)
    for (model, node), group in rows.group_by("model", "node_id"):
        of_group = measured.filter(model=model, node_id=node)
        got = dict(of_group.select("metric", "value").iter_rows())
        assert got == pytest.approx(slow_metrics(group.to_dicts()), rel=1e-12)
        assert set(got) == set(METRICS)


def test_metrics_by_hand():
    rows = pl.DataFrame({"model": "a", "node_id": "m", "energy_kwh": [1.0, 3.0]}).with_columns(
        **{name: pl.lit(2.0) for name in QUANTILE_COLUMNS}
    )
    got = dict(metrics_of(rows).select("metric", "value").iter_rows())
    # Errors +1 and -1 on a mean of 2; pinball of 1 kWh: (0.9 + 0.5 + 0.1) / 3 over and (0.1 + 0.5 + 0.9) / 3 under.
    assert got["nrmse"] == pytest.approx(0.5)
    assert got["nmae"] == pytest.approx(0.5)
    assert got["bias"] == pytest.approx(0.0)
    assert got["pinball"] == pytest.approx(0.25)
    assert got["crps"] == pytest.approx(0.5)  # of a point forecast it is the absolute error
    assert got["coverage_80"] == 0.0


def test_unknown_rows_and_groups_without_energy_are_left_out():
    rows = predictions(model="a", node="m", days=1, seed=1, noise=1.0)
    gaps = pl.concat([rows, rows.with_columns(energy_kwh=pl.lit(float("nan"))), rows.with_columns(q05=None)])
    expected = metrics_of(rows)
    assert metrics_of(gaps)["metric"].equals(expected["metric"])
    assert metrics_of(gaps)["value"].to_list() == pytest.approx(expected["value"].to_list(), rel=1e-12)
    still = rows.with_columns(pl.lit(0.0).alias("energy_kwh"))
    assert set(metrics_of(still)["metric"]) == {"rmsle", "coverage_80", "coverage_90"}


@pytest.mark.parametrize("metric", ["nrmse", "nmae", "pinball"])
def test_skill_is_that_of_the_metrics_and_lies_in_its_interval(metric):
    rows = pl.concat(
        predictions(model=model, node=node, days=40, seed=seed, noise=noise)
        for model, node, seed, noise in [
            ("a", "m1", 1, 1.0),
            ("a", "m2", 2, 1.5),
            ("b", "m1", 3, 2.0),
            ("b", "m2", 4, 3),
        ]
    )
    skill = skill_of(rows, model="a", baseline="b", metric=metric, seed=5)
    medians = metrics_of(rows).filter(metric=metric).group_by("model").agg(pl.col("value").median())
    ours, theirs = (medians.filter(model=name)["value"].item() for name in ("a", "b"))
    assert skill.value == pytest.approx(1 - ours / theirs, rel=1e-9)
    assert skill.low < skill.value < skill.high
    assert skill.low > 0.2
    assert skill_of(rows, model="a", baseline="b", metric=metric, seed=5) == skill


def test_interval_of_equal_methods_holds_zero():
    rows = pl.concat(predictions(model=m, node="m", days=60, seed=s, noise=2.0) for m, s in [("a", 1), ("b", 2)])
    skill = skill_of(rows, model="a", baseline="b", metric="nmae", seed=1)
    assert skill.low < 0 < skill.high


def test_skills_of_groups_are_those_of_their_rows():
    """One group of everything is `skill_of`; half of the days, drawn with the other half, leaves the other half out."""
    rows = pl.concat(predictions(model=m, node="m", days=40, seed=s, noise=float(s)) for m, s in [("a", 1), ("b", 2)])
    rows = rows.with_columns(everything=pl.lit(1), late=pl.col("issued_at_utc") >= START + timedelta(days=20))
    whole = skills_of(rows, model="a", baseline="b", by="everything", seed=1).filter(metric="nrmse")
    expected = skill_of(rows, model="a", baseline="b", metric="nrmse", seed=1, repeats=200)
    assert whole.row(0)[2:] == pytest.approx((expected.value, expected.low, expected.high))
    halves = skills_of(rows, model="a", baseline="b", by="late", seed=1).filter(metric="nmae")
    for late, _, value, low, high in halves.iter_rows():
        of_half = skill_of(rows.filter(late=late), model="a", baseline="b", metric="nmae", seed=1)
        assert value == pytest.approx(of_half.value)
        assert low < value < high


def test_skill_needs_common_rows():
    rows = predictions(model="a", node="m", days=2, seed=1, noise=1.0)
    with pytest.raises(ContractError, match="no predicted rows in common"):
        skill_of(rows, model="a", baseline="b", metric="nmae", seed=1)


def test_folds_cover_every_test_issue_once_and_train_only_on_what_was_known():
    issues = [START + timedelta(days=day) for day in range(30)]
    folds = list(rolling_origin(issues, first_test=issues[10], refit_days=7))
    assert [issue for fold in folds for issue in fold.issues] == issues[10:]
    assert [fold.trained_at_utc for fold in folds] == [issues[10], issues[17], issues[24]]
    features = pl.DataFrame(
        {
            "issued_at_utc": issues,
            "energy_kwh": [1.0] * 30,
            "energy_known_at_utc": [issue + timedelta(days=2) for issue in issues],
        }
    )
    # Of the issues before day 10, those of days 9 and later were read after it.
    assert known_by(features, trained_at=issues[10])["issued_at_utc"].to_list() == issues[:9]


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(60):
        rows = pl.concat(
            predictions(model=m, node="m", days=56, seed=2 * seed + s, noise=2.0) for s, m in enumerate(("a", "b"))
        )
        skill = skill_of(rows, model="a", baseline="b", metric="nmae", seed=seed, repeats=200)
        held += skill.low < 0 < skill.high
    assert 45 <= held <= 60  # 54 expected; eight blocks of a week make the interval a little short


def test_summary_is_the_median_over_meters_and_coverage_over_all_readings():
    rows = pl.DataFrame(
        {
            "meter_id": ["a", "b", "b", "c", "dead"],
            "energy_kwh": [10.0, 10.0, 10.0, 10.0, 0.0],
            "q10": [9.0, 0.0, 12.0, 10.0, 1.0],
            "q50": [11.0, 12.0, 12.0, 15.0, 1.0],
            "q90": [12.0, 13.0, 13.0, 16.0, 2.0],
        }
    ).with_columns(q05="q10", q25="q10", q75="q90", q95="q90")
    # NMAE of a, b, c: 0.1, 0.2, 0.5, the dead meter has none. Inside q10..q90: a, one of b, c; of five.
    summary = summary_of(rows)
    assert summary["nmae"] == pytest.approx(0.2)
    assert summary["coverage_80"] == pytest.approx(3 / 5)
    assert set(summary) == set(METRICS) - {"rcrps"}  # no meter's readings differ
