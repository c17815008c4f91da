"""The clusters of a whole portfolio: one fit per commodity and direction, named after the fit before it; assignment.

Meters of different commodities are never compared. A meter belongs to the nearest cluster of its population if it is
within its reach; else it stays unassigned and says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from energy_assets.contracts.profiles import PROFILES_CENTROIDS, PROFILES_CLUSTERS, PROFILES_METERS
from energy_assets.profiles.clusters import Fit, FitSpec, fit_clusters
from energy_assets.profiles.matching import match
from energy_assets.profiles.portraits import words_of
from energy_assets.profiles.vectors import DIMENSIONS, PARTS, TRAITS, Floats, Vectors

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Rows of `profiles.clusters` and `profiles.centroids` of one fit; why a population has none; what K was tried."""

    clusters: pl.DataFrame
    centroids: pl.DataFrame
    without: Mapping[str, str]
    tried: pl.DataFrame


def fit_populations(
    vectors: Vectors,
    *,
    traits: pl.DataFrame,
    as_of_utc: datetime,
    clusters_before: pl.DataFrame,
    centroids_before: pl.DataFrame,
    seeds: Sequence[int] = SEEDS,
    spec: FitSpec | None = None,
) -> Clusters:
    """Return the clusters of every population of `traits` (rows of `profiles.traits`).

    `clusters_before` and `centroids_before` are all rows of the two tables; fits as of this time or later count for
    nothing, so that a fit that is made again gets the names that it had.
    """
    earlier = pl.col("as_of_utc") < as_of_utc
    clusters_before, centroids_before = clusters_before.filter(earlier), centroids_before.filter(earlier)
    clusters, centroids = [PROFILES_CLUSTERS.empty()], [PROFILES_CENTROIDS.empty()]
    without: dict[str, str] = {}
    tried: list[dict[str, object]] = []
    for (commodity, direction), group in _populations(traits):
        population = f"{commodity}.{direction}"
        fit = fit_clusters(vectors.of(group["meter_id"]).values, seeds=seeds, spec=spec)
        if isinstance(fit, str):
            without[population] = fit
            continue
        rows = _clusters_of(fit, population=population, before=clusters_before, centroids_before=centroids_before)
        rows = rows.with_columns(as_of_utc=pl.lit(as_of_utc), commodity=pl.lit(commodity), direction=pl.lit(direction))
        clusters.append(PROFILES_CLUSTERS.conform(rows))
        centroids.append(_centroid_rows(rows["cluster_id"].to_list(), fit.centroids, as_of_utc=as_of_utc))
        tried += [{"population": population, **row} for row in fit.tried]
    schema = {"population": pl.String} | dict.fromkeys(
        ("clusters", "smallest_share", "silhouette", "least_stability"), pl.Float64
    )
    return Clusters(
        clusters=pl.concat(clusters),
        centroids=pl.concat(centroids),
        without=without,
        tried=pl.DataFrame(tried, schema=schema),
    )


