"""The forecast of one delivery date, from features and what the registry answered to rows of `forecasts.load`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from energy_assets.features.horizon import DELIVERY_DATE, Horizon
from energy_assets.forecasts.analogues import analogue_quantiles
from energy_assets.forecasts.hierarchy import aggregate
from energy_assets.forecasts.ladder import Champion, Widening, forecast_meters
from energy_assets.forecasts.scenarios import Dependence
from energy_assets.forecasts.slots import delivery_slots
from energy_assets.forecasts.standing import standing

DEFAULT_WIDENING: Widening = {}
"""No rung is widened until past forecasts say that it must be: each carries its own spread, measured on real meters."""


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
    dependence: Dependence | None = None,
    widening: Widening | None = None,
) -> pl.DataFrame:
    """Return the rows of `forecasts.load` of one issue: every meter in service, premise, site and the portfolio.

    Args:
        features: feature rows of the issue, from `features.matrix.build_features`; rows may be missing.
        readings: rows of `readings.interval` of `standing.HISTORY` before the issue; what was not known then is unseen.
        meters: rows of `metering.meters`; each gets every slot of its service up to the end of its local delivery date.
        premises: rows of `metering.premises`.
        sites: rows of `metering.sites`.
        champions: what the registry answered by registered name, a loaded model or the error with its reason.
        issued_at_utc: the delivery date is the day after.
        features_hash: fingerprint of `features`.
        seed: of the scenarios behind the bands of sums.
        dependence: correlation of errors, as `learning` estimates it; its defaults where nothing was learnt.
        widening: factors on the bands by rung, as `learning.widening_of` measures them; defaults likewise.
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
        widening=widening,
    )
    sums = aggregate(rows, meters=meters, dependence=dependence or Dependence(), seed=seed)
    return pl.concat([rows, sums])


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
) -> pl.DataFrame:
    """Return the meter rows of `forecast_delivery`, for any horizon: what night and back-test have in common."""
    return forecast_meters(
        features,
        slots=delivery_slots(meters, sites=sites, issued_at_utc=issued_at_utc, horizon=horizon),
        known=standing(readings, meters=meters, premises=premises, issued_at_utc=issued_at_utc),
        champions=champions,
        analogue=analogue_quantiles,
        features_hash=features_hash,
        widening={**DEFAULT_WIDENING, **(widening or {})},
    )
