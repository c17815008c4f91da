"""A published forecast explained: what the lake and the registry still hold of how it was made, slot by slot.

On demand and for one node: for every meter every night it would cost more than the forecasts themselves.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from energy_assets.contracts import FORECASTS_LOAD, FORECASTS_RECIPES, METERS, SITES, UTC_TIME, Window
from energy_assets.defs.features import stored_features
from energy_assets.defs.following import followers_of
from energy_assets.defs.partitions import issue_time
from energy_assets.errors import LakeError
from energy_assets.forecasts.analogues import analogue_quantiles
from energy_assets.forecasts.explaining import AsPublished, by_clock, kinds_of
from energy_assets.forecasts.ladder import Predictor
from energy_assets.forecasts.learning import learned_of
from energy_assets.forecasts.nodes import memberships
from energy_assets.lake import Lake
from energy_assets.models.archive import FULL, WITHOUT_WEATHER
from energy_assets.models.explaining import BASE, GROUPS, background_of, explain
from energy_assets.models.registry import LoadedModel, Registry
from energy_assets.sql import Query

REST = "rest"
"""What is left where the lake no longer holds what a forecast was made from; nothing else is."""
PARTS = (BASE, *GROUPS, REST)
_COMPARED_DAYS = 14
_MOST_MEMBERS = 60
_COMPARED_METERS = 16
_NOTHING = pl.DataFrame(
    schema={"meter_id": pl.String, "starts_at_utc": UTC_TIME, **dict.fromkeys((BASE, *GROUPS), pl.Float64)}
)
_VARIANTS = {"champion": FULL, "without_weather": WITHOUT_WEATHER}


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A node's forecast of one issue: starts_at_utc, q10, q50, q90 and PARTS in kWh, which add up to q50."""

    node_id: str
    issued_at_utc: datetime
    timezone: str
    rows: pl.DataFrame
    made_by: tuple[str, ...]
    """Model versions, and lower rungs with the reasons why no better one served."""


def explain_forecast(
    lake: Lake, registry: Registry, *, node_id: str, delivery_date: date, issue_hour_utc: int
) -> Explained:
    """Return the explanation of what was published for a node and delivery date, on that local day.

    Raises:
        LakeError: nothing was published for the node and date, or it sums too many meters.
        ModelError: a model version that served is gone.
    """
    issued = issue_time(delivery_date, issue_hour_utc=issue_hour_utc)
    window = Window(starts_at_utc=issued, ends_at_utc=issued + timedelta(seconds=1))
    published = lake.read(FORECASTS_LOAD, window)
    node = published.filter(pl.col("node_id") == node_id).sort("starts_at_utc")
    if node.is_empty():
        raise LakeError(_absent(published, node_id, issued))
    meters = lake.read(METERS)
    members = _members(meters, node_id)
    if members.height > _MOST_MEMBERS:
        raise LakeError(f"{node_id} sums {members.height} meters; explain one of its premises or meters.")
    zone = _timezone(meters, members, sites=lake.read(SITES))
    local_day = pl.col("starts_at_utc").dt.convert_time_zone(zone).dt.date()
    node = node.filter(local_day == delivery_date)
    of_meters = published.filter(pl.col("node_id").is_in(members["meter_id"].implode()), local_day == delivery_date)
    parts = _parts(lake, registry, published, of_meters=of_meters, members=members, issued=issued)
    rows = node.select("starts_at_utc", "q10", "q50", "q90").join(parts, on="starts_at_utc", how="left", validate="1:1")
    rows = rows.with_columns(pl.col(BASE, *GROUPS).fill_null(0.0))
    rows = rows.with_columns((pl.col("q50") - pl.sum_horizontal(BASE, *GROUPS)).alias(REST))
    return Explained(
        node_id=node_id,
        issued_at_utc=issued,
        timezone=zone,
        rows=rows.select("starts_at_utc", "q10", "q50", "q90", *PARTS),
        made_by=_made_by(of_meters),
    )


def _made_by(of_meters: pl.DataFrame) -> tuple[str, ...]:
    lower = pl.concat_str("method", pl.lit(" ("), pl.col("reason").fill_null("no reason"), pl.lit(")"))
    said = of_meters.select("rung", said=pl.coalesce("model_version", lower)).unique().sort("rung", "said")
    return tuple(said["said"].unique(maintain_order=True))