def assign(vectors: Vectors, *, traits: pl.DataFrame, clusters: pl.DataFrame, centroids: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `profiles.meters` for every meter of `traits`, by the newest fit of its population.

    `clusters` and `centroids` are rows of the two tables, of any fits.
    """
    parts = [PROFILES_METERS.empty()]
    for (commodity, direction), group in _populations(traits):
        population = f"{commodity}.{direction}"
        known = _newest(clusters.filter(pl.col("commodity") == commodity, pl.col("direction") == direction))
        middles, ids = _matrix(_newest(centroids.filter(pl.col("cluster_id").is_in(known["cluster_id"].implode()))))
        here = vectors.of(group["meter_id"])
        found = _nearest(here, middles=middles, ids=ids, reaches=known)
        rows = group.select("meter_id", "site_id", "unusable_because", "as_of_utc").join(
            found, on="meter_id", how="left", validate="1:1"
        )
        far = pl.col("distance") > pl.col("reach")
        no_cluster = pl.lit(f"no_clusters_of_{population}") if known.is_empty() else pl.lit(None, dtype=pl.String)
        reason = (
            pl.when(pl.col("unusable_because").is_not_null())
            .then("unusable_because")
            .when(no_cluster.is_not_null())
            .then(no_cluster)
            .when(far)
            .then(pl.lit("unlike_any_cluster"))
        )
        rows = rows.with_columns(unassigned_because=reason).with_columns(
            cluster_id=pl.when(pl.col("unassigned_because").is_null()).then("nearest_cluster_id")
        )
        fitted = known["as_of_utc"].max() if known.height else None
        rows = rows.with_columns(fitted_as_of_utc=pl.lit(fitted, dtype=PROFILES_METERS.column("as_of_utc").dtype))
        parts.append(PROFILES_METERS.conform(rows.select(PROFILES_METERS.column_names)))
    return pl.concat(parts).sort("meter_id")


def _populations(traits: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    groups = traits.sort("meter_id").partition_by("commodity", "direction", as_dict=True)
    return sorted(((str(commodity), str(direction)), group) for (commodity, direction), group in groups.items())


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("as_of_utc") == pl.col("as_of_utc").max())


def _clusters_of(fit: Fit, *, population: str, before: pl.DataFrame, centroids_before: pl.DataFrame) -> pl.DataFrame:
    """Return the clusters of a fit with identifiers that continue those of the fit before."""
    ours = pl.col("cluster_id").str.starts_with(f"{population}.")
    middles, ids = _matrix(_newest(centroids_before.filter(ours)))
    named = match(
        fit.centroids,
        before=middles,
        numbers_before=[_number_of(each) for each in ids],
        used=[_number_of(each) for each in before.filter(ours)["cluster_id"]],
    )
    sizes = np.bincount(fit.labels[fit.labels >= 0], minlength=len(fit.centroids))
    return pl.DataFrame(
        {
            "cluster_id": [f"{population}.{number}" for number in named.numbers],
            "name": [words_of(centroid) for centroid in fit.centroids],
            "meters": sizes,
            "share": sizes / sizes.sum(),
            "clusters": np.full(len(sizes), len(sizes)),
            "silhouette": pl.Series(fit.silhouettes, nan_to_null=True, dtype=pl.Float64),
            "stability": pl.Series(fit.stabilities, nan_to_null=True, dtype=pl.Float64),
            "reach": fit.reaches,
            "origin": ["matched" if each else "new" for each in named.is_matched],
        }
    )


def _number_of(cluster_id: str) -> int:
    return int(cluster_id.rsplit(".", 1)[1])


def _centroid_rows(ids: list[str], centroids: Floats, *, as_of_utc: datetime) -> pl.DataFrame:
    places = pl.DataFrame(
        {
            "position": range(DIMENSIONS),
            "part": ["shape"] * len(PARTS) + list(TRAITS),
            "season": [season for season, _, _ in PARTS] + [None] * len(TRAITS),
            "day_kind": [kind for _, kind, _ in PARTS] + [None] * len(TRAITS),
            "local_hour": [hour for _, _, hour in PARTS] + [None] * len(TRAITS),
        }
    )
    rows = [
        places.with_columns(cluster_id=pl.lit(cluster_id), as_of_utc=pl.lit(as_of_utc), value=pl.Series(centroid))
        for cluster_id, centroid in zip(ids, centroids, strict=True)
    ]
    return PROFILES_CENTROIDS.conform(pl.concat(rows).select(PROFILES_CENTROIDS.column_names))


def _matrix(centroids: pl.DataFrame) -> tuple[Floats, list[str]]:
    """Return the centroids of one fit as [cluster, dimension] and their identifiers."""
    ids = centroids["cluster_id"].unique().sort().to_list()
    ordered = centroids.sort("cluster_id", "position")["value"].to_numpy()
    return ordered.reshape(len(ids), DIMENSIONS), ids


def _nearest(vectors: Vectors, *, middles: Floats, ids: list[str], reaches: pl.DataFrame) -> pl.DataFrame:
    """Return per meter the nearest cluster, its distance and reach, and how much farther the second nearest is."""
    schema = {"meter_id": pl.String, "nearest_cluster_id": pl.String, "distance": pl.Float64, "certainty": pl.Float64}
    if not ids or not vectors.meter_ids:
        return pl.DataFrame(schema=schema | {"reach": pl.Float64})
    squares = (vectors.values**2).sum(axis=1)[:, None] + (middles**2).sum(axis=1)[None, :]
    distance = np.sqrt(np.maximum(squares - 2 * vectors.values @ middles.T, 0))
    nearest = distance.argmin(axis=1)
    ranked = np.sort(distance, axis=1)
    second = ranked[:, 1] if len(ids) > 1 else np.full(len(ranked), np.inf)
    found = pl.DataFrame(
        {
            "meter_id": vectors.meter_ids,
            "nearest_cluster_id": [ids[each] for each in nearest],
            "distance": ranked[:, 0],
            "certainty": np.clip(1 - ranked[:, 0] / np.maximum(second, 1e-12), 0, 1),
        },
        schema=schema,
    )
    return found.join(
        reaches.select(nearest_cluster_id="cluster_id", reach="reach"), on="nearest_cluster_id", validate="m:1"
    )
