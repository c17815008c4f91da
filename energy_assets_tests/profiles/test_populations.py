"""Clusters: what was planted is found, names stay, order means nothing, and who fits nowhere is told so."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.contracts.profiles import PROFILES_CENTROIDS, PROFILES_CLUSTERS
from energy_assets.profiles.clusters import FitSpec, fit_clusters
from energy_assets.profiles.matching import match
from energy_assets.profiles.populations import Clusters, assign, fit_populations
from energy_assets.profiles.vectors import DIMENSIONS, PARTS, vectors_of
from energy_assets_tests.profiles.planted import AS_OF, planted

World = tuple[pl.DataFrame, pl.DataFrame, Clusters]
COUNTS = {"office": 14, "home": 10, "bakery": 8}
SPEC = FitSpec(bootstraps=4, most_clusters=5)


def fitted(shapes: pl.DataFrame, traits: pl.DataFrame, *, before: Clusters | None = None, weeks: int = 0) -> Clusters:
    as_of = AS_OF + timedelta(weeks=weeks)
    return fit_populations(
        vectors_of(shapes, traits),
        traits=traits,
        as_of_utc=as_of,
        clusters_before=PROFILES_CLUSTERS.empty() if before is None else before.clusters,
        centroids_before=PROFILES_CENTROIDS.empty() if before is None else before.centroids,
        spec=SPEC,
    )


def clusters_of(shapes: pl.DataFrame, traits: pl.DataFrame, made: Clusters) -> dict[str, str | None]:
    rows = assign(vectors_of(shapes, traits), traits=traits, clusters=made.clusters, centroids=made.centroids)
    return dict(rows.select("meter_id", "cluster_id").iter_rows())


@pytest.fixture(scope="module")
def world() -> World:
    shapes, traits = planted(COUNTS)
    return shapes, traits, fitted(shapes, traits)


def test_vectors_have_unit_length_and_the_scale_of_a_meter_is_gone() -> None:
    shapes, traits = planted({"office": 2}, noise=0.0)
    vectors = vectors_of(shapes, traits)
    assert vectors.values.shape == (2, DIMENSIONS)
    assert np.linalg.norm(vectors.values[:, : len(PARTS)], axis=1) == pytest.approx([1, 1])
    assert vectors.values[0] == pytest.approx(vectors.values[1], abs=1e-8)


def test_a_season_that_is_not_known_is_filled_with_the_meters_own_days() -> None:
    shapes, traits = planted({"office": 1}, noise=0.0)
    whole = vectors_of(shapes, traits).values
    without = shapes.filter(pl.col("season") == "spring", pl.col("day_kind") == "working")
    only_spring = vectors_of(without, traits).values
    working = np.asarray([kind == "working" for _, kind, _ in PARTS])
    ratio = only_spring[0, : len(PARTS)][working] / whole[0, : len(PARTS)][working]
    assert ratio == pytest.approx(np.full(working.sum(), ratio[0]))


def test_what_was_planted_is_found(world: World) -> None:
    shapes, traits, made = world
    found = clusters_of(shapes, traits, made)
    assert {kind: {found[m] for m in found if m.startswith(kind)} for kind in COUNTS} == {
        "office": {"electricity.consumption.1"},
        "home": {"electricity.consumption.2"},
        "bakery": {"electricity.consumption.3"},
    }
    assert made.clusters["meters"].to_list() == [14, 10, 8]
    assert made.clusters["stability"].min() > 0.9  # type: ignore[operator]
    names = made.clusters["name"].to_list()
    assert "quiet weekends" in names[0]
    assert "evening" in names[1]
    assert "night" in names[2]


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_of_seeds_means_anything(random: object) -> None:
    shapes, traits = planted({"office": 12, "home": 12}, seed=3, noise=0.3)
    values = vectors_of(shapes, traits).values
    order = list(range(len(values)))
    seeds = [0, 1, 2]
    random.shuffle(order)  # type: ignore[attr-defined]
    random.shuffle(seeds)  # type: ignore[attr-defined]
    plain = fit_clusters(values, seeds=[0, 1, 2], spec=SPEC)
    shuffled = fit_clusters(values[order], seeds=seeds, spec=SPEC)
    assert not isinstance(plain, str)
    assert not isinstance(shuffled, str)
    assert shuffled.labels.tolist() == plain.labels[order].tolist()
    assert np.array_equal(shuffled.centroids, plain.centroids)


def test_names_stay_when_sizes_change_and_a_new_kind_gets_a_new_number(
    world: World,
) -> None:
    _, _, first = world
    # Now bakeries are most and homes are gone: by size alone the numbers would change places.
    shapes, traits = planted({"bakery": 20, "office": 6}, seed=9)
    second = fitted(shapes, traits, before=first, weeks=1)
    found = clusters_of(shapes, traits, second)
    assert found["bakery.000"] == "electricity.consumption.3"
    assert found["office.000"] == "electricity.consumption.1"
    assert second.clusters["origin"].unique().to_list() == ["matched"]
    third_shapes, third_traits = planted({"bakery": 12, "home": 12}, seed=10)
    history = Clusters(
        clusters=pl.concat([first.clusters, second.clusters]), centroids=pl.concat([first.centroids, second.centroids]),
        without={}, tried=first.tried,
    )  # fmt: skip
    third = fitted(third_shapes, third_traits, before=history, weeks=2)
    # Homes were not in the fit before; number 2 was theirs once and is given to nobody else.
    assert sorted(third.clusters["cluster_id"]) == ["electricity.consumption.3", "electricity.consumption.4"]


def test_a_fit_that_is_made_again_gets_the_names_that_it_had(
    world: World,
) -> None:
    shapes, traits, first = world
    again = fitted(shapes, traits, before=first)
    assert again.clusters.equals(first.clusters)
    assert again.centroids.equals(first.centroids)


def test_a_meter_that_is_like_none_is_unassigned_and_says_so(
    world: World,
) -> None:
    _, _, made = world
    shapes, traits = planted({"office": 1, "home": 1})
    upside_down = shapes.with_columns(
        mean_kw=pl.when(pl.col("meter_id") == "home.000").then(1 / (pl.col("mean_kw") ** 3)).otherwise("mean_kw")
    )
    rows = assign(vectors_of(upside_down, traits), traits=traits, clusters=made.clusters, centroids=made.centroids)
    strange = rows.filter(pl.col("meter_id") == "home.000").row(0, named=True)
    assert (strange["cluster_id"], strange["unassigned_because"]) == (None, "unlike_any_cluster")
    assert strange["nearest_cluster_id"] is not None
    assert rows.filter(pl.col("meter_id") == "office.000")["cluster_id"].item() == "electricity.consumption.1"


def test_meters_without_profile_or_population_say_why(world: World) -> None:
    shapes, traits, made = world
    traits = traits.with_columns(
        unusable_because=pl.when(pl.col("meter_id") == "office.000").then(pl.lit("no_energy")),
        commodity=pl.when(pl.col("meter_id") == "office.001").then(pl.lit("steam")).otherwise("commodity"),
    )
    rows = assign(vectors_of(shapes, traits), traits=traits, clusters=made.clusters, centroids=made.centroids)
    reasons = dict(rows.select("meter_id", "unassigned_because").iter_rows())
    assert reasons["office.000"] == "no_energy"
    assert reasons["office.001"] == "no_clusters_of_steam.consumption"
    assert reasons["office.002"] is None


def test_few_meters_are_not_clustered() -> None:
    shapes, traits = planted({"office": 10, "home": 9})
    assert fitted(shapes, traits).without == {"electricity.consumption": "fewer_than_20_meters_with_a_profile"}


def test_meters_without_structure_are_one_cluster() -> None:
    values = np.random.default_rng(0).normal(0, 0.01, (60, DIMENSIONS))
    fit = fit_clusters(values, spec=SPEC)
    assert not isinstance(fit, str)
    assert len(fit.centroids) == 1
    assert np.isnan(fit.silhouettes).all()


def test_clusters_that_do_not_come_back_in_refits_are_not_chosen() -> None:
    """Along a ring there is no place to cut: the silhouette likes small pieces, which do not come back."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    values = np.zeros((60, DIMENSIONS))
    values[:, 0], values[:, 1] = np.cos(angle), np.sin(angle)
    unchecked = fit_clusters(values, spec=SPEC.model_copy(update={"least_stability": 0.0, "bootstraps": 20}))
    checked = fit_clusters(values, spec=SPEC.model_copy(update={"least_stability": 0.8, "bootstraps": 20}))
    assert not isinstance(unchecked, str)
    assert not isinstance(checked, str)
    assert len(checked.centroids) < len(unchecked.centroids)
    assert unchecked.stabilities.min() < 0.8 <= np.nan_to_num(checked.stabilities, nan=1.0).min()


