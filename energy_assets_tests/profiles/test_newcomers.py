"""The cluster that a young meter's first days point to, and when they point to none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import SITES
from energy_assets.contracts.profiles import PROFILES_CENTROIDS, PROFILES_CLUSTERS
from energy_assets.features.site_days import site_days
from energy_assets.profiles.clusters import FitSpec
from energy_assets.profiles.newcomers import peer_groups
from energy_assets.profiles.populations import assign, fit_populations
from energy_assets.profiles.vectors import vectors_of
from energy_assets_tests.anomalies.meters import readings
from energy_assets_tests.profiles.planted import AS_OF, KINDS, planted, registry

MONDAY = AS_OF
SITES_ROWS = SITES.conform(pl.DataFrame([{"site_id": "site", "name": "s", "timezone": "UTC", "source": "t"}]))
HOME, OFFICE = (np.tile(KINDS[kind][0], 2) * 7.0 for kind in ("home", "office"))


@pytest.fixture(scope="module")
def fit() -> tuple[pl.DataFrame, pl.DataFrame]:
    shapes, traits = planted({"office": 14, "home": 10})
    vectors = vectors_of(shapes, traits)
    made = fit_populations(
        vectors, traits=traits, as_of_utc=AS_OF, clusters_before=PROFILES_CLUSTERS.empty(),
        centroids_before=PROFILES_CENTROIDS.empty(), spec=FitSpec(bootstraps=4, most_clusters=4),
    )  # fmt: skip
    return assign(vectors, traits=traits, clusters=made.clusters, centroids=made.centroids), made.centroids


def groups(
    fit: tuple[pl.DataFrame, pl.DataFrame],
    kwh: dict[str, np.ndarray],
    *,
    issued_at_utc: datetime = MONDAY + timedelta(days=2),
    **about: str,
) -> dict[str, tuple[str, bool]]:
    members, centroids = fit
    rows = readings(kwh, starts_at_utc=MONDAY) if kwh else readings({"nobody": np.ones(1)}, starts_at_utc=MONDAY)
    meters = registry(*dict.fromkeys([*members["meter_id"], *kwh])).with_columns(
        **{
            name: pl.when(pl.col("meter_id") == "new").then(pl.lit(value)).otherwise(name)
            for name, value in about.items()
        }
    )
    found = peer_groups(
        rows, members=members, centroids=centroids, meters=meters, sites=SITES_ROWS,
        calendar=site_days(SITES_ROWS, first=MONDAY.date(), last=(MONDAY + timedelta(days=9)).date()),
        issued_at_utc=issued_at_utc,
    )  # fmt: skip
    return {meter: (group, provisional) for meter, group, provisional in found.iter_rows()}


def group_of(fit: tuple[pl.DataFrame, pl.DataFrame], meter: str) -> str:
    return str(dict(fit[0].select("meter_id", "cluster_id").iter_rows())[meter])


@pytest.mark.parametrize(
    ("first_days", "like"),
    [
        pytest.param(HOME[:24], "home.000", id="one day of a home"),
        pytest.param(OFFICE, "office.000", id="two days of an office"),
        pytest.param(HOME[:23], None, id="an hour of the clock was never seen"),
        pytest.param(1 / HOME[:24] ** 3, None, id="like neither"),
        pytest.param((KINDS["home"][0] / KINDS["home"][0].sum() + KINDS["office"][0] / KINDS["office"][0].sum()), None,
                     id="half one and half the other"),
        pytest.param(np.zeros(24), None, id="nothing used yet"),
        pytest.param(np.full(24, np.nan), None, id="nothing read yet"),
    ],
)  # fmt: skip
def test_the_first_days_point_to_a_cluster_or_to_none(
    fit: tuple[pl.DataFrame, pl.DataFrame], first_days: np.ndarray, like: str | None
) -> None:
    expected = None if like is None else (group_of(fit, like), True)
    assert groups(fit, {"new": first_days}).get("new") == expected


def test_meters_with_a_profile_keep_their_cluster_and_others_are_asked_no_twice(
    fit: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    members, centroids = fit
    strange = members.with_columns(
        cluster_id=pl.when(pl.col("meter_id") == "home.000").then(None).otherwise("cluster_id"),
        unassigned_because=pl.when(pl.col("meter_id") == "home.000").then(pl.lit("unlike_any_cluster")),
    )
    found = groups((strange, centroids), {"home.001": OFFICE})
    assert found["home.001"] == (group_of(fit, "home.001"), False)
    assert "home.000" not in groups((strange, centroids), {"home.000": HOME})
    few = strange.with_columns(unassigned_because=pl.lit("fewer_than_14_good_days"))
    assert groups((few, centroids), {"home.000": HOME})["home.000"] == (group_of(fit, "home.001"), True)


def test_a_fit_of_later_days_counts_for_nothing(fit: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    assert groups(fit, {"new": HOME}, issued_at_utc=MONDAY - timedelta(seconds=1)) == {}


def test_hours_that_were_not_yet_read_count_for_nothing(fit: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    a_day = MONDAY + timedelta(days=1)
    assert groups(fit, {"new": HOME}, issued_at_utc=a_day) == groups(fit, {"new": HOME[:24]}, issued_at_utc=a_day)
    assert "new" in groups(fit, {"new": HOME}, issued_at_utc=a_day)
    turned = np.concatenate([HOME[:24], OFFICE[:24] * 9])
    assert groups(fit, {"new": turned}, issued_at_utc=a_day) == groups(fit, {"new": HOME[:24]}, issued_at_utc=a_day)
    assert "new" not in groups(fit, {"new": HOME}, issued_at_utc=a_day - timedelta(minutes=1))


def test_another_commodity_has_no_peers_here(fit: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    assert "new" not in groups(fit, {"new": HOME}, commodity="steam")
    assert datetime(2026, 1, 5, tzinfo=UTC) == MONDAY  # a working day everywhere
