"""A meter as one vector: its mean days at unit length, and beside them its traits in fixed scales.

The scales are constants with a physical meaning, never fitted, so that a vector means the same in every fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_assets.contracts.profiles import DAY_KINDS, SEASONS

Floats = NDArray[Any]
Ints = NDArray[Any]

HOURS = 24
PARTS = tuple((season, kind, hour) for season in SEASONS for kind in DAY_KINDS for hour in range(HOURS))
"""Season, kind of day and local hour of each position of the shape."""
TRAITS = (
    "load_factor", "baseload_share", "night_day_log", "weekend_log", "slope_per_10_c", "peak_hour_cos", "peak_hour_sin",
)  # fmt: skip
TRAIT_WEIGHT = 0.1
"""Two meters of one shape whose traits all differ by the half of their scale lie 0.13 apart; unlike shapes, 0.3 up."""
DIMENSIONS = len(PARTS) + len(TRAITS)
_DIGITS = 9  # sums of readings differ in their last bits by the order of addition; that must decide nothing


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """`values` [meter, DIMENSIONS] of `meter_ids`, which are sorted."""

    meter_ids: tuple[str, ...]
    values: Floats

    def of(self, meter_ids: pl.Series) -> Vectors:
        """Return the vectors of some meters, those that there are."""
        wanted = set(meter_ids.to_list())
        rows = [row for row, meter_id in enumerate(self.meter_ids) if meter_id in wanted]
        return Vectors(meter_ids=tuple(self.meter_ids[row] for row in rows), values=self.values[rows])


def vectors_of(cells: pl.DataFrame, traits: pl.DataFrame) -> Vectors:
    """Return the vectors of the meters that have cells and no reason against them, in the order of their names.

    `cells` are rows of `profiles.shapes`, `traits` of `profiles.traits`. A season without readings takes the mean of
    the known seasons of its kind of day, a kind without any that of the other kind.
    """
    usable = traits.filter(pl.col("unusable_because").is_null()).select("meter_id")
    cells = cells.join(usable, on="meter_id", how="semi")
    ids = cells["meter_id"].unique().sort()
    about = traits.join(ids.to_frame(), on="meter_id", how="semi").sort("meter_id")
    shape = _shapes(cells, ids=ids)
    return Vectors(meter_ids=tuple(ids), values=np.round(np.hstack([shape, _scaled_traits(about)]), _DIGITS))


def shape_of(vector: Floats) -> Floats:
    """Return the shape of a vector as [season, kind of day, hour]."""
    return vector[: len(PARTS)].reshape(len(SEASONS), len(DAY_KINDS), HOURS)


def _shapes(cells: pl.DataFrame, *, ids: pl.Series) -> Floats:
    """Return the mean days [meter, position] at unit length, what is not known filled with the meter's own days."""
    days = np.full((len(ids), len(SEASONS), len(DAY_KINDS), HOURS), np.nan)
    place = (
        cells["meter_id"].cast(pl.Enum(ids)).to_physical().to_numpy(),
        cells["season"].replace_strict(_numbered(SEASONS), return_dtype=pl.Int64).to_numpy(),
        cells["day_kind"].replace_strict(_numbered(DAY_KINDS), return_dtype=pl.Int64).to_numpy(),
        cells["local_hour"].to_numpy(),
    )
    days[place] = cells["mean_kw"].to_numpy()
    of_kind = _mean_of_known(days, axis=1)[:, None]
    days = np.where(np.isfinite(days), days, of_kind)
    of_any = _mean_of_known(days.reshape(len(ids), -1, HOURS), axis=1)[:, None, None]
    days = np.where(np.isfinite(days), days, of_any)
    level = _mean_of_known(days.reshape(len(ids), -1), axis=1)[:, None, None, None]
    flat = np.where(np.isfinite(days), days, level).reshape(len(ids), -1)
    length = np.sqrt((flat**2).sum(axis=1, keepdims=True))
    unit: Floats = flat / np.where(length > 0, length, 1)
    return unit


def _scaled_traits(about: pl.DataFrame) -> Floats:
    """Return the traits [meter, trait] in their fixed scales; one that is not known counts as ordinary."""

    def column(name: str, ordinary: float) -> Floats:
        return about[name].cast(pl.Float64).fill_null(ordinary).fill_nan(ordinary).to_numpy()

    def log_ratio(name: str) -> Floats:
        ratio: Floats = np.log2(np.clip(column(name, 1.0), 0.125, 8.0)) / 2
        return ratio

    angle = column("peak_hour", 12.0) * (2 * np.pi / HOURS)
    rows = [
        np.clip(column("load_factor", 0.5), 0, 1),
        np.clip(column("baseload_share", 0.5), 0, 1),
        log_ratio("night_day_ratio"),
        log_ratio("weekend_ratio"),
        np.clip(10 * column("temperature_slope_per_c", 0.0), -1, 1),
        np.cos(angle) / 2,
        np.sin(angle) / 2,
    ]
    return TRAIT_WEIGHT * np.stack(rows, axis=1)


def _numbered(names: tuple[str, ...]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _mean_of_known(values: Floats, *, axis: int) -> Floats:
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
