"""The rows that a training learns from: in memory, or beyond a million of them in files with a part held in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.defs.features import feature_blocks_of
from energy_assets.features.matrix import SCHEMA, Thinning
from energy_assets.lake import Lake
from energy_assets.models.row_store import RowStore
from energy_assets.settings import Settings

HELD_ROWS = 1_000_000
"""Most rows that training holds in memory; where it learns from more of them, these are in files."""
_SEED = 0
_AT_ONCE = 200_000

Class = tuple[str, int]
"""Commodity and interval in minutes: what one registered model is for."""


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """Rows of each class that memory holds, and the files with all rows where there are more."""

    held: Mapping[Class, pl.DataFrame]
    stores: Mapping[Class, RowStore]

    @property
    def count(self) -> int:
        """Return how many rows were made."""
        held = sum(rows.height for rows in self.held.values())
        return max(held, sum(store.rows for store in self.stores.values()))


@contextmanager
def training_rows(
    lake: Lake, *, meters: pl.DataFrame, issues: list[datetime], rows: int, settings: Settings
) -> Iterator[TrainingRows]:
    """Give about as many feature rows with targets of the meters at the issues, by class; files go when it is left."""
    share = thinning_share(meters, issues=len(issues), rows=rows)
    made = share * len(issues) * _slots(meters)
    blocks = feature_blocks_of(
        lake,
        issues=issues,
        is_actual_allowed=settings.actual_weather_as_forecast,
        thinning=Thinning(share=share, seed=_SEED),
        meters=meters,
        calendar_folder=settings.calendar_folder,
    )
    if made <= HELD_ROWS:
        yield TrainingRows(held=_classes(pl.concat([SCHEMA.to_frame(), *blocks]), meters), stores={})
        return
    with tempfile.TemporaryDirectory(prefix="rows-") as folder:
        stores = _stores(Path(folder), meters, share=share, issues=len(issues))
        held = _dealt(blocks, meters, stores=stores, share=HELD_ROWS / made)
        yield TrainingRows(held=held, stores=stores)


def thinning_share(meters: pl.DataFrame, *, issues: int, rows: int) -> float:
    """Return the share of all rows to keep so that about `rows` are left."""
    expected = _slots(meters) * max(issues, 1)
    return min(1.0, rows / expected) if expected else 1.0


def _slots(meters: pl.DataFrame) -> float:
    return float((2 * 1440 / meters["interval_minutes"]).sum()) if meters.height else 0.0


def _classes(features: pl.DataFrame, meters: pl.DataFrame) -> dict[Class, pl.DataFrame]:
    named = features.join(meters.select("meter_id", "commodity"), on="meter_id", how="left", maintain_order="left")
    groups = named.partition_by("commodity", "interval_minutes", as_dict=True, include_key=True)
    return {
        (str(commodity), int(minutes)): group.drop("commodity")
        for (commodity, minutes), group in sorted(groups.items(), key=str)
    }


def _stores(folder: Path, meters: pl.DataFrame, *, share: float, issues: int) -> dict[Class, RowStore]:
    stores = {}
    for (commodity, minutes), mine in meters.partition_by("commodity", "interval_minutes", as_dict=True).items():
        place = folder / f"{commodity}-{minutes}"
        place.mkdir()
        stores[str(commodity), int(minutes)] = RowStore(place, expected_rows=share * issues * _slots(mine), seed=_SEED)
    return stores


def _dealt(
    blocks: Iterator[pl.DataFrame], meters: pl.DataFrame, *, stores: Mapping[Class, RowStore], share: float
) -> dict[Class, pl.DataFrame]:
    """Write all rows into the stores of their classes and return the share of them that memory holds."""
    draw = np.random.default_rng(_SEED)
    held: dict[Class, list[pl.DataFrame]] = {each: [] for each in stores}
    for rows in _gathered(blocks):
        for each, mine in _classes(rows, meters).items():
            stores[each].add(mine)
            held[each].append(mine.filter(pl.Series(draw.random(mine.height) < share)))
    return {each: pl.concat([SCHEMA.to_frame(), *parts]) for each, parts in sorted(held.items(), key=str)}


def _gathered(blocks: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield blocks together, so that frames are neither many nor large."""
    waiting: list[pl.DataFrame] = []
    for block in blocks:
        waiting.append(block)
        if sum(each.height for each in waiting) >= _AT_ONCE:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)
