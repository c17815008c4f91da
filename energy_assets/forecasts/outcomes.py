"""What may happen at a node, as joint scenarios: they add up from meter to portfolio, and answer what quantiles cannot.

How likely is the load above a limit in a slot, how high will the day's peak be, and at which hour. The scenarios are
those that the night summed, drawn again from the published quantiles of the meters and the recipe of the issue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.contracts.forecasts import PEAK_HOURS
from energy_assets.errors import ContractError
from energy_assets.forecasts.hierarchy import members_of
from energy_assets.forecasts.learning import learned_of
from energy_assets.forecasts.peak_learning import AS_DRAWN, PeakCorrection, subject_of
from energy_assets.forecasts.peaks import day_slots, peaks_of, rows_of
from energy_assets.forecasts.sampling import MICROSECONDS, Dense, axis_of, dense_of, drawn
from energy_assets.forecasts.scenarios import SCENARIOS, Dependence, Draw

Doubles = npt.NDArray[np.float64]
_METERS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Scenarios:
    """Joint scenarios of the meters of one issue; `of` draws and sums those of any node."""

    draw: Draw
    dense: dict[int, Dense]
    members: pl.DataFrame
    """As `hierarchy.members_of` returns them."""
    peaks: Mapping[str, PeakCorrection] = field(default_factory=dict)
    """By level and kind, as learned."""

    def of(self, node_id: str) -> NodeScenarios:
        """Return the scenarios of a meter or of a node above, at the cadence of its coarsest meter.

        Raises:
            ContractError: the issue has no such node.
        """
        own = self.members.filter(pl.col("meter_id") == node_id).head(1)
        members = self.members.filter(pl.col("node_id") == node_id)
        if own.height:
            members = own.with_columns(sign=pl.lit(1, pl.Int64), interval_minutes="member_minutes")
        if members.is_empty():
            raise ContractError(f"The forecast has no node {node_id!r}; forecasts.load lists them as node_id.")
        minutes = int(members["interval_minutes"][0])
        level, commodity, direction = members.select("node_kind", "commodity", "direction").row(0)
        subject = subject_of("meter" if own.height else level, commodity=commodity, direction=direction)
        axis = self.draw.axis
        total = np.zeros((axis.slots(minutes), self.draw.scenarios))
        is_there = np.ones(axis.slots(minutes), dtype=bool)
        sites: dict[str, npt.NDArray[np.bool_]] = {}
        for (cadence, site), group in (
            members.sort("meter_id")
            .partition_by("member_minutes", "member_site", as_dict=True, maintain_order=True)
            .items()
        ):
            times = minutes // int(cadence)
            for part in group.iter_slices(_METERS_AT_ONCE):
                dense = self.dense[int(cadence)]
                energy, rows = drawn(self.draw, part, dense, minutes=int(cadence))
                signed = np.einsum("m,mts->ts", part["sign"].to_numpy().astype(np.float64), energy)
                total += signed.reshape(-1, times, signed.shape[1]).sum(axis=1)
                present = (dense.rank[rows] >= 0).reshape(len(rows), -1, times)
                is_there &= (present.all(axis=2) | ~present.any(axis=2)).all(axis=0)
                some = present.any(axis=(0, 2))
                sites[str(site)] = sites.get(str(site), np.zeros_like(some)) | some
        for some in sites.values():
            is_there &= some
        starts = axis.start + minutes * np.flatnonzero(is_there)
        return NodeScenarios(
            node_id=node_id,
            minutes=minutes,
            starts_minute=starts,
            energy_kwh=total[is_there].T,
            correction=self.peaks.get(subject, AS_DRAWN),
        )


@dataclass(frozen=True, kw_only=True)
class NodeScenarios:
    """Scenarios of one node: energies [scenario, slot] in kWh per interval of `minutes`, and what peaks taught."""

    node_id: str
    minutes: int
    starts_minute: npt.NDArray[np.int64]
    energy_kwh: Doubles
    correction: PeakCorrection = AS_DRAWN

    @property
    def starts_at_utc(self) -> pl.Series:
        """Return the starts of the slots."""
        return pl.Series("starts_at_utc", self.starts_minute * MICROSECONDS).cast(UTC_TIME)

    def rows(self) -> pl.DataFrame:
        """Return node_id, scenario (from 0), starts_at_utc, interval_minutes and energy_kwh, by scenario and time."""
        count, slots = self.energy_kwh.shape
        return pl.DataFrame(
            {
                "node_id": [self.node_id] * (count * slots),
                "scenario": np.repeat(np.arange(count), slots),
                "starts_at_utc": pl.concat([self.starts_at_utc] * count),
                "interval_minutes": np.full(count * slots, self.minutes),
                "energy_kwh": self.energy_kwh.ravel(),
            }
        )

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
        rows = []
        for day in day_slots(self.starts_minute, minutes=self.minutes, timezone=timezone):
            energy = self.energy_kwh[:, day.slots].T[None]
            found = peaks_of(
                energy, node_ids=[self.node_id], minutes=self.minutes, day=day, corrections=[self.correction]
            )
            peak = rows_of([found]).row(0, named=True)
            shares = [(hour, peak.pop(f"hour_{hour:02d}")) for hour in range(PEAK_HOURS)]
            hours = [{"hour": hour, "probability": share} for hour, share in shares if share]
            rows.append({**peak, "slots": len(day.slots), "hours": hours})
        return pl.DataFrame(rows)


def joint_scenarios(
    forecasts: pl.DataFrame,
    *,
    meters: pl.DataFrame,
    dependence: Mapping[str, Dependence],
    seed: int,
    peaks: Mapping[str, PeakCorrection] | None = None,
    scenarios: int = SCENARIOS,
) -> Scenarios:
    """Return joint scenarios of the meter rows of one issue.

    `forecasts` are rows of `forecasts.load` of one `issued_at_utc`, of which the meters' are used; `meters` follows its
    contract; `dependence` is by kind, `peaks` by level and kind. `scenarios` is even: half of them mirror the others.
    The same seed gives the same scenarios, whatever the order of the rows.

    Raises:
        ContractError: there are no meter rows, or of several issues, or of meters that are not registered.
    """
    rows = forecasts.filter(pl.col("node_kind") == "meter")
    issues = rows["issued_at_utc"].n_unique()
    if issues != 1:
        raise ContractError(f"Scenarios are of one issue, got {issues}; filter forecasts.load by issued_at_utc.")
    members = members_of(rows, meters=meters)
    axis = axis_of(rows, members)
    draw = Draw(seed=seed, axis=axis, dependence=dependence, scenarios=scenarios)
    dense = dense_of(rows.with_columns(rank=pl.lit(0, pl.Int64)), axis)
    return Scenarios(draw=draw, dense=dense, members=members, peaks=peaks or {})


def published_scenarios(forecasts: pl.DataFrame, *, recipe: pl.DataFrame, meters: pl.DataFrame) -> Scenarios:
    """Return the scenarios that an issue was published with: those of its rows of `forecasts.recipes`.

    Raises:
        ContractError: as `joint_scenarios`; or the issue has no recipe.
    """
    plain = dict(recipe.filter(subject="all").select("parameter", "value").iter_rows())
    if not {"seed", "scenarios"} <= plain.keys():
        raise ContractError("The issue has no recipe in forecasts.recipes; `energy nightly` publishes one with each.")
    learned = learned_of(recipe)
    return joint_scenarios(
        forecasts,
        meters=meters,
        dependence=learned.dependence,
        peaks=learned.peaks,
        seed=int(plain["seed"]),
        scenarios=int(plain["scenarios"]),
    )