def _parts(
    lake: Lake,
    registry: Registry,
    published: pl.DataFrame,
    *,
    of_meters: pl.DataFrame,
    members: pl.DataFrame,
    issued: datetime,
) -> pl.DataFrame:
    """Return starts_at_utc and the sums over the members of what explains them; `published` is the whole issue."""
    snapshot_id = _snapshot(lake, issued=issued)
    features, _ = stored_features(lake, issued_at=issued, snapshot_id=snapshot_id)
    window = Window(starts_at_utc=issued, ends_at_utc=issued + timedelta(seconds=1))
    learned = learned_of(lake.read(FORECASTS_RECIPES, window))
    kinds = kinds_of(published.filter(pl.col("node_id").is_in(members["meter_id"].implode())))
    meters = lake.read(METERS)
    slot = pl.concat_str("interval_minutes", pl.lit("m"))
    clock = of_meters.filter(pl.col("method").is_in(["peers", "climatology"]))
    found = [_NOTHING, _complete(by_clock(clock, usual=BASE, calendar="calendar"))]
    for (version, method), served in of_meters.partition_by("model_version", "method", as_dict=True).items():
        rows = features.join(
            served.select("starts_at_utc", meter_id="node_id"),
            on=["meter_id", "starts_at_utc"],
            how="semi",
            maintain_order="left",
        )
        predicts = _predictor(
            lake, registry, version=version, method=str(method), meters=meters, issued=issued, snapshot_id=snapshot_id
        )
        if predicts is None or rows.is_empty():
            continue
        model = AsPublished(predicts=predicts, rung=str(method), learned=learned, kinds=kinds)
        for (direction,), of_kind in rows.partition_by("direction_code", as_dict=True).items():
            background = _background(lake, meters, of_kind, issued=issued, direction_code=direction)
            found.append(explain(model, of_kind, background=background).select(_NOTHING.columns))
    signed = pl.concat(found).join(members, on="meter_id", how="inner", validate="m:1")
    signed = signed.with_columns(pl.col("starts_at_utc").dt.truncate(slot))
    return signed.group_by("starts_at_utc").agg((pl.col(name) * pl.col("sign")).sum() for name in (BASE, *GROUPS))


def _complete(rows: pl.DataFrame) -> pl.DataFrame:
    absent = [pl.lit(0.0).alias(name) for name in _NOTHING.columns if name not in rows.columns]
    return rows.with_columns(absent).select(_NOTHING.columns)


def _predictor(
    lake: Lake,
    registry: Registry,
    *,
    version: object,
    method: str,
    meters: pl.DataFrame,
    issued: datetime,
    snapshot_id: int | None,
) -> Predictor | None:
    """Return what a rung said then: a champion as it had followed the nights before, or analogues; None for others."""
    if method == "analogue":
        return analogue_quantiles
    if version is None:
        return None
    name, number = str(version).rsplit("/", 1)
    champions = {name: registry.load(name, version=int(number))}
    followers = followers_of(lake, champions, meters=meters, issues=[issued], snapshot_id=snapshot_id)
    champion = followers.at(issued)[name]
    assert isinstance(champion, LoadedModel)
    return champion.variants[_VARIANTS[method]].predict


def _snapshot(lake: Lake, *, issued: datetime) -> int | None:
    """Return the snapshot that the forecast was made from; None where it has expired, and the lake of now must do."""
    found = int(lake.query(Query.from_file("energy_assets.defs", "forecast_snapshot", issued=issued)).item())
    try:
        lake.read(METERS, columns=["meter_id"], snapshot_id=found)
    except LakeError:
        return None
    return found


def _background(
    lake: Lake, meters: pl.DataFrame, rows: pl.DataFrame, *, issued: datetime, direction_code: object
) -> pl.DataFrame:
    """Return feature rows of the fortnight before, of a few meters of the same kind and of those explained."""
    kind = ["commodity", "direction", "interval_minutes"]
    own = meters.join(rows.select("meter_id").unique(), on="meter_id", how="semi")
    alike = meters.join(own.select(kind).unique(), on=kind, how="semi")["meter_id"].sort()
    chosen = sorted({*own["meter_id"], *alike.gather_every(max(1, alike.len() // _COMPARED_METERS))})
    earlier = lake.query(
        Query.from_file(
            "energy_assets.defs",
            "earlier_features",
            starts_at_utc=issued - timedelta(days=_COMPARED_DAYS),
            ends_at_utc=issued,
            meter_ids=chosen,
        )
    )
    as_models_take_them = earlier.cast({"interval_minutes": pl.Int32}).with_columns(
        pl.selectors.float().fill_null(float("nan"))
    )
    code = direction_code if isinstance(direction_code, float) else None
    found = background_of(as_models_take_them, direction_code=code)
    return found if found.height else background_of(rows, direction_code=None)


def _members(meters: pl.DataFrame, node_id: str) -> pl.DataFrame:
    """Return meter_id, sign and interval_minutes (of the node) of the meters that a node sums; a meter sums itself."""
    own = meters.filter(pl.col("meter_id") == node_id)
    if own.height:
        return own.select("meter_id", pl.lit(1, pl.Int64).alias("sign"), "interval_minutes")
    return memberships(meters).filter(pl.col("node_id") == node_id).select("meter_id", "sign", "interval_minutes")


def _timezone(meters: pl.DataFrame, members: pl.DataFrame, *, sites: pl.DataFrame) -> str:
    """Return the time zone of the members' site; UTC for several sites."""
    of_members = meters.join(members, on="meter_id", how="semi").join(sites, on="site_id", how="left")
    zones = of_members["timezone"].drop_nulls().unique()
    return str(zones[0]) if zones.len() == 1 else "UTC"


def _absent(published: pl.DataFrame, node_id: str, issued: datetime) -> str:
    if published.is_empty():
        return f"The lake holds no forecast issued at {issued:%Y-%m-%d %H:%M} UTC; marts.outlook shows which it holds."
    near = difflib.get_close_matches(node_id, published["node_id"].unique().to_list(), n=3, cutoff=0.4)
    return f"Nothing was forecast for {node_id!r}. Near to it: {', '.join(near) or 'nothing'}."
