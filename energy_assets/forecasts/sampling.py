"""Scenarios, medians and rungs of meters summed upwards: premises a chunk at a time, then their site, the portfolio.

All arrays live on one time axis; a slot that a meter does not have counts as nothing there. What is held at a time is
the scenarios of a chunk of premises and the sums of one site and the portfolio, however many meters there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.forecasts.nodes import NET, PORTFOLIO
from energy_assets.forecasts.scenarios import Axis, Draw, Meters

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MICROSECONDS = 60_000_000
_CHUNK_CELLS = 4_000_000
_ABSENT = -1


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Meters of one cadence as arrays over the axis: quantiles [meter, slot, level], rank of the rung [meter, slot].

    The rank is -1 where the meter has no forecast.
    """

    row: dict[str, int]
    quantiles: Doubles
    rank: Ints


@dataclass(frozen=True, kw_only=True)
class Part:
    """What meters of one direction and cadence add up to at the places named; each array begins with place and slot.

    `alone` holds the quantiles of a place's only meter; where there are more it is not looked at.
    """

    direction: str
    minutes: int
    places: Sequence[str]
    energy: Doubles
    median: Doubles
    alone: Doubles
    rank: Ints
    present: Ints
    meters: Ints

    def coarsened(self, *, minutes: int) -> Part:
        """Return the part at a coarser cadence; `present` is -1 in slots of which only a part is there."""
        times = minutes // self.minutes
        if times == 1:
            return self

        def by_slot(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return values.reshape(len(values), -1, times, *values.shape[2:])

        fine = by_slot(self.present)
        whole = (fine == fine[:, :, :1]).all(axis=2)
        return replace(
            self,
            minutes=minutes,
            energy=by_slot(self.energy).sum(axis=2),
            median=by_slot(self.median).sum(axis=2),
            alone=by_slot(self.alone).sum(axis=2),
            rank=by_slot(self.rank).max(axis=2),
            present=np.where(whole, fine[:, :, 0], _ABSENT),
        )


@dataclass(frozen=True, kw_only=True)
class Summed:
    """Nodes of one cadence: arrays that begin with node and slot. Quantiles hold where `is_there` does."""

    node_ids: Sequence[str]
    minutes: int
    energy: Doubles
    quantiles: Doubles
    rank: Ints
    is_there: npt.NDArray[np.bool_]


def axis_of(forecasts: pl.DataFrame, members: pl.DataFrame) -> Axis:
    """Return the time axis of an issue's meters."""
    coarsest = int(members["interval_minutes"].max())  # type: ignore[arg-type]
    finest = int(np.gcd.reduce(members["member_minutes"].unique().to_numpy()))
    minute = pl.col("starts_at_utc").dt.epoch("us") // MICROSECONDS
    start, last = forecasts.select(minute.min().alias("start"), minute.max().alias("last")).row(0)
    return Axis(start=start // coarsest * coarsest, end=(last // coarsest + 1) * coarsest, finest=finest)


def dense_of(forecasts: pl.DataFrame, axis: Axis) -> dict[int, Dense]:
    """Return the meters of an issue by cadence; `forecasts` has a column `rank` beside those of its contract."""
    dense = {}
    for (cadence,), group in forecasts.sort("node_id").partition_by("interval_minutes", as_dict=True).items():
        minutes = int(cadence)
        row = group["node_id"].rank("dense").to_numpy().astype(np.int64) - 1
        slot = (group["starts_at_utc"].dt.epoch("us").to_numpy() // MICROSECONDS - axis.start) // minutes
        shape = (int(row.max()) + 1, axis.slots(minutes))
        quantiles, rank = np.zeros((*shape, len(LEVELS))), np.full(shape, _ABSENT, dtype=np.int64)
        quantiles[row, slot] = group.select(QUANTILE_COLUMNS).to_numpy()
        rank[row, slot] = group["rank"].to_numpy()
        names = {name: index for index, name in enumerate(group["node_id"].unique().sort())}
        dense[minutes] = Dense(row=names, quantiles=quantiles, rank=rank)
    return dense


def drawn(draw: Draw, group: pl.DataFrame, dense: Dense, *, minutes: int) -> tuple[npt.NDArray[np.float32], Ints]:
    """Return scenarios [meter, slot, scenario] of members of one cadence, and their rows in `dense`.

    `group` has meter_id, kind, member_site, shared_premise (null for a premise's only meter of its kind) and opposite.
    """
    rows = np.array([dense.row[meter] for meter in group["meter_id"]], dtype=np.int64)
    meters = Meters(
        meter_ids=group["meter_id"].to_list(),
        kinds=group["kind"].to_list(),
        sites=group["member_site"].to_list(),
        premises=group["shared_premise"].to_list(),
        opposites=group["opposite"].to_list(),
        minutes=minutes,
        quantiles=dense.quantiles[rows].astype(np.float32),
    )
    energy = draw.energies(meters)
    energy[dense.rank[rows] < 0] = 0
    return energy, rows


def summed(members: pl.DataFrame, *, dense: dict[int, Dense], draw: Draw) -> Iterator[Summed]:
    """Yield all nodes of one commodity: premises, then their site, the portfolio last.

    `members` as `nodes.memberships` gives them, with kind, shared_premise and opposite.
    """
    kinds = members.sort("node_id", "meter_id").partition_by("node_kind", as_dict=True, maintain_order=True)
    premises, sites, portfolio = (kinds[(kind,)] for kind in ("premise", "site", PORTFOLIO))
    of_all: list[Part] = []
    sites_there: dict[str, Ints] = {}
    for (site,), of_premises in premises.partition_by("member_site", as_dict=True, maintain_order=True).items():
        of_site: list[Part] = []
        for chunk in _chunks(of_premises, draw):
            parts = list(_parts(chunk, dense=dense, draw=draw))
            yield from _nodes(parts, chunk, place="member_premise")
            of_site = _merged([*of_site, *(_collapsed(part, place=str(site)) for part in parts)])
        yield from _nodes(of_site, sites.filter(pl.col("member_site") == site), place="member_site")
        _count_site(sites_there, of_site, portfolio)
        of_all = _merged([*of_all, *(_collapsed(part, place=PORTFOLIO) for part in of_site)])
    whole = portfolio.with_columns(member_site=pl.lit(PORTFOLIO))
    yield from _nodes(of_all, whole, place="member_site", sites_there=sites_there)


def _chunks(nodes: pl.DataFrame, draw: Draw) -> list[pl.DataFrame]:
    """Return the memberships of as many premises at a time as keeps their scenarios in a few dozen megabytes."""
    cells = pl.col("meter_id").n_unique() * draw.scenarios * draw.axis.slots(draw.axis.finest)
    sizes = nodes.group_by("member_premise", maintain_order=True).agg(cells=cells)
    sizes = sizes.select("member_premise", chunk=(pl.col("cells").cum_sum() - pl.col("cells")) // _CHUNK_CELLS)
    return nodes.join(sizes, on="member_premise", maintain_order="left").partition_by("chunk", maintain_order=True)


def _parts(nodes: pl.DataFrame, *, dense: dict[int, Dense], draw: Draw) -> Iterator[Part]:
    """Yield the sums of premises per direction and cadence, and of what counts in their net load."""
    own = nodes.filter(pl.col("direction") != NET).sort("member_premise", "meter_id")
    signs = dict(nodes.filter(pl.col("direction") == NET).select("meter_id", "sign").iter_rows())
    for (direction, cadence), group in own.partition_by(
        "direction", "member_minutes", as_dict=True, maintain_order=True
    ).items():
        minutes = int(cadence)
        energy, rows = drawn(draw, group, dense[minutes], minutes=minutes)
        quantiles, rank = dense[minutes].quantiles[rows], dense[minutes].rank[rows]
        places = group["member_premise"]
        firsts = np.flatnonzero((places != places.shift(1)).fill_null(value=True).to_numpy())
        whole = Part(
            direction=str(direction),
            minutes=minutes,
            places=places.gather(firsts).to_list(),
            energy=np.add.reduceat(energy, firsts, axis=0, dtype=np.float64),
            median=np.add.reduceat(quantiles[..., 3], firsts, axis=0),
            alone=quantiles[firsts],
            rank=np.maximum.reduceat(rank, firsts, axis=0),
            present=np.add.reduceat((rank >= 0).astype(np.int64), firsts, axis=0),
            meters=np.diff([*firsts, len(rows)]),
        )
        yield whole
        sign = np.array([signs.get(group["meter_id"][int(first)], 0) for first in firsts], dtype=np.int64)
        if sign.any():
            yield _signed(whole, sign)


def _signed(part: Part, sign: Ints) -> Part:
    """Return the places of a part that count in net load, with their signs."""
    counted = [index for index, factor in enumerate(sign.tolist()) if factor]
    factor = sign[counted].astype(np.float64)[:, None, None]
    return replace(
        part,
        direction=NET,
        places=[part.places[index] for index in counted],
        energy=part.energy[counted] * factor,
        median=part.median[counted] * factor[..., 0],
        # The upper quantile of what is fed in is the lower one of the net load.
        alone=np.where(factor > 0, part.alone[counted], -part.alone[counted][..., ::-1]),
        rank=part.rank[counted],
        present=part.present[counted],
        meters=part.meters[counted],
    )


def _collapsed(part: Part, *, place: str) -> Part:
    """Return a part summed over its places into the one above."""
    return replace(
        part,
        places=[place],
        energy=part.energy.sum(axis=0, keepdims=True),
        median=part.median.sum(axis=0, keepdims=True),
        alone=part.alone[:1],
        rank=part.rank.max(axis=0, keepdims=True),
        present=part.present.sum(axis=0, keepdims=True),
        meters=part.meters.sum(keepdims=True),
    )


def _count_site(there: dict[str, Ints], parts: Sequence[Part], portfolio: pl.DataFrame) -> None:
    """Count a site in the slots of the portfolio's nodes in which it has a forecast, by direction."""
    for direction, target in portfolio.select("direction", "interval_minutes").unique().iter_rows():
        of_node = [part.coarsened(minutes=target).present[0] > 0 for part in parts if part.direction == direction]
        if of_node:
            there[direction] = there.get(direction, 0) + np.logical_or.reduce(of_node).astype(np.int64)


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Return parts of one place with those of equal direction and cadence added up."""
    merged: dict[tuple[str, int], Part] = {}
    for part in parts:
        known = merged.get((part.direction, part.minutes))
        merged[part.direction, part.minutes] = part if known is None else _added(known, part)
    return list(merged.values())


def _added(one: Part, other: Part) -> Part:
    return replace(
        one,
        energy=one.energy + other.energy,
        median=one.median + other.median,
        rank=np.maximum(one.rank, other.rank),
        present=one.present + other.present,
        meters=one.meters + other.meters,
    )


def _nodes(
    parts: Sequence[Part], nodes: pl.DataFrame, *, place: str, sites_there: dict[str, Ints] | None = None
) -> Iterator[Summed]:
    """Yield what the nodes at some places are, each at the cadence of its coarsest meter.

    Where `sites_there` is given, a node has the slots in which all its sites are there.
    """
    wanted = nodes.select("node_id", "direction", "interval_minutes", "sites", place=place).unique(maintain_order=True)
    for (direction, target), group in wanted.partition_by(
        "direction", "interval_minutes", as_dict=True, maintain_order=True
    ).items():
        position = {name: index for index, name in enumerate(group["place"])}
        chosen = []
        for part in parts:
            inside = [index for index, name in enumerate(part.places) if name in position]
            if part.direction == direction and inside and int(target) % part.minutes == 0:
                into = np.array([position[part.places[index]] for index in inside])
                chosen.append((into, np.array(inside), part.coarsened(minutes=int(target))))
        node = _node_sums(chosen, group, minutes=int(target))
        if sites_there is not None:
            node.is_there[:] &= sites_there[str(direction)] >= group["sites"].to_numpy()[:, None]
        yield node


def _node_sums(chosen: Sequence[tuple[Ints, Ints, Part]], group: pl.DataFrame, *, minutes: int) -> Summed:
    count, (slots, scenarios) = group.height, chosen[0][2].energy.shape[1:]
    energy, median = np.zeros((count, slots, scenarios)), np.zeros((count, slots))
    alone, rank = np.zeros((count, slots, len(LEVELS))), np.full((count, slots), _ABSENT, dtype=np.int64)
    present, meters = np.zeros((count, slots), dtype=np.int64), np.zeros(count, dtype=np.int64)
    broken = np.zeros((count, slots), dtype=bool)
    for into, inside, part in chosen:
        energy[into] += part.energy[inside]
        median[into] += part.median[inside]
        alone[into] = part.alone[inside]
        rank[into] = np.maximum(rank[into], part.rank[inside])
        broken[into] |= part.present[inside] < 0
        present[into] += np.maximum(part.present[inside], 0)
        meters[into] += part.meters[inside]
    quantiles, several = alone, meters > 1
    if several.any():
        levels = np.quantile(energy[several], list(LEVELS.values()), axis=-1)
        quantiles[several] = np.moveaxis(levels, 0, -1)
    quantiles[..., 3] = median
    # The median is the sum of medians; where a sum is so skewed that another level lies beyond, that one gives way.
    quantiles[..., :3] = np.minimum(quantiles[..., :3], median[..., None])
    quantiles[..., 4:] = np.maximum(quantiles[..., 4:], median[..., None])
    return Summed(
        node_ids=group["node_id"].to_list(),
        minutes=minutes,
        energy=energy,
        quantiles=quantiles,
        rank=rank,
        is_there=~broken & (present > 0),
    )
