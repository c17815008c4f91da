"""A zone's supply learned from history: the price as a rising step function of the residual load.

Prices are medians of equally filled classes of load, made monotone by pooling neighbours that fall (isotonic
regression). The result is a merit order like one that is written by hand.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from energy_assets.errors import ConfigError
from energy_assets.prices.blocks import SupplyBlock
from energy_assets.prices.declared import Frozen
from energy_assets.readings.own_files import read_typed_table

Floats = npt.NDArray[np.float64]

LEAST_ROWS_PER_STEP = 20


class SupplyHistory(Frozen):
    """Where a supply curve is learned from, and how finely."""

    file: str = Field(description="CSV or Parquet, beside the zone's file: past residual loads and prices.")
    load_column: str = Field("net_load_kw", description="Residual load: demand less wind and sun.")
    price_column: str = Field(
        "price_per_mwh", description="Price; a name that ends in _per_mwh is per MWh, else per kWh."
    )
    peak_kw: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Power of the zone at the history's highest load; none: the history is the zone's own, in kW."
    )
    steps: Annotated[int, Field(ge=2, le=200)] = Field(12, description="Steps at most.")


def fitted_blocks(history: SupplyHistory, *, folder: Path) -> tuple[SupplyBlock, ...]:
    """Return the merit order that a history declares; paths are relative to `folder`.

    Raises:
        SourceError: the file cannot be read, or lacks a column.
        ConfigError: there are too few rows for the steps.
    """
    path = folder / history.file
    frame = read_typed_table(path, what="Supply history", columns=(history.load_column, history.price_column))
    pair = frame.select(
        load=pl.col(history.load_column).cast(pl.Float64, strict=False),
        price=pl.col(history.price_column).cast(pl.Float64, strict=False),
    ).filter(pl.all_horizontal(pl.all().is_finite()))
    load, price = pair["load"].to_numpy(), pair["price"].to_numpy()
    if history.price_column.endswith("_per_mwh"):
        price = price / 1000.0
    if len(load) and history.peak_kw is not None:
        if load.max() <= 0:
            raise ConfigError(f"Supply history {path} has no residual load above zero; it cannot be scaled to a peak.")
        load = load * (history.peak_kw / load.max())
    return blocks_of(load, price=price, steps=history.steps)


def blocks_of(load_kw: Floats, *, price: Floats, steps: int) -> tuple[SupplyBlock, ...]:
    """Return a merit order of at most `steps` blocks: what a kW at each load has cost, never less at a higher load.

    Args:
        load_kw: Residual loads, kW; those at or below zero need no supply and do not count.
        price: What a kWh cost at each of them, currency/kWh.
        steps: Classes of load, each with as many rows; neighbours of one price become one block.

    Raises:
        ConfigError: there are fewer than 20 rows a step.
    """
    counts = load_kw > 0
    order = np.argsort(load_kw[counts], kind="stable")
    load, cost = load_kw[counts][order], price[counts][order]
    if len(load) < LEAST_ROWS_PER_STEP * steps:
        raise ConfigError(
            f"A supply curve of {steps} steps needs {LEAST_ROWS_PER_STEP * steps} rows with a load above zero; "
            f"there are {len(load)}. Give more history or fewer steps."
        )
    classes = np.array_split(np.arange(len(load)), steps)
    medians = np.array([float(np.median(cost[rows])) for rows in classes])
    rising = isotonic(medians, weights=np.array([float(len(rows)) for rows in classes]))
    # A class ends half way to the next one.
    ends = [0.5 * (load[left[-1]] + load[right[0]]) for left, right in pairwise(classes)]
    blocks: list[SupplyBlock] = []
    reached = 0.0
    for step, level in enumerate(rising):
        if step + 1 < steps and rising[step + 1] == level:
            continue
        if step + 1 == steps:
            blocks.append(SupplyBlock(name=f"above {reached:.6g} kW", price=float(level)))
        elif ends[step] > reached:
            name = f"to {ends[step]:.6g} kW"
            blocks.append(SupplyBlock(name=name, price=float(level), capacity_kw=float(ends[step] - reached)))
            reached = float(ends[step])
    return tuple(blocks)


def isotonic(values: Floats, *, weights: Floats) -> Floats:
    """Return the nearest values in weighted squares that never fall (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, heavy, many), (high, light, few) = pools[-1], pools[-2]
            pools[-2:] = [((low * heavy + high * light) / (heavy + light), heavy + light, many + few)]
    return np.concatenate([np.full(count, value) for value, _, count in pools])
