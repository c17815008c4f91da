"""What may happen at a node, as joint scenarios: they add up from meter to portfolio, and answer what quantiles cannot.

How likely is the load above a limit in a slot, how high will the day's peak be, and at which hour. The scenarios are
drawn from the published quantiles with the dependence that `scenarios` describes, by keys of meter, premise and site,
so that a meter's scenario is the same one in every node that sums it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS, UTC_TIME
from energy_assets.errors import ContractError
from energy_assets.forecasts.nodes import memberships
from energy_assets.forecasts.scenarios import Dependence, energies, factor

Doubles = npt.NDArray[np.float64]
_MICROSECONDS = 60_000_000


@dataclass(frozen=True, kw_only=True)
class Scenarios:
    """Joint scenarios of the meters of one issue; `of` sums them to any node."""

    energies_kwh: dict[str, Doubles]
    """By meter: [scenario, slot], kWh per interval of the meter."""
    starts: dict[str, npt.NDArray[np.int64]]
    """By meter: start of each slot in minutes since 1970."""
    minutes: dict[str, int]
    members: pl.DataFrame

    def of(self, node_id: str) -> NodeScenarios:
        """Return the scenarios of a meter or of a node above, at the cadence of its coarsest meter.

        Raises:
            ContractError: the issue has no such node.
        """
        if node_id in self.energies_kwh:
            return self._sum([(node_id, 1)], node_id=node_id, minutes=self.minutes[node_id])
        members = self.members.filter(pl.col("node_id") == node_id)
        if members.is_empty():
            raise ContractError(f"The forecast has no node {node_id!r}; forecasts.load lists them as node_id.")
        signed = list(members.sort("meter_id").select("meter_id", "sign").iter_rows())
        return self._sum(signed, node_id=node_id, minutes=int(members["interval_minutes"][0]))

    def _sum(self, signed: list[tuple[str, int]], *, node_id: str, minutes: int) -> NodeScenarios:
        parts = [(sign, *self._coarse(meter, minutes=minutes)) for meter, sign in signed]
        common = parts[0][1]
        for _, starts, _ in parts[1:]:
            common = np.intersect1d(common, starts)
        total = np.zeros((parts[0][2].shape[0], len(common)))
        for sign, starts, values in parts:
            total += sign * values[:, np.searchsorted(starts, common)]
        return NodeScenarios(node_id=node_id, minutes=minutes, starts_minute=common, energy_kwh=total)

    def _coarse(self, meter: str, *, minutes: int) -> tuple[npt.NDArray[np.int64], Doubles]:
        """Return the slots of a coarser cadence that the meter has wholly, and their energies."""
        starts, values = self.starts[meter], self.energies_kwh[meter]
        if self.minutes[meter] == minutes:
            return starts, values
        slots, first, count = np.unique(starts // minutes * minutes, return_index=True, return_counts=True)
        whole = count * self.minutes[meter] == minutes
        return slots[whole], np.add.reduceat(values, first, axis=1)[:, whole]


@dataclass(frozen=True, kw_only=True)
class NodeScenarios:
    """Scenarios of one node: energies [scenario, slot] in kWh per interval of `minutes`."""

    node_id: str
    minutes: int
    starts_minute: npt.NDArray[np.int64]
    energy_kwh: Doubles

    @property
    def starts_at_utc(self) -> pl.Series:
        """Return the starts of the slots."""
        return pl.Series("starts_at_utc", self.starts_minute * _MICROSECONDS).cast(UTC_TIME)

    def likelihood_above(self, limit_kw: float) -> pl.DataFrame:
        """Return node_id, starts_at_utc, interval_minutes, limit_kw and probability: of mean power above the limit."""
        above = (self.energy_kwh * (60 / self.minutes) > limit_kw).mean(axis=0)
        return pl.DataFrame({"starts_at_utc": self.starts_at_utc, "probability": above}).select(
            pl.lit(self.node_id).alias("node_id"),
            "starts_at_utc",
            pl.lit(self.minutes, pl.Int64).alias("interval_minutes"),
            pl.lit(limit_kw, pl.Float64).alias("limit_kw"),
            "probability",
        )

    def daily_peaks(self, *, timezone: str) -> pl.DataFrame:
        """Return per local day the quantiles of the peak (kW, mean over an interval) and where it falls.

        Columns: node_id, local_date, slots, q05 .. q95 in kW, likeliest_hour (0-23, local), and hours: a list of
        structs (hour, probability) of the hours that hold the peak in some scenario. Of equal peaks the first counts.
        """
        local = self.starts_at_utc.dt.convert_time_zone(timezone)
        days, hours = local.dt.date(), local.dt.hour().to_numpy()
        rows = []
        for day in days.unique().sort():
            columns = np.flatnonzero((days == day).to_numpy())
            power = self.energy_kwh[:, columns] * (60 / self.minutes)
            at = hours[columns][power.argmax(axis=1)]
            found, counts = np.unique(at, return_counts=True)
            rows.append(
                {
                    "node_id": self.node_id,
                    "local_date": day,
                    "slots": len(columns),
                    **dict(zip(QUANTILE_COLUMNS, np.quantile(power.max(axis=1), list(LEVELS.values())), strict=True)),
                    "likeliest_hour": int(found[counts.argmax()]),
                    "hours": [
                        {"hour": int(hour), "probability": float(count / len(at))}
                        for hour, count in zip(found, counts, strict=True)
                    ],
                }
            )
        return pl.DataFrame(rows)


def joint_scenarios(
    forecasts: pl.DataFrame, *, meters: pl.DataFrame, dependence: Dependence, seed: int, scenarios: int = 200
) -> Scenarios:
    """Return joint scenarios of the meter rows of one issue.

    `forecasts` are rows of `forecasts.load` of one `issued_at_utc`, of which the meters' are used; `meters` follows its
    contract. `scenarios` is even: half of them mirror the others. The same seed gives the same scenarios, whatever the
    order of the rows.

    Raises:
        ContractError: there are no meter rows, or of several issues, or of meters that are not registered.
    """
    rows = forecasts.filter(pl.col("node_kind") == "meter").sort("node_id", "starts_at_utc")
    issues = rows["issued_at_utc"].unique()
    if issues.len() != 1:
        raise ContractError(f"Scenarios are of one issue, got {issues.len()}; filter forecasts.load by issued_at_utc.")
    known = meters.join(rows.select(meter_id="node_id").unique(), on="meter_id", how="semi")
    if known.height != rows["node_id"].n_unique():
        raise ContractError("Forecasts name meters that metering.meters lacks; register them before they are summed.")
    draw = _Draw(issue=issues[0], dependence=dependence, seed=seed, count=scenarios, rows=rows)
    drawn = {meter: draw.of(about) for meter, about in _described(known)}
    return Scenarios(
        energies_kwh={meter: values for meter, (values, _) in drawn.items()},
        starts={meter: starts for meter, (_, starts) in drawn.items()},
        minutes=dict(known.select("meter_id", "interval_minutes").iter_rows()),
        members=memberships(known),
    )


def _described(meters: pl.DataFrame) -> list[tuple[str, dict[str, str | int]]]:
    names = ("meter_id", "premise_id", "site_id", "commodity", "direction", "interval_minutes")
    return [(row["meter_id"], row) for row in meters.select(names).sort("meter_id").iter_rows(named=True)]


class _Draw:
    """Draws the scenarios of one meter after the other; shared factors are drawn once."""

    def __init__(self, *, issue: datetime, dependence: Dependence, seed: int, count: int, rows: pl.DataFrame) -> None:
        self._dependence, self._seed, self._count = dependence, seed, count
        self._issue_minute = int(issue.timestamp()) // 60
        self._rows = rows.partition_by("node_id", as_dict=True)
        last = rows.select((pl.col("starts_at_utc").dt.epoch("us") // _MICROSECONDS).max()).item()
        self._finest = int(rows["interval_minutes"].min())  # type: ignore[arg-type]
        self._length = (int(last) - self._issue_minute) // self._finest + 1
        self._shared: dict[str, Doubles] = {}

    def of(self, meter: dict[str, str | int]) -> tuple[Doubles, npt.NDArray[np.int64]]:
        rows = self._rows[(meter["meter_id"],)]
        starts = (rows["starts_at_utc"].dt.epoch("us") // _MICROSECONDS).to_numpy().astype(np.int64)
        at = (starts - self._issue_minute) // self._finest
        kind = f"{meter['commodity']}|{meter['direction']}"
        names = (kind, f"{meter['site_id']}|{kind}", f"{meter['premise_id']}|{kind}")
        portfolio, site, premise, own = self._dependence.weights()
        scores = own * self._factor(f"meter {meter['meter_id']}")[:, at]
        for weight, name in zip((portfolio, site, premise), names, strict=True):
            if name not in self._shared:
                self._shared[name] = self._factor(f"shared {name}")
            scores += weight * self._shared[name][:, at]
        quantiles = rows.select(QUANTILE_COLUMNS).to_numpy().astype(np.float32)
        drawn = energies(scores[:, None, :].astype(np.float32), quantiles[None])
        return drawn[:, 0].astype(np.float64), starts

    def _factor(self, name: str) -> Doubles:
        persistence = self._dependence.hour_to_hour ** (self._finest / 60)
        drawn = factor(name, seed=self._seed, shape=(self._count, self._length), persistence=persistence)
        return drawn.astype(np.float64)
