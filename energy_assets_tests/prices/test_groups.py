"""Groups that are declared by clusters, worked by hand, and what holds without profiles."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import METERS, PROFILES_METERS, PROFILES_SHAPES, SITES
from energy_assets.defs.prices import zones_of_day
from energy_assets.errors import ConfigError
from energy_assets.lake import Lake
from energy_assets.prices.days import read_forecast
from energy_assets.prices.groups import with_profiles
from energy_assets.prices.response import linear_response
from energy_assets.prices.zones import ProfileGroup, ZoneConfig, load_zone
from energy_assets.settings import Settings
from energy_assets_tests.prices.strategies import DAY, net_load
from energy_assets_tests.profiles.planted import AS_OF, planted, registry

OFFICES = ProfileGroup(name="offices", clusters=("c.1",), own_elasticity=0.05)
REST = ProfileGroup(name="rest", own_elasticity=0.2, share=5.0)
ZONE = ZoneConfig(zone_id="site", groups=(OFFICES, REST))


SHAPES = planted({"office": 1, "home": 1}, noise=0.0)[0]
METERS_HERE = registry("office.000", "home.000")


def members(**clusters: str | None) -> pl.DataFrame:
    rows = [{"meter_id": f"{kind}.000", "site_id": "site", "cluster_id": each} for kind, each in clusters.items()]
    return PROFILES_METERS.conform(pl.DataFrame(rows).with_columns(as_of_utc=pl.lit(AS_OF)))


def level(meter: str, hour: int, kind: str = "working") -> float:
    where = SHAPES.filter(pl.col("meter_id") == meter, pl.col("local_hour") == hour, pl.col("day_kind") == kind)
    return float(where["mean_kw"][0])


def filled(zone: ZoneConfig = ZONE, *, day_kind: str = "working", **clusters: str | None) -> ZoneConfig:
    return with_profiles(
        zone, meters=METERS_HERE, members=members(**clusters), shapes=SHAPES, season="winter", day_kind=day_kind
    )


def test_share_and_hours_of_a_group_are_those_of_its_meters() -> None:
    offices, rest = filled(office="c.1", home="c.2").groups
    mean = {meter: sum(level(meter, hour) for hour in range(24)) / 24 for meter in ("office.000", "home.000")}
    assert offices.share == pytest.approx(mean["office.000"] / sum(mean.values()))
    assert rest.share == pytest.approx(mean["home.000"] / sum(mean.values()))
    # An office uses 10 of 18 hours out of 24, 2 else: a mean of (10 * 10 + 14 * 2) / 24 = 16 / 3.
    assert offices.hourly_weights[12] == pytest.approx(10 / (16 / 3))  # type: ignore[index]
    assert offices.hourly_weights[3] == pytest.approx(2 / (16 / 3))  # type: ignore[index]
    assert (offices.own_elasticity, rest.own_elasticity) == (0.05, 0.2)


def test_a_day_of_rest_has_its_own_shares() -> None:
    working, rest = (filled(office="c.1", home="c.2", day_kind=kind).groups[0] for kind in ("working", "rest"))
    assert rest.share < working.share
    assert rest.hourly_weights == pytest.approx([1.0] * 24)


def test_a_meter_without_a_cluster_is_one_of_the_rest() -> None:
    assert filled(office="c.1", home=None).groups == filled(office="c.1", home="c.2").groups


@pytest.mark.parametrize(
    ("zone", "clusters"),
    [
        pytest.param(ZoneConfig(zone_id="site"), {"office": "c.1", "home": "c.2"}, id="no cluster is named"),
        pytest.param(ZONE, {"office": None, "home": None}, id="no meter has a profile"),
        pytest.param(ZONE, {"office": "c.8", "home": "c.9"}, id="other clusters than those named"),
        pytest.param(ZONE.model_copy(update={"zone_id": "elsewhere"}), {"office": "c.1"}, id="another site"),
    ],
)
def test_what_the_file_says_holds(zone: ZoneConfig, clusters: dict[str, str | None]) -> None:
    assert filled(zone, **clusters) == zone


def test_a_group_without_meters_here_is_left_out() -> None:
    nobody = ProfileGroup(name="bakeries", clusters=("c.3",))
    zone = ZONE.model_copy(update={"groups": (OFFICES, nobody, REST)})
    assert [group.name for group in filled(zone, office="c.1", home="c.2").groups] == ["offices", "rest"]


def test_the_noon_of_offices_answers_less_than_the_evening_of_homes() -> None:
    """Own elasticity of the zone at an hour is the mean of the groups' by their load at that hour."""
    zone = filled(office="c.1", home="c.2")
    day = read_forecast(net_load([10.0] * 24, zone=zone), zone=zone, delivery_date=DAY)
    slopes = linear_response(zone, day=day).own * zone.flat_rate / 10.0
    for hour in (12, 19):
        office, home = level("office.000", hour), level("home.000", hour)
        assert slopes[hour] == pytest.approx((0.05 * office + 0.2 * home) / (office + home))
    assert slopes[12] < slopes[19]


def test_the_night_takes_the_groups_of_its_day_from_the_lake(lake: Lake, tmp_path: Path) -> None:
    site = {"site_id": "site", "name": "s", "timezone": "Europe/Berlin", "country_code": "DE", "source": "t"}
    sites = SITES.conform(pl.DataFrame([site]))
    lake.replace(METERS, METERS_HERE)
    lake.replace(PROFILES_SHAPES, SHAPES)
    plain, settings = ZoneConfig(zone_id="plain"), Settings(home=tmp_path)

    def night(day: date) -> list[ZoneConfig]:
        return zones_of_day(lake, [plain, ZONE], sites=sites, delivery_date=day, settings=settings)

    assert night(DAY) == [plain, ZONE]
    lake.replace(PROFILES_METERS, members(office="c.1", home="c.2"))
    # Whit Monday is one of rest in Germany, the Tuesday after it is not.
    assert night(date(2026, 5, 25))[1].groups == with_profiles(
        ZONE, meters=METERS_HERE, members=members(office="c.1", home="c.2"), shapes=SHAPES, season="spring",
        day_kind="rest",
    ).groups  # fmt: skip
    monday, tuesday = night(date(2026, 5, 25)), night(date(2026, 5, 26))
    assert monday[1].groups[0].share < tuesday[1].groups[0].share
    assert monday[0] == plain


def test_a_file_names_clusters_once(tmp_path: Path) -> None:
    text = (
        '[[groups]]\nname = "a"\nclusters = ["c.1"]\nown_elasticity = 0.05\n[[groups]]\nname = "b"\nclusters = ["{}"]\n'
    )
    file = tmp_path / "zone.toml"
    file.write_text(text.format("c.2"))
    assert [group.clusters for group in load_zone(file).groups] == [("c.1",), ("c.2",)]
    file.write_text(text.format("c.1"))
    with pytest.raises(ConfigError, match=r"'c\.1' is in two groups"):
        load_zone(file)
