"""Peaks are moved and widened as measured nights teach, exactly undone before they are counted, and scored by hand."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_EVIDENCE, FORECASTS_PEAKS, FORECASTS_RECIPES, QUANTILE_COLUMNS
from energy_assets.forecasts.learning import Learned, learned_from, learned_of, recipe_of
from energy_assets.forecasts.peak_learning import (
    AS_DRAWN,
    PeakCorrection,
    corrected,
    peak_evidence,
    peak_skill,
    with_actual_peaks,
)
from energy_assets.forecasts.scenarios import LEVEL_SCORES
from energy_assets_tests.forecasts import portfolio as given
from energy_assets_tests.forecasts.test_outcomes import DELIVERY

SUBJECT = "site|electricity|net"
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def peaks(issued: datetime, correction: PeakCorrection = AS_DRAWN) -> pl.DataFrame:
    """Return the peak of a node as drawn, normal of 100 kW with half-bands of 10, under a correction."""
    half, shift = 10.0, correction.shift
    values = 100 + shift * half + correction.widening * half * LEVEL_SCORES / LEVEL_SCORES[5]
    hours = {f"hour_{hour:02d}": float(hour == 12) for hour in range(24)}
    quantiles = dict(zip(QUANTILE_COLUMNS, map(float, values), strict=True))
    return FORECASTS_PEAKS.conform(
        pl.DataFrame({"node_id": ["s|electricity|net"], "local_date": [issued.date()], "likeliest_hour": [12]}).select(
            pl.all(), pl.lit(issued).alias("issued_at_utc"), **{k: pl.lit(v) for k, v in (quantiles | hours).items()}
        )
    )


def evidence(issued: datetime, *, actual_kw: float, correction: PeakCorrection = AS_DRAWN) -> pl.DataFrame:
    measured = peaks(issued, correction).with_columns(subject=pl.lit(SUBJECT), actual_kw=pl.lit(actual_kw))
    recipe = recipe_of(Learned(peaks={SUBJECT: correction}), issued_at_utc=issued, seed=1)
    made = peak_evidence(measured, recipes=recipe)
    return FORECASTS_EVIDENCE.conform(made.select(FORECASTS_EVIDENCE.column_names))


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        pytest.param(AS_DRAWN, [0.0, 1.0, 2.0, 3.0, 4.0], id="as-drawn"),
        pytest.param(PeakCorrection(widening=2.0), [0.0, 0.0, 2.0, 4.0, 6.0], id="wider-but-not-negative"),
        pytest.param(PeakCorrection(shift=0.5), [0.8, 1.8, 2.8, 3.8, 4.8], id="up-by-half-the-upper-half-band"),
        pytest.param(PeakCorrection(shift=-0.5, widening=0.5), [0.2, 0.7, 1.2, 1.7, 2.2], id="down-and-narrower"),
    ],
)
def test_a_correction_by_hand(correction: PeakCorrection, expected: list[float]):
    """Of 0, 1, 2, 3, 4 kW the median is 2, q10 0.4 and q90 3.6: half-bands of 1.6."""
    highest = np.array([[0.0, 1.0, 2.0, 3.0, 4.0]])
    assert corrected(highest, [correction])[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("actual_kw", "place"),
    [
        pytest.param(95.0, -5, id="half-a-half-band-below"),
        pytest.param(104.5, 4, id="above"),
        pytest.param(1000.0, 50, id="far-beyond"),
    ],
)
@pytest.mark.parametrize("correction", [AS_DRAWN, PeakCorrection(shift=-0.73, widening=1.37)], ids=["plain", "moved"])
def test_errors_are_counted_as_they_were_before_any_correction(actual_kw, place, correction):
    found = evidence(FIRST, actual_kw=actual_kw + 1e-6, correction=correction)
    assert found.select("statistic", "subject", "bin", "total").rows() == [("peaks", SUBJECT, place, 1.0)]


def nights(errors: list[float]) -> Learned:
    """Return what is learned after nights whose peaks were off by errors in half-bands, three days later."""
    made = [evidence(FIRST + timedelta(days=day), actual_kw=100 + 10 * error) for day, error in enumerate(errors)]
    return learned_from(pl.concat(made), issued_at_utc=FIRST + timedelta(days=len(errors) + 3))


def test_peaks_that_are_always_too_high_move_down():
    """All between 0.85 and 1.05 half-bands too high: surely so, and what is left is narrow."""
    found = nights([-1.05, -0.95, -0.85, -0.95] * 6).peaks[SUBJECT]
    assert found.shift == pytest.approx(-0.95, abs=0.06)
    assert found.widening < 0.6


def test_what_may_be_chance_moves_nothing():
    """A median error of 0.2 where errors are of size 1 says nothing after eight nights."""
    found = nights([-1.0, 1.4, -0.8, 1.2, 0.2, -1.1, 0.9, 0.2]).peaks[SUBJECT]
    assert found.shift == 0.0
    assert found.widening == pytest.approx(1.2, abs=0.2)


def test_two_nights_teach_nothing_and_a_recipe_keeps_what_was_learned():
    assert nights([-1.0, -1.0]).peaks == {}
    learned = nights([-1.05, -0.95, -0.85] * 6)
    assert learned_of(recipe_of(learned, issued_at_utc=FIRST, seed=1)).peaks == learned.peaks
    assert learned_of(FORECASTS_RECIPES.empty()).peaks == {}


def test_actual_peaks_of_a_night_are_those_of_the_local_day():
    """Berlin's 11th begins at 23:00 UTC of the 10th; a load of 2 kWh in 15 minutes is 8 kW."""
    rows = DELIVERY.rows.with_columns(actual_kwh=pl.lit(1.0))
    highest = (pl.col("node_id") == "t.berlin|electricity|net") & (
        pl.col("starts_at_utc") == pl.lit(datetime(2026, 3, 10, 23, tzinfo=UTC))
    )
    late = (pl.col("node_id") == "t.g|electricity|net") & (
        pl.col("starts_at_utc") == pl.lit(datetime(2026, 3, 11, 5, 15, tzinfo=UTC))
    )
    unread = pl.col("node_id") == "t.b|electricity|net"
    rows = rows.with_columns(
        actual_kwh=pl.when(highest).then(7.0).when(late).then(2.0).when(~unread).then("actual_kwh")
    )
    found = with_actual_peaks(DELIVERY.peaks, compared=rows, sites=given.SITE_ROWS)
    of_day = {row["node_id"]: row["actual_kw"] for row in found.filter(local_date=date(2026, 3, 11)).to_dicts()}
    assert of_day["t.berlin|electricity|net"] == 7.0
    assert of_day["t.g|electricity|net"] == 8.0
    assert of_day["t.a|electricity|net"] == 1.0
    assert "t.b|electricity|net" not in of_day
    assert found.filter(node_id="t.berlin|electricity|net")["subject"][0] == SUBJECT
    hours = {row["node_id"]: row["actual_hour"] for row in found.filter(local_date=date(2026, 3, 11)).to_dicts()}
    assert hours["t.berlin|electricity|net"] == 0
    assert hours["t.g|electricity|net"] == 1  # in Boston, which is four hours behind by then


def test_skill_of_peaks_by_hand():
    """The scenarios had the peak at 12, and there it came."""
    measured = peaks(FIRST).with_columns(subject=pl.lit(SUBJECT), actual_kw=pl.lit(80.0), actual_hour=pl.lit(12))
    values = dict(peak_skill(measured).select("metric", "value").iter_rows())
    assert values == {
        "peak_nmae": pytest.approx(0.25),
        "peak_bias": pytest.approx(0.25),
        "peak_coverage_80": 0.0,
        "peak_hour_share": 1.0,
    }
