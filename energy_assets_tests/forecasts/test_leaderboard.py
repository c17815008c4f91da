"""Errors by lead time and the leaderboard, worked by hand."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from energy_assets.defs.forecasts import bands_cover_what_they_claim
from energy_assets.defs.live_skill import medians_of
from energy_assets.forecasts.actuals import with_actuals
from energy_assets.forecasts.leaderboard import (
    figures_of_board,
    lead_skill,
    leaderboard,
    measured_in_use,
    served_last,
    table_of_board,
)
from energy_assets.forecasts.skill import skill_of_compared
from energy_assets.lake import Lake
from energy_assets.models.plots import board_plot
from energy_assets_tests.forecasts import portfolio as given
from energy_assets_tests.forecasts.test_skill import constant_forecast, hourly, metric

PAIR = given.METER_ROWS.filter(pl.col("meter_id").is_in(["t.a.electricity", "t.f.electricity"]))
ONE = PAIR.filter(pl.col("meter_id") == "t.a.electricity")
SITE = ONE["site_id"][0]
NODE, WHOLE = f"{SITE}|electricity|consumption", "portfolio|electricity|consumption"


def compared(
    *, medians: list[float], actual: list[float], week_ago: list[float | None], nights: int = 1, half: float = 1.5
) -> pl.DataFrame:
    """One meter's forecast from midnight beside its readings and those of the week before, night after night."""
    found = []
    for night in range(nights):
        issue = given.ISSUE + timedelta(days=night)
        forecasts = constant_forecast(ONE, medians=medians, half=half, issued=issue)
        forecasts = forecasts.with_columns(model_version=pl.lit("load-electricity-60min/4"))
        readings = pl.concat([hourly(actual, starts=issue), hourly(week_ago, starts=issue - timedelta(weeks=1))])
        found.append(with_actuals(forecasts, readings=readings, meters=ONE, sites=given.SITE_ROWS))
    return pl.concat(found)


def test_errors_by_lead_time_are_shares_of_the_energy_of_the_same_hours() -> None:
    # Errors of 1 in the first six hours on 10, of 2 in the next six on 20; last week errs by 3 and 4.
    rows = compared(
        medians=[11.0] * 6 + [22.0] * 6,
        actual=[10.0] * 6 + [20.0] * 6,
        week_ago=[13.0] * 6 + [24.0] * 6,
        half=1.5,
    )
    skill = lead_skill(rows)
    for node in (NODE, WHOLE):
        assert metric(skill, "published", node, "meters_nmae_00_06h") == pytest.approx(0.1)
        assert metric(skill, "published", node, "meters_nmae_06_12h") == pytest.approx(0.1)
        assert metric(skill, "last_week", node, "meters_nmae_00_06h") == pytest.approx(0.3)
        assert metric(skill, "last_week", node, "meters_nmae_06_12h") == pytest.approx(0.2)
        # q10 and q90 lie 1.5 from the median: an error of 1 is inside, one of 2 is not.
        assert metric(skill, "published", node, "meters_coverage_80_00_06h") == 1.0
        assert metric(skill, "published", node, "meters_coverage_80_06_12h") == 0.0
    assert set(skill["metric"].str.extract(r"(\d\d_\d\dh)")) == {"00_06h", "06_12h"}


def test_all_methods_are_compared_on_the_same_slots() -> None:
    """In the hours of which last week is unknown the forecast is perfect; they count for nobody."""
    rows = compared(medians=[12.0] * 3 + [10.0] * 3, actual=[10.0] * 6, week_ago=[11.0] * 3 + [None] * 3)
    skill = lead_skill(rows)
    assert metric(skill, "published", NODE, "meters_nmae_00_06h") == pytest.approx(0.2)
    assert metric(skill, "last_week", NODE, "meters_nmae_00_06h") == pytest.approx(0.1)


def test_the_board_is_the_median_of_the_nights_with_the_best_skill_first() -> None:
    rows = compared(
        medians=[11.0] * 6 + [22.0] * 6, actual=[10.0] * 6 + [20.0] * 6, week_ago=[14.0] * 6 + [21.0] * 6, nights=3
    )
    skill = lead_skill(rows)
    board = leaderboard(skill)
    assert board.select("place", "horizon", "nights").rows() == [(SITE, "00_06h", 3), (SITE, "06_12h", 3)]
    # 0.1 against 0.4 where last week and the mean of the known weeks are the same; 0.1 against 0.05.
    assert board["skill"].to_list() == pytest.approx([0.75, -1.0])
    assert leaderboard(skill, portfolio=True)["place"].unique().to_list() == ["portfolio"]
    assert table_of_board(board).rows(named=True) == [
        {
            "site": SITE,
            "flow": "electricity consumption",
            "nights": 3,
            "00–06h": "10.0%\u00a0(+75%)",
            "06–12h": "10.0%\u00a0(-100%)",
            "in band": "50%",
        }
    ]
    assert figures_of_board(board) == pytest.approx(
        {
            f"leaderboard_nmae/{SITE} consumption 00_06h": 0.1,
            f"leaderboard_skill/{SITE} consumption 00_06h": 0.75,
            f"leaderboard_nmae/{SITE} consumption 06_12h": 0.1,
            f"leaderboard_skill/{SITE} consumption 06_12h": -1.0,
        }
    )
    assert table_of_board(board.clear()).is_empty()


def test_the_board_is_drawn_for_the_versions_that_served_last() -> None:
    rows = compared(medians=[11.0] * 6, actual=[10.0] * 6, week_ago=[14.0] * 6, nights=2)
    assert served_last(rows) == {("load-electricity-60min", 4): "electricity"}
    picture = board_plot(leaderboard(lead_skill(rows)))
    assert picture.startswith(b"\x89PNG")
    figures = medians_of(skill_of_compared(rows))
    assert figures["nmae"] == pytest.approx(0.1)
    assert figures["medians"]["method"].to_list()[0] == "published"  # type: ignore[index]
    assert medians_of(skill_of_compared(rows.clear()))["medians"].startswith("nothing was measured")  # type: ignore[attr-defined]


def test_what_a_version_was_worth_in_use() -> None:
    rows = compared(medians=[11.0] * 6 + [22.0] * 6, actual=[10.0] * 6 + [20.0] * 6, week_ago=[15.0] * 6 + [30.0] * 6)
    measured = measured_in_use(rows)[("load-electricity-60min", 4)][given.ISSUE]
    assert measured == pytest.approx(
        {"nmae": 0.1, "nmae_00_06h": 0.1, "nmae_06_12h": 0.1, "coverage_80": 0.5, "skill_last_week": 0.8}
    )
    without_model = rows.with_columns(model_version=pl.lit(None, pl.String))
    assert measured_in_use(without_model) == {}


@pytest.mark.parametrize(
    "actual", [pytest.param([], id="nothing arrived"), pytest.param([0.0] * 12, id="no energy at all")]
)
def test_without_energy_nothing_is_measured(actual: list[float]) -> None:
    rows = compared(medians=[1.0] * 12, actual=actual, week_ago=[0.0] * 12)
    assert lead_skill(rows).filter(pl.col("metric").str.contains("nmae")).is_empty()
    assert leaderboard(lead_skill(rows).clear()).is_empty()


def test_bands_that_were_never_measured_break_no_check(lake: Lake) -> None:
    checked = bands_cover_what_they_claim(lake=lake)
    assert checked.passed  # type: ignore[union-attr]
    assert "nothing measured yet" in str(checked.description)  # type: ignore[union-attr]
