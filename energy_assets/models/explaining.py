"""Why a forecast is what it is: its median split into what weather, calendar, recent load and the building contribute.

Exact Shapley values of groups of features (Shapley, 1953; as interventional explanations in Janzing, Minorics and
Blöbaum, 2020), taken of the whole model as it forecasts: whatever its parts and their weights, the contributions add up
to the forecast, because each is a difference of forecasts of that same model.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.errors import ModelError
from energy_assets.features.fingerprint import KEY, TARGET_COLUMNS
from energy_assets.features.matrix import FEATURE_GROUPS
from energy_assets.models.design import SCALE

GROUPS = ("recent_load", "calendar", "weather", "building")
BASE = "usual"
"""What the model says of a meter of this size at a time and in a state like any other: the mean over the background."""
OTHER = "other"
BACKGROUND_ROWS = 48
_GROUP_OF = {
    "load": "recent_load",
    "lead": "recent_load",
    "calendar": "calendar",
    "weather": "weather",
    "metadata": "building",
    "roof": "building",
    "clear_sky": "calendar",
    "wind_chill": "weather",
}
_NO_FEATURES = {*KEY, *TARGET_COLUMNS, "interval_minutes", SCALE}

Doubles = npt.NDArray[np.float64]


class Predicting(Protocol):
    """Whatever says q50 in kWh of feature rows."""

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return KEY and quantiles for every row."""


def explain(model: Predicting, features: pl.DataFrame, *, background: pl.DataFrame) -> pl.DataFrame:
    """Return KEY, `q50`, `usual` and a contribution a group, in kWh: these add up to q50 in every row.

    `features` are rows of an issue; `background` are feature rows of meters of the same kind at other times, as
    `background_of` chooses them, against which a group counts: "recent load" is what knowing this meter's last weeks
    changes, and so on, averaged over all orders in which the groups may become known. Energies of the background are
    scaled to the size of the row's meter, so that size is part of `usual`. Features of no known group are `other`.
    Null where the model cannot predict.

    Raises:
        ModelError: the background is empty.
    """
    if background.is_empty():
        raise ModelError("There is nothing to compare with: features of earlier issues of meters of this kind.")
    groups = _columns_by_group(features)
    values: dict[frozenset[str], Doubles] = {}
    for count in range(len(groups) + 1):
        for known in combinations(groups, count):
            unknown = [name for group in groups if group not in known for name in groups[group]]
            values[frozenset(known)] = _mean_forecast(model, features, background=background, unknown=unknown)
    contributions = {group: _shapley(values, group=group, groups=tuple(groups)) for group in groups}
    columns = {"q50": values[frozenset(groups)], BASE: values[frozenset()], **contributions}
    frame = features.select(KEY).with_columns(pl.Series(name, each) for name, each in columns.items())
    return frame.with_columns(pl.col(*columns).fill_nan(None))


def background_of(earlier: pl.DataFrame, *, direction_code: float | None, rows: int = BACKGROUND_ROWS) -> pl.DataFrame:
    """Return feature rows to compare with: of meters with the same direction and a scale, spread over the hours.

    Sorted by hour of the day and meter and taken in equal steps, so that the same rows give the same explanation.
    """
    alike = earlier.filter(pl.col(SCALE) > 0)
    if direction_code is not None and "direction_code" in earlier.columns:
        alike = alike.filter(pl.col("direction_code") == direction_code)
    ordered = alike.sort("local_hour", *KEY)
    count = min(rows, ordered.height)
    return ordered[np.linspace(0, ordered.height - 1, count).round().astype(np.int64)] if count else ordered


def _columns_by_group(features: pl.DataFrame) -> dict[str, list[str]]:
    named = {name: _GROUP_OF.get(group, OTHER) for group, names in FEATURE_GROUPS.items() for name in names}
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name in features.columns:
        if name not in _NO_FEATURES:
            found.setdefault(named.get(name, OTHER), []).append(name)
    return found


def _mean_forecast(
    model: Predicting, features: pl.DataFrame, *, background: pl.DataFrame, unknown: list[str]
) -> Doubles:
    """Return the mean median [row] over the background when the `unknown` columns are those of the background.

    All copies of the rows are predicted at once; every family predicts row by row.
    """
    if not unknown:
        return _medians(model, features)
    copies, rows = background.height, features.height
    stacked = features[np.tile(np.arange(rows), copies)]
    put = background[np.repeat(np.arange(copies), rows)]
    size = stacked[SCALE].cast(pl.Float32) / put[SCALE].cast(pl.Float32)
    replaced = [
        (put[name] * size if name.endswith("_kwh") else put[name]).cast(features.schema[name]).alias(name)
        for name in unknown
    ]
    said = _medians(model, stacked.with_columns(replaced)).reshape(copies, rows)
    # A rung that reads single days says nothing of a background row that lacks them; the others speak for it.
    known = np.isfinite(said)
    means: Doubles = np.where(known, said, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    return means


def _medians(model: Predicting, features: pl.DataFrame) -> Doubles:
    predicted = model.predict(features)
    return predicted["q50"].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _shapley(values: Mapping[frozenset[str], Doubles], *, group: str, groups: tuple[str, ...]) -> Doubles:
    others = [name for name in groups if name != group]
    total = np.zeros_like(values[frozenset()])
    for count in range(len(others) + 1):
        weight = factorial(count) * factorial(len(others) - count) / factorial(len(groups))
        for known in combinations(others, count):
            total += weight * (values[frozenset([*known, group])] - values[frozenset(known)])
    return total
