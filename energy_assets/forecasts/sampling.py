"""Deviations of node sums from their median, by sampling joint scenarios of the meters, a chunk of premises at a time.

All arrays live on one time axis that starts and ends on the coarsest cadence in hand; a slot that a meter does not
have counts as zero there and is left out by the caller, who knows which slots a node has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS, UTC_TIME
from energy_assets.forecasts.nodes import NET, PORTFOLIO
from energy_assets.forecasts.scenarios import Dependence, Floats, deviations, energies, factor

_CHUNK_CELLS = 4_000_000
_MICROSECONDS = 60_000_000


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Time in whole minutes since 1970, from `start` to `end`, both on the coarsest cadence."""

    start: int
    end: int
    finest: int

    def slots(self, minutes: int) -> int:
        return (self.end - self.start) // minutes

    def times(self, minutes: int) -> pl.Series:
        starts = np.arange(self.start, self.end, minutes, dtype=np.int64) * _MICROSECONDS
        return pl.Series("starts_at_utc", starts).cast(UTC_TIME)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Scenario sums (scenarios, places, slots) of one direction and cadence, for the places named."""

    direction: str
    minutes: int
    places: list[str]
    sums: Floats


def sampled_deviations(
    forecasts: pl.DataFrame, members: pl.DataFrame, *, dependence: Dependence, seed: int, scenarios: int
) -> pl.DataFrame:
    """Return node_id, starts_at_utc and `sampled_qXX`: quantile minus median of the node's sum, kWh.

    `forecasts` are meter rows of one issue time; `members` as `nodes.memberships` gives them; `scenarios` is even.
    Every node and every slot of the axis is returned, whether the node has it or not.
    """
    axis = _axis(forecasts, members)
    sampler = _Sampler(
        axis=axis, quantiles=_dense(forecasts, axis), dependence=dependence, seed=seed, scenarios=scenarios
    )
    commodities = members.sort("node_id", "meter_id").partition_by("commodity", as_dict=True, maintain_order=True)
    frames = [frame for (commodity,), nodes in commodities.items() for frame in sampler.sample(str(commodity), nodes)]
    return pl.concat(frames)


@dataclass(frozen=True, kw_only=True)
class _Sampler:
    axis: _Axis
    quantiles: dict[int, tuple[dict[str, int], Floats]]
    dependence: Dependence
    seed: int
    scenarios: int

    def sample(self, commodity: str, nodes: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield the deviations of all nodes of one commodity: premises, then their site, the portfolio last."""
        kinds = nodes.partition_by("node_kind", as_dict=True)
        premises, sites, portfolio = (kinds[(kind,)] for kind in ("premise", "site", "portfolio"))
        of_all: list[_Part] = []
        for (site,), of_premises in premises.partition_by("member_site", as_dict=True, maintain_order=True).items():
            of_site: list[_Part] = []
            for number, chunk in enumerate(self._chunks(of_premises)):
                parts = self._parts(chunk, key=f"{commodity}|{site}|{number}", shared=(commodity, str(site)))
                yield from self._emit(parts, chunk, place="member_premise")
                of_site = _merged([*of_site, *_collapsed(parts, place=str(site))])
            yield from self._emit(of_site, sites.filter(pl.col("member_site") == site), place="member_site")
            of_all = _merged([*of_all, *_collapsed(of_site, place=PORTFOLIO)])
        yield from self._emit(of_all, portfolio.with_columns(member_site=pl.lit(PORTFOLIO)), place="member_site")

    def _chunks(self, nodes: pl.DataFrame) -> list[pl.DataFrame]:
        """Return the memberships of as many premises at a time as keeps the scenarios in a few dozen megabytes."""
        cells = pl.col("meter_id").n_unique() * self.scenarios * self.axis.slots(self.axis.finest)
        sizes = nodes.group_by("member_premise", maintain_order=True).agg(cells=cells)
        sizes = sizes.select("member_premise", chunk=(pl.col("cells").cum_sum() - pl.col("cells")) // _CHUNK_CELLS)
        return nodes.join(sizes, on="member_premise", maintain_order="left").partition_by("chunk", maintain_order=True)

    def _parts(self, nodes: pl.DataFrame, *, key: str, shared: tuple[str, str]) -> list[_Part]:
        """Return the scenario sums of premises per direction and cadence, and of what counts in their net load."""
        own = nodes.filter(pl.col("direction") != NET)
        signs = dict(nodes.filter(pl.col("direction") == NET).select("meter_id", "sign").iter_rows())
        parts: list[_Part] = []
        groups = own.sort("member_premise", "meter_id").partition_by(
            "direction", "member_minutes", as_dict=True, maintain_order=True
        )
        for (direction, minutes), group in groups.items():
            meters = group["meter_id"].to_list()
            firsts = np.flatnonzero(group["member_premise"].to_numpy() != group["member_premise"].shift(1).to_numpy())
            drawn = self._draw(group, direction=str(direction), minutes=int(minutes), key=key, shared=shared)
            sums = np.add.reduceat(drawn, firsts, axis=1)
            places = group["member_premise"].gather(firsts).to_list()
            parts.append(_Part(direction=str(direction), minutes=int(minutes), places=places, sums=sums))
            sign = np.array([signs.get(meters[first], 0) for first in firsts], dtype=np.float32)
            counted = np.flatnonzero(sign)
            if counted.size:
                net = sums[:, counted] * sign[counted][:, None]
                named = [places[index] for index in counted]
                parts.append(_Part(direction=NET, minutes=int(minutes), places=named, sums=net))
        return parts

    def _draw(self, group: pl.DataFrame, *, direction: str, minutes: int, key: str, shared: tuple[str, str]) -> Floats:
        """Return joint scenarios (scenarios, meters, slots) in kWh of meters sorted by premise."""
        portfolio, site, premise, own = self.dependence.weights()
        commodity, site_id = shared
        premises = group["member_premise"].rank("dense").to_numpy() - 1
        slots = self.axis.slots(minutes)
        stride = minutes // self.axis.finest
        label = f"{key}|{direction}|{minutes}"
        scores = own * self._factor(label, minutes=minutes, width=group.height, slots=slots)
        by_premise = self._factor(f"{label}|premise", minutes=minutes, width=int(premises.max()) + 1, slots=slots)
        scores += premise * by_premise[:, premises]
        for weight, name in ((site, f"{commodity}|{site_id}|{direction}"), (portfolio, f"{commodity}|{direction}")):
            common = self._factor(name, minutes=self.axis.finest, width=1, slots=self.axis.slots(self.axis.finest))
            scores += weight * common[..., ::stride]
        rows, quantiles = self.quantiles[minutes]
        return energies(scores, quantiles[[rows[meter] for meter in group["meter_id"]]])

    def _factor(self, name: str, *, minutes: int, width: int, slots: int) -> Floats:
        persistence = self.dependence.hour_to_hour ** (minutes / 60)
        return factor(name, seed=self.seed, shape=(self.scenarios, width, slots), persistence=persistence)

    def _emit(self, parts: list[_Part], nodes: pl.DataFrame, *, place: str) -> Iterator[pl.DataFrame]:
        wanted = nodes.select("node_id", "direction", "interval_minutes", place=place).unique(maintain_order=True)
        for (direction, minutes), group in wanted.partition_by("direction", "interval_minutes", as_dict=True).items():
            target = int(minutes)
            position = {name: index for index, name in enumerate(group["place"])}
            total = np.zeros((self.scenarios, group.height, self.axis.slots(target)), dtype=np.float32)
            for part in parts:
                chosen = [index for index, name in enumerate(part.places) if name in position]
                if part.direction != direction or not chosen or target % part.minutes:
                    continue
                into = [position[part.places[index]] for index in chosen]
                total[:, into] += _coarsened(part.sums[:, chosen], times=target // part.minutes)
            yield _frame(group["node_id"], self.axis.times(target), deviations(total))


def _axis(forecasts: pl.DataFrame, members: pl.DataFrame) -> _Axis:
    coarsest = int(members["interval_minutes"].max())  # type: ignore[arg-type]
    finest = int(np.gcd.reduce(members["member_minutes"].unique().to_numpy()))
    minute = pl.col("starts_at_utc").dt.epoch("us") // _MICROSECONDS
    start, last = forecasts.select(minute.min().alias("start"), minute.max().alias("last")).row(0)
    return _Axis(start=start // coarsest * coarsest, end=(last // coarsest + 1) * coarsest, finest=finest)


def _dense(forecasts: pl.DataFrame, axis: _Axis) -> dict[int, tuple[dict[str, int], Floats]]:
    """Return per cadence the row of each meter and the quantiles (meters, slots, levels)."""
    dense = {}
    for (cadence,), group in forecasts.sort("node_id").partition_by("interval_minutes", as_dict=True).items():
        minutes = int(cadence)
        row = group["node_id"].rank("dense").to_numpy() - 1
        slot = (group["starts_at_utc"].dt.epoch("us").to_numpy() // _MICROSECONDS - axis.start) // minutes
        values = np.zeros((int(row.max()) + 1, axis.slots(minutes), len(QUANTILE_COLUMNS)), dtype=np.float32)
        values[row, slot] = group.select(QUANTILE_COLUMNS).to_numpy()
        dense[minutes] = ({name: index for index, name in enumerate(group["node_id"].unique().sort())}, values)
    return dense


def _collapsed(parts: list[_Part], *, place: str) -> list[_Part]:
    """Return parts summed over their places into the one above."""
    return [
        _Part(direction=part.direction, minutes=part.minutes, places=[place], sums=part.sums.sum(axis=1, keepdims=True))
        for part in parts
    ]


def _merged(parts: list[_Part]) -> list[_Part]:
    """Return parts of one place with those of equal direction and cadence added up."""
    merged: dict[tuple[str, int], _Part] = {}
    for part in parts:
        known = merged.get((part.direction, part.minutes))
        sums = part.sums if known is None else known.sums + part.sums
        merged[part.direction, part.minutes] = _Part(
            direction=part.direction, minutes=part.minutes, places=part.places, sums=sums
        )
    return list(merged.values())


def _coarsened(sums: Floats, *, times: int) -> Floats:
    if times == 1:
        return sums
    coarse: Floats = sums.reshape(*sums.shape[:2], -1, times).sum(axis=-1)
    return coarse


def _frame(node_ids: pl.Series, times: pl.Series, values: npt.NDArray[np.float64]) -> pl.DataFrame:
    nodes, slots = values.shape[:2]
    columns = {
        f"sampled_{name}": values[..., index].ravel() for index, name in enumerate(QUANTILE_COLUMNS) if name != "q50"
    }
    return pl.DataFrame(
        {
            "node_id": node_ids.gather(np.repeat(np.arange(nodes), slots)),
            "starts_at_utc": times.gather(np.tile(np.arange(slots), nodes)),
            **columns,
        }
    )
