"""The forecast of one delivery date, from features and what the registry answered to rows of `forecasts.load`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from energy_assets.features.horizon import DELIVERY_DATE, Horizon
from energy_assets.forecasts.analogues import analogue_quantiles
from energy_assets.forecasts.centre import centred
from energy_assets.forecasts.first_days import first_days
from energy_assets.forecasts.hierarchy import aggregate
from energy_assets.forecasts.ladder import Champion, Widening, forecast_meters
from energy_assets.forecasts.learning import Learned, recipe_of
from energy_assets.forecasts.limits import limits_of
from energy_assets.forecasts.slots import delivery_slots
from energy_assets.forecasts.standing import standing

NOTHING_LEARNED = Learned()
"""No rung is widened until past forecasts say that it must be: each carries its own spread, measured on real meters."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One issue: rows of `forecasts.load`, `forecasts.peaks`, `forecasts.limits` and `forecasts.recipes`."""

    rows: pl.DataFrame
    peaks: pl.DataFrame
    limits: pl.DataFrame
    recipe: pl.DataFrame


def forecast_delivery(
    features: pl.DataFrame,
    *,
    readings: pl.DataFrame,
    meters: pl.DataFrame,
    premises: pl.DataFrame,
    sites: pl.DataFrame,
    champions: Mapping[str, Champion],
    issued_at_utc: datetime,
    features_hash: str,
    seed: int,
    learned: Learned = NOTHING_LEARNED,
    peer_groups: pl.DataFrame | None = None,
    portfolio_limit_kw: float | None = None,
) -> Delivery:
    """Return the forecast of one issue: every meter in service, premise, site and the portfolio.

    Args:
        features: feature rows of the issue, from `features.matrix.build_features`; rows may be missing.
        readings: rows of `readings.interval` of `standing.HISTORY` before the issue; what was not known then is unseen.
        meters: rows of `metering.meters`; each gets every slot of its service up to the end of its local delivery date.
        premises: rows of `metering.premises`.
        sites: rows of `metering.sites`.
        champions: what the registry answered by registered name, a loaded model or the error with its reason.
        issued_at_utc: the delivery date is the day after.
        features_hash: fingerprint of `features`.
        seed: of the scenarios behind bands and peaks of sums.
        learned: widths, centre and dependence, as `learning.learned_from` finds them in what was measured by then.
        peer_groups: meter_id and peer_group, as `profiles.newcomers` knows them; a meter without one has the peers
            that its premise's use gives it.
        portfolio_limit_kw: what the portfolio as a whole may draw or feed in, if anything.
    """
    rows = forecast_issue(
        features,
        readings=readings,
        meters=meters,
        premises=premises,
        sites=sites,
        champions=champions,
        issued_at_utc=issued_at_utc,
        features_hash=features_hash,
        widening=learned.widening,
        peer_groups=peer_groups,
    )
    rows = centred(rows, shares=learned.centre)
    sums = aggregate(
        rows,
        meters=meters,
        sites=sites,
        dependence=learned.dependence,
        peaks=learned.peaks,
        limits_kw=limits_of(
            meters=meters,
            premises=premises,
            sites=sites,
            issued_at_utc=issued_at_utc,
            portfolio_limit_kw=portfolio_limit_kw,
        ),
        seed=seed,
    )
    return Delivery(
        rows=pl.concat([rows, sums.rows]),
        peaks=sums.peaks,
        limits=sums.limits,
        recipe=recipe_of(learned, issued_at_utc=issued_at_utc, seed=seed),
    )


def forecast_issue(
    features: pl.DataFrame,
    *,
    readings: pl.DataFrame,
    meters: pl.DataFrame,
    premises: pl.DataFrame,
    sites: pl.DataFrame,
    champions: Mapping[str, Champion],
    issued_at_utc: datetime,
    features_hash: str,
    widening: Widening | None = None,
    horizon: Horizon = DELIVERY_DATE,
    peer_groups: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the meter rows of an issue, for any horizon: what night and back-test have in common."""
    known = standing(readings, meters=meters, premises=premises, issued_at_utc=issued_at_utc)
    groups = pl.Schema({"meter_id": pl.String(), "peer_group": pl.String()}).to_frame()
    groups = groups if peer_groups is None else peer_groups.select(groups.columns)
    return forecast_meters(
        features,
        slots=delivery_slots(meters, sites=sites, issued_at_utc=issued_at_utc, horizon=horizon),
        known=known.join(groups, on="meter_id", how="left", validate="1:1"),
        champions=champions,
        analogue=analogue_quantiles,
        features_hash=features_hash,
        widening=widening or {},
        own_days=first_days(readings, known=known, sites=sites, issued_at_utc=issued_at_utc),
    )