def test_one_strange_meter_makes_no_cluster_and_no_cluster_is_tiny() -> None:
    shapes, traits = planted({"office": 30, "home": 30, "bakery": 1}, seed=4)
    vectors = vectors_of(shapes, traits)
    fit = fit_clusters(vectors.values, spec=SPEC)
    assert not isinstance(fit, str)
    assert len(fit.centroids) == 2
    assert fit.labels[vectors.meter_ids.index("bakery.000")] == -1


@pytest.mark.parametrize(
    ("new", "before", "numbers", "expected"),
    [
        pytest.param([[0.0], [1.0]], [[1.05], [0.1]], [4, 7], (7, 4), id="each to its like"),
        pytest.param([[0.0], [0.2]], [[0.1]], [5], (5, 6), id="one for two: the other is new"),
        pytest.param([[0.0]], [[0.5]], [2], (3,), id="too far is no match"),
        # Greedily 0.3 would take 0.35 (0.05 away) and leave 0.5 to 0.0 (0.5 away: lost). Together nothing is lost.
        pytest.param([[0.3], [0.5]], [[0.35], [0.05]], [1, 2], (2, 1), id="the least total distance"),
    ],
)
def test_matching(
    new: list[list[float]], before: list[list[float]], numbers: list[int], expected: tuple[int, ...]
) -> None:
    named = match(np.asarray(new), before=np.asarray(before), numbers_before=numbers, used=numbers)
    assert named.numbers == expected
