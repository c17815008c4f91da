"""Clusters of load profiles: K-means with K by silhouette among the fits that are stable and have no tiny cluster.

The outcome depends on the set of vectors and the set of seeds, never on their order: rows are put in the order of
their content, the restart of least inertia wins, and clusters are numbered by size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from energy_assets.profiles.vectors import Floats, Ints

Bools = Floats
_TOO_SMALL_IN_A_ROW = 3
"""After so many K with a cluster that is too small, larger ones only split further."""


class FitSpec(BaseModel):
    """How clusters are found; the defaults run as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_meters: Annotated[int, Field(ge=4)] = Field(20, description="Fewer meters are not clustered at all.")
    most_clusters: Annotated[int, Field(ge=1)] = Field(10, description="Largest K that is tried.")
    least_share: Annotated[float, Field(gt=0, lt=0.5)] = Field(0.03, description="Smallest share of a cluster.")
    least_members: Annotated[int, Field(ge=1)] = Field(4, description="Fewest meters of a cluster.")
    least_stability: Annotated[float, Field(ge=0, le=1)] = Field(
        0.6, description="Least mean Jaccard similarity of each cluster with its likeness in bootstrap refits."
    )
    least_silhouette: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.1, description="Below it the meters have no clusters worth the name, and are one."
    )
    bootstraps: Annotated[int, Field(ge=2)] = Field(20, description="Refits on meters drawn with replacement.")
    most_meters: Annotated[int, Field(ge=100)] = Field(
        4000, description="Of more meters an even selection is fitted; the rest is assigned."
    )
    outlier_factor: Annotated[float, Field(gt=1)] = Field(
        4.0, description="A meter whose third neighbour is this many times as far as usual takes no part in the fit."
    )
    reach_factor: Annotated[float, Field(ge=1)] = Field(
        1.5, description="A meter belongs to a cluster up to this many times the distance of its outer members."
    )


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Clusters of some meters, largest first.

    `centroids` [cluster, dimension]; `labels` [meter] the cluster of each row given, -1 where it took no part;
    `silhouettes`, `stabilities` and `reaches` [cluster], NaN where they are not defined; `tried` says of each K its
    silhouette, the least stability of its clusters and the smallest share.
    """

    centroids: Floats
    labels: Ints
    silhouettes: Floats
    stabilities: Floats
    reaches: Floats
    tried: tuple[dict[str, float], ...]


def fit_clusters(values: Floats, *, seeds: Sequence[int] = (0, 1, 2, 3, 4), spec: FitSpec | None = None) -> Fit | str:
    """Return clusters of vectors [meter, dimension], or why there are none."""
    spec = spec or FitSpec()
    if len(values) < spec.least_meters:
        return f"fewer_than_{spec.least_meters}_meters_with_a_profile"
    order = np.lexsort(values.T[::-1])
    fitted = order[_evenly(len(order), most=spec.most_meters)]
    fitted = fitted[~_outliers(values[fitted], factor=spec.outlier_factor)]
    rows = values[fitted]
    with _one_thread():
        best = _best(rows, seeds=sorted(set(seeds)), spec=spec)
    labels, silhouettes, stabilities, tried = best
    bigger_first = _by_size(labels)
    labels = np.argsort(bigger_first)[labels]
    centroids = np.stack([rows[labels == number].mean(axis=0) for number in range(len(bigger_first))])
    away = np.sqrt(((rows - centroids[labels]) ** 2).sum(axis=1))
    reaches = [spec.reach_factor * np.quantile(away[labels == number], 0.98) for number in range(len(centroids))]
    everywhere = np.full(len(values), -1, dtype=np.int64)
    everywhere[fitted] = labels
    return Fit(
        centroids=centroids,
        labels=everywhere,
        silhouettes=silhouettes[bigger_first],
        stabilities=stabilities[bigger_first],
        reaches=np.maximum(np.asarray(reaches), 1e-6),
        tried=tried,
    )


def _best(
    rows: Floats, *, seeds: list[int], spec: FitSpec
) -> tuple[Ints, Floats, Floats, tuple[dict[str, float], ...]]:
    """Return labels, silhouettes and stabilities of the best K that may be, and what was tried."""
    from sklearn.metrics import silhouette_samples

    least = max(spec.least_members, int(np.ceil(spec.least_share * len(rows))))
    nothing = np.full(1, np.nan)
    chosen: tuple[Ints, Floats, Floats] = np.zeros(len(rows), dtype=np.int64), nothing, nothing
    best, tried, too_small = spec.least_silhouette, [], 0
    for clusters in range(2, min(spec.most_clusters, len(rows) // least) + 1):
        labels = _k_means(rows, clusters=clusters, seeds=seeds)
        sizes = np.bincount(labels, minlength=clusters)
        row = {"clusters": float(clusters), "smallest_share": float(sizes.min() / len(rows))}
        tried.append(row)
        too_small = too_small + 1 if sizes.min() < least else 0
        if too_small == _TOO_SMALL_IN_A_ROW:
            break
        if too_small:
            continue
        each = silhouette_samples(rows, labels)
        row["silhouette"] = float(each.mean())
        if row["silhouette"] <= best:
            continue
        stabilities = _stabilities(rows, labels, clusters=clusters, bootstraps=spec.bootstraps, seed=seeds[0])
        row["least_stability"] = float(stabilities.min())
        if stabilities.min() >= spec.least_stability:
            best = row["silhouette"]
            of_cluster = np.asarray([each[labels == number].mean() for number in range(clusters)])
            chosen = labels, of_cluster, stabilities
    return *chosen, tuple(tried)


def _k_means(rows: Floats, *, clusters: int, seeds: list[int]) -> Ints:
    """Return the labels of the restart with the least inertia; of equal ones that of the smallest seed."""
    from sklearn.cluster import KMeans

    fits = [KMeans(clusters, n_init=1, random_state=seed, algorithm="lloyd").fit(rows) for seed in seeds]
    inertias = np.round([fit.inertia_ for fit in fits], 9)
    labels: Ints = fits[int(np.argmin(inertias))].labels_.astype(np.int64)
    return labels


def _stabilities(rows: Floats, labels: Ints, *, clusters: int, bootstraps: int, seed: int) -> Floats:
    """Return per cluster the mean best Jaccard similarity with the clusters of bootstrap refits (Hennig, 2007)."""
    generator = np.random.default_rng(seed)
    found = np.zeros((bootstraps, clusters))
    for number in range(bootstraps):
        drawn = np.unique(generator.integers(0, len(rows), len(rows)))
        again = _k_means(rows[drawn], clusters=clusters, seeds=[seed])
        shared = np.zeros((clusters, clusters))
        np.add.at(shared, (labels[drawn], again), 1)
        either = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None, :] - shared
        found[number] = (shared / np.maximum(either, 1)).max(axis=1)
    stabilities: Floats = found.mean(axis=0)
    return stabilities


def _outliers(rows: Floats, *, factor: float) -> Bools:
    """Return which rows have their third neighbour far away; one such meter else is a cluster of its own."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=4).fit(rows).kneighbors(rows)
    third = distances[:, 3]
    return np.asarray(third > factor * max(float(np.median(third)), 1e-6))


def _by_size(labels: Ints) -> Ints:
    """Return the cluster numbers, largest first; of equal ones the one with the first row in order of content."""
    sizes = np.bincount(labels)
    first = np.asarray([np.flatnonzero(labels == number)[0] for number in range(len(sizes))])
    return np.lexsort((first, -sizes))


def _evenly(count: int, *, most: int) -> Ints:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _one_thread() -> Any:
    """Return a context in which sums have one order, whatever else the machine does."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(limits=1)
