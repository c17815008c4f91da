"""Kinds and seasons of days at sites, from calendars looked up by hand."""

from datetime import date

import polars as pl
import pytest

from energy_assets.contracts import SITES
from energy_assets.features.closures import CLOSURES_SCHEMA
from energy_assets.features.site_days import SITE_DAYS, site_days


def sites(**site: object) -> pl.DataFrame:
    row = {"site_id": "s", "name": "s", "timezone": "UTC", "source": "test"} | site
    return SITES.conform(pl.DataFrame([row]))


def closure(first: date, last: date) -> pl.DataFrame:
    row = {"kind": "closure", "site_id": "s", "first_date": first, "last_date": last}
    return pl.DataFrame([row], schema=CLOSURES_SCHEMA)


@pytest.mark.parametrize(
    ("site", "day", "closures", "expected"),
    [
        pytest.param({}, date(2024, 5, 1), None, ("spring", "working"), id="no country, no holidays"),
        pytest.param({"country_code": "DE"}, date(2024, 5, 1), None, ("spring", "rest"), id="Labour Day in Germany"),
        pytest.param({"country_code": "US"}, date(2024, 5, 1), None, ("spring", "working"), id="not in America"),
        pytest.param({"country_code": "US"}, date(2024, 7, 4), None, ("summer", "rest"), id="Independence Day"),
        pytest.param({}, date(2024, 8, 31), None, ("summer", "rest"), id="a Saturday"),
        pytest.param({"latitude": -33.9}, date(2024, 9, 2), None, ("spring", "working"), id="September in Sydney"),
        pytest.param(
            {}, date(2024, 9, 2), closure(date(2024, 9, 1), date(2024, 9, 3)), ("autumn", "rest"), id="closed"
        ),
        pytest.param(
            {}, date(2024, 9, 4), closure(date(2024, 9, 1), date(2024, 9, 3)), ("autumn", "working"), id="open"
        ),
    ],
)
def test_season_and_kind(
    site: dict[str, object], day: date, closures: pl.DataFrame | None, expected: tuple[str, str]
) -> None:
    found = site_days(sites(**site), first=day, last=day, closures=closures)
    assert found.rows() == [("s", day, *expected)]


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "Pacific/Norfolk", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_every_date_is_there_once_whatever_the_clock(timezone: str) -> None:
    found = site_days(sites(timezone=timezone), first=date(2024, 1, 1), last=date(2024, 12, 31))
    assert found["local_date"].to_list() == pl.date_range(date(2024, 1, 1), date(2024, 12, 31), eager=True).to_list()


def test_no_sites_have_no_days() -> None:
    assert site_days(SITES.empty(), first=date(2024, 1, 1), last=date(2024, 1, 2)).equals(SITE_DAYS.to_frame())
