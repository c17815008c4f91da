"""Load profiles: the mean days of every meter, clusters of meters that are alike, and the cluster of each meter."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from energy_assets.anomalies.vocabulary import RULES
from energy_assets.contracts import (
    ANOMALIES_FLAGS,
    METERS,
    PROFILES_CENTROIDS,
    PROFILES_CLUSTERS,
    PROFILES_METERS,
    PROFILES_SHAPES,
    PROFILES_TRAITS,
    READINGS_INTERVAL,
    SITES,
    WEATHER_OBSERVED,
    Table,
    Window,
)
from energy_assets.defs.contract_checks import contract_checks
from energy_assets.defs.marts import update_usage
from energy_assets.defs.reporting import looks_of, report, run_message, table_of
from energy_assets.features.closures import read_closures
from energy_assets.features.site_days import site_days
from energy_assets.lake import Change, Lake
from energy_assets.models.experiments import log_fit
from energy_assets.models.registry import Registry
from energy_assets.profiles.clusters import FitSpec
from energy_assets.profiles.populations import SEEDS, Clusters, assign, fit_populations
from energy_assets.profiles.portraits import picture_of
from energy_assets.profiles.shapes import LOOKBACK_DAYS, Ask, lookback, shapes_of
from energy_assets.profiles.usage import cluster_members
from energy_assets.profiles.vectors import Floats, vectors_of
from energy_assets.settings import Settings
from energy_assets.sql import Query

_EXPERIMENT = "load profiles"
_LEAST_ASSIGNED, _MOST_MOVED = 0.8, 0.2
_DATA_FAULTS = [name for name, rule in RULES.items() if rule.family == "data_fault"]
_TABLES = (PROFILES_SHAPES, PROFILES_TRAITS, PROFILES_CLUSTERS, PROFILES_CENTROIDS, PROFILES_METERS)


def _spec(table: Table, deps: list[list[str]], *kinds: str) -> dg.AssetSpec:
    return dg.AssetSpec(description=table.description, deps=deps, **looks_of(table, kinds=("ducklake", *kinds)))


_READ = [each.asset_key for each in (READINGS_INTERVAL, METERS, SITES, WEATHER_OBSERVED, ANOMALIES_FLAGS)]


@dg.multi_asset(name="load_shapes", specs=[_spec(PROFILES_SHAPES, _READ), _spec(PROFILES_TRAITS, _READ)])
def load_shapes(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """The mean day of every meter per season and kind of day, and its traits, from the good days of the last year."""
    window = _last_year(lake)
    meters, sites = lake.read(METERS), lake.read(SITES)
    calendar = calendar_of_sites(sites, window=window, settings=settings)
    with asking(lake) as ask:
        made = shapes_of(
            ask, meters=meters, sites=sites, calendar=calendar, window=window, data_faults=_DATA_FAULTS
        )  # fmt: skip
    commit = lake.commit(
        [Change(table=PROFILES_SHAPES, rows=made.cells), Change(table=PROFILES_TRAITS, rows=made.traits)],
        message=run_message(context),
    )
    without = made.traits.drop_nulls("unusable_because")
    yield report(commit, PROFILES_SHAPES, days=LOOKBACK_DAYS)
    yield report(commit, PROFILES_TRAITS, without_a_profile=without.group_by("unusable_because").len())


@dg.multi_asset(
    name="profile_clusters",
    specs=[
        _spec(table, [PROFILES_SHAPES.asset_key, PROFILES_TRAITS.asset_key], "sklearn", "mlflow")
        for table in (PROFILES_CLUSTERS, PROFILES_CENTROIDS)
    ],
)
def profile_clusters(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
) -> Iterator[dg.MaterializeResult[None]]:
    """Meters of a commodity and direction that use energy alike; a cluster keeps its number while its shape stays."""
    traits = lake.read(PROFILES_TRAITS)
    as_of = _as_of(traits)
    made = fit_populations(
        vectors_of(lake.read(PROFILES_SHAPES), traits),
        traits=traits,
        as_of_utc=as_of,
        clusters_before=lake.read(PROFILES_CLUSTERS),
        centroids_before=lake.read(PROFILES_CENTROIDS),
    )
    made, pictures = _logged(made, registry=registry, snapshot_id=lake.snapshot_id(), as_of=as_of)
    commit = lake.commit(
        [
            Change(table=PROFILES_CLUSTERS, rows=made.clusters, where={"as_of_utc": as_of}),
            Change(table=PROFILES_CENTROIDS, rows=made.centroids, where={"as_of_utc": as_of}),
        ],
        message=run_message(context),
    )
    shown = made.clusters.select("cluster_id", "name", "meters", "share", "silhouette", "stability", "origin")
    yield report(commit, PROFILES_CLUSTERS, clusters=shown, tried=made.tried, without_clusters=made.without, **pictures)
    yield report(commit, PROFILES_CENTROIDS)


@dg.asset(
    **looks_of(PROFILES_METERS),
    description=PROFILES_METERS.description,
    deps=[each.asset_key for each in (PROFILES_SHAPES, PROFILES_TRAITS, PROFILES_CLUSTERS, PROFILES_CENTROIDS)],
)
def profile_meters(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """The cluster of every meter by the newest fit; a meter that is like none, or has too few good days, has none."""
    traits = lake.read(PROFILES_TRAITS)
    before = lake.read(PROFILES_METERS).sort("meter_id")
    rows = assign(
        vectors_of(lake.read(PROFILES_SHAPES), traits),
        traits=traits,
        clusters=lake.read(PROFILES_CLUSTERS),
        centroids=lake.read(PROFILES_CENTROIDS),
    )
    _rebuild_clusters_usage(lake, settings, before=before, after=rows, message=run_message(context))
    commit = lake.replace(PROFILES_METERS, rows, message=run_message(context))
    by_cluster = rows.group_by(pl.coalesce("cluster_id", "unassigned_because").alias("cluster")).len()
    return report(
        commit, PROFILES_METERS, by_cluster=by_cluster.sort("len", descending=True), moved_share=moved(before, rows)
    )


def calendar_of_sites(sites: pl.DataFrame, *, window: Window, settings: Settings) -> pl.DataFrame:
    """Return the season and kind of every local day that a window touches at any site, declared closures included."""
    around = window.padded(before=timedelta(days=1), after=timedelta(days=1))
    return site_days(
        sites,
        first=around.starts_at_utc.date(),
        last=around.ends_at_utc.date(),
        closures=read_closures(settings.calendar_folder) if settings.calendar_folder else None,
    )


@contextmanager
def asking(lake: Lake) -> Iterator[Ask]:
    """Yield what runs a query on one connection of the lake, with frames as tables."""
    with lake.session() as session:

        def ask(query: Query, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
            for name, frame in frames.items():
                session.register(name, frame)
            return query.frame(session)

        yield ask


def moved(before: pl.DataFrame, after: pl.DataFrame) -> float:
    """Return the share of the meters with a cluster before and after that are in another one than before."""
    both = before.select("meter_id", was="cluster_id").join(after.select("meter_id", "cluster_id"), on="meter_id")
    known = both.drop_nulls()
    return float((known["was"] != known["cluster_id"]).mean() or 0.0) if known.height else 0.0  # type: ignore[arg-type]


def _rebuild_clusters_usage(
    lake: Lake, settings: Settings, *, before: pl.DataFrame, after: pl.DataFrame, message: str
) -> None:
    """Add up the clusters' energy anew for all days that the usage tables hold, if a meter changed its cluster.

    Before the new clusters are written: a run that ends in between is made up for by the next one.
    """
    columns = ["meter_id", "cluster_id"]
    if before.drop_nulls("cluster_id").select(columns).equals(after.drop_nulls("cluster_id").select(columns)):
        return
    span = lake.query(Query.from_file("energy_assets.defs", "usage_span")).row(0)
    if span[0] is None:
        return
    update_usage(
        lake,
        settings,
        window=Window.of_days(span[0].astimezone(UTC).date(), span[1].astimezone(UTC).date()),
        members=cluster_members(after, meters=lake.read(METERS)),
        kinds=("cluster",),
        message=message,
    )


def _last_year(lake: Lake) -> Window:
    newest = lake.query(Query.from_file("energy_assets.defs", "newest_interval")).item()
    day = (newest or datetime(1971, 1, 1, tzinfo=UTC)).astimezone(UTC).date()
    return lookback(newest=Window.of_days(day))


def _as_of(traits: pl.DataFrame) -> datetime:
    found = traits["as_of_utc"].max()
    return found if isinstance(found, datetime) else datetime(1971, 1, 1, tzinfo=UTC)


def _logged(
    made: Clusters, *, registry: Registry, snapshot_id: int, as_of: datetime
) -> tuple[Clusters, dict[str, dg.MarkdownMetadataValue]]:
    """Return the clusters with their MLflow run, and a picture per population for the UI."""
    if made.clusters.is_empty():
        return made, {}
    files: dict[str, str | bytes] = {"tried.csv": made.tried.write_csv(), "clusters.csv": made.clusters.write_csv()}
    figures: dict[str, float] = {}
    pictures = {}
    for (commodity, direction), rows in made.clusters.partition_by("commodity", "direction", as_dict=True).items():
        name = f"{commodity}_{direction}"
        middles = [_centroid(made.centroids, cluster_id) for cluster_id in rows["cluster_id"]]
        titles = [
            f"{cluster_id.rsplit('.', 1)[1]}   {words}\n{meters} meters, {share:.0%}"
            for cluster_id, words, meters, share in rows.select("cluster_id", "name", "meters", "share").iter_rows()
        ]
        heading = f"{commodity} {direction}".replace("_", " ")
        picture = picture_of(middles, titles=titles, heading=heading)
        files[f"centroids/{name}.png"] = picture
        shown = base64.b64encode(picture).decode()
        pictures[f"centroids_{name}"] = dg.MetadataValue.md(f"![{name}](data:image/png;base64,{shown})")
        figures[f"{name}/clusters"] = rows.height
        for figure in ("silhouette", "stability"):
            mean = rows.select((pl.col(figure) * pl.col("share")).sum()).item()
            figures |= {f"{name}/{figure}": mean} if rows[figure].null_count() == 0 else {}
    run_id = log_fit(
        registry,
        experiment=_EXPERIMENT,
        title=f"load profiles to {as_of - timedelta(days=1):%Y-%m-%d}",
        parameters={**FitSpec().model_dump(), "lookback_days": LOOKBACK_DAYS, "seeds": SEEDS},
        figures=figures,
        tags={"lake_snapshot_id": str(snapshot_id), "as_of_utc": as_of.isoformat()},
        files=files,
    )
    with_run = made.clusters.with_columns(run_id=pl.lit(run_id))
    return Clusters(clusters=with_run, centroids=made.centroids, without=made.without, tried=made.tried), pictures


def _centroid(centroids: pl.DataFrame, cluster_id: str) -> Floats:
    return centroids.filter(pl.col("cluster_id") == cluster_id).sort("position")["value"].to_numpy()


@dg.asset_check(asset=PROFILES_METERS.asset_key, name="most_meters_with_a_profile_have_a_cluster")
def most_meters_with_a_profile_have_a_cluster(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Four fifths of the meters whose kind is clustered are within reach of a cluster; fewer ask for a new fit."""
    rows = lake.read(PROFILES_METERS).filter(
        pl.col("cluster_id").is_not_null() | (pl.col("unassigned_because") == "unlike_any_cluster")
    )
    share = rows["cluster_id"].count() / rows.height if rows.height else 1.0
    return dg.AssetCheckResult(
        passed=share >= _LEAST_ASSIGNED,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{share:.0%} of {rows.height} meters are within reach of a cluster",
    )


@dg.asset_check(asset=PROFILES_CLUSTERS.asset_key, name="clusters_keep_their_numbers")
def clusters_keep_their_numbers(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Most meters are in clusters that carry on from the fit before; else what people knew by its number is gone."""
    clusters = lake.read(PROFILES_CLUSTERS)
    fits = clusters["as_of_utc"].unique().sort()
    newest = clusters.filter(pl.col("as_of_utc") == pl.lit(fits[-1])) if len(fits) > 1 else clusters.head(0)
    new = float(newest.select(pl.col("share").filter(pl.col("origin") == "new").sum() / pl.col("share").sum()).item())
    new = new if newest.height else 0.0
    return dg.AssetCheckResult(
        passed=new <= _MOST_MOVED,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{new:.0%} of the meters are in new clusters" if newest.height else "there is no fit before",
        metadata={"clusters": table_of(newest.select("cluster_id", "name", "meters", "origin"))},
    )


checks = [*contract_checks(_TABLES), most_meters_with_a_profile_have_a_cluster, clusters_keep_their_numbers]
