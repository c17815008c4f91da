"""Calendar files: where a span holds, what a closure does to like days, and files that are refused with their line."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.errors import ConfigError
from energy_assets.features.calendar import Place, calendar_table
from energy_assets.features.closures import CLOSURES_SCHEMA, read_closures, spans_of
from energy_assets.features.matrix import build_features
from energy_assets_tests.features.frames import START, meters, office_week, premises, readings_of, sites

HEADER = "kind,country_code,subdivision_code,site_id,first_date,last_date\n"


def closures_of(folder, *lines: str) -> pl.DataFrame:
    (folder / "calendar.csv").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return read_closures(folder)


def test_a_row_holds_where_all_that_it_names_fits(tmp_path):
    closures = closures_of(
        tmp_path,
        "school_holiday,DE,,,2026-07-30,2026-09-12",
        "school_holiday,DE,BW,,2026-05-26,2026-06-05",
        "closure,,,site.a,2026-12-24,2026-12-31",
    )
    at = {"site_id": "site.a", "country_code": "DE", "subdivision_code": "BY"}
    assert [kind for kind, *_ in spans_of(closures, **at)] == ["closure", "school_holiday"]
    assert len(spans_of(closures, **at | {"subdivision_code": "BW"})) == 3
    assert spans_of(closures, **at | {"country_code": "FR", "site_id": "site.b"}) == ()
    assert spans_of(closures, site_id="x", country_code=None, subdivision_code=None) == ()


def test_a_closed_day_is_one_of_rest_and_its_neighbour_a_bridge():
    # 2026-03-03 is a Tuesday.
    place = Place(timezone="UTC", spans=(("closure", date(2026, 3, 3), date(2026, 3, 3)),))
    noons = pl.Series([datetime(2026, 3, day, 12, tzinfo=UTC) for day in range(1, 5)])
    table = calendar_table(noons, place=place)
    assert table["day_kind"].to_list() == [2, 0, 2, 0]
    assert table["is_closed"].to_list() == [False, False, True, False]
    assert table["is_bridge_day"].to_list() == [False, True, False, False]
    assert table["is_school_holiday"].null_count() == 4


def test_like_days_of_a_closed_day_are_sundays(tmp_path):
    names = sites()["site_id"][0]
    days = 60
    readings = readings_of(office_week(days, seed=1), meter_id="a")
    issue = START + timedelta(days=50)
    while issue.weekday() != 1:
        issue += timedelta(days=1)
    closures = closures_of(tmp_path, f"closure,,,{names},{issue:%Y-%m-%d},{issue:%Y-%m-%d}")

    def noon(closures):
        frame = build_features(
            readings,
            meters=meters("a"),
            sites=sites(),
            premises=premises("a"),
            weather=None,
            issues=[issue],
            closures=closures,
        )
        return frame.filter(lead_hours=12).to_dicts()[0]

    closed, ordinary = noon(closures), noon(None)
    assert closed["is_closed"] == 1
    assert np.isnan(ordinary["is_closed"])
    assert closed["kind_mean_kwh"] < 0.8 * ordinary["kind_mean_kwh"]
    assert closed["lag_7d_kwh"] == ordinary["lag_7d_kwh"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("strike,DE,,,2026-01-01,2026-01-02", "line 2", id="unknown kind"),
        pytest.param("closure,,,,2026-01-01,2026-01-02", "a place", id="no place"),
        pytest.param("closure,DE,,,2026-01-03,2026-01-02", "in order", id="ends before it begins"),
        pytest.param("closure,DE,,,1.1.2026,2026-01-02", "YYYY-MM-DD", id="no such date"),
    ],
)
def test_odd_rows_are_refused_with_their_line(tmp_path, line, says):
    with pytest.raises(ConfigError, match=says):
        closures_of(tmp_path, line)


def test_missing_columns_and_no_files(tmp_path):
    assert read_closures(tmp_path).schema == CLOSURES_SCHEMA
    (tmp_path / "bad.csv").write_text("kind,first\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="lacks the columns"):
        read_closures(tmp_path)
