"""The convex program of a delivery day in price space, stated as matrices and solved by Clarabel.

minimise  expected supply cost after response + lost utility + capacity price x peak
over      the deviation x of the price from the flat rate, subject to revenue, floor, cap, ramp and bill protection.

Loads are scaled by the day's mean and money by the flat rate, so that tolerances mean the same in every currency. The
matrices are written directly because stating the program in a modelling language costs more than solving it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from energy_assets.prices.days import SCENARIO_WEIGHTS, DayForecast, Floats
from energy_assets.prices.response import Response
from energy_assets.prices.supply import SupplyCost
from energy_assets.prices.zones import ZoneConfig

TOLERANCE = 1e-11
GOOD_ENOUGH = 1e-7  # of the scaled constraints, when the solver stops just before its tolerance


@dataclass(frozen=True, kw_only=True)
class DayLimits:
    """What a curve must keep: prices in currency/kWh, revenue in currency; ramp is per slot, infinite when free."""

    floor: float
    cap: float
    ramp: float
    revenue_target: float


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A solved program. Prices and their parts in currency/kWh; `line_weights` are (scenarios, slots, lines)."""

    status: str
    price: Floats
    line_weights: Floats
    capacity: Floats
    revenue: Floats
    ramp: Floats


@dataclass
class _Rows:
    """Rows of one cone, collected as triplets; `names` give the slice of the multipliers of each family."""

    start: int = 0
    count: int = 0
    row: list[npt.NDArray[np.int64]] = field(default_factory=list)
    column: list[npt.NDArray[np.int64]] = field(default_factory=list)
    value: list[Floats] = field(default_factory=list)
    bound: list[Floats] = field(default_factory=list)
    names: dict[str, slice] = field(default_factory=dict)

    def add(self, name: str, *, bound: Floats, entries: list[tuple[npt.NDArray[np.int64], Floats]]) -> None:
        """Append len(bound) rows; each entry gives one column index and one value per row."""
        rows = np.arange(len(bound)) + self.start + self.count
        for columns, values in entries:
            self.row.append(rows)
            self.column.append(np.asarray(columns, dtype=np.int64))
            self.value.append(np.asarray(values, dtype=np.float64))
        self.names[name] = slice(self.start + self.count, self.start + self.count + len(bound))
        self.bound.append(np.asarray(bound, dtype=np.float64))
        self.count += len(bound)

    def add_dense(self, name: str, *, bound: float, columns: npt.NDArray[np.int64], values: Floats) -> None:
        """Append one row with many entries."""
        row = self.start + self.count
        self.row.append(np.full(len(columns), row))
        self.column.append(columns)
        self.value.append(np.asarray(values, dtype=np.float64))
        self.names[name] = slice(row, row + 1)
        self.bound.append(np.array([bound]))
        self.count += 1


def solve_program(
    zone: ZoneConfig, *, day: DayForecast, supply: SupplyCost, response: Response, limits: DayLimits
) -> Solution | str:
    """Return the solution of the welfare program, or what the solver said when it found none."""
    import clarabel
    from scipy import sparse

    program = _Program(zone=zone, day=day, supply=supply, response=response, limits=limits)
    equal, less = program.equalities(), program.inequalities()
    size = program.size
    constraint = sparse.csc_matrix(
        (
            np.concatenate([*equal.value, *less.value]),
            (np.concatenate([*equal.row, *less.row]), np.concatenate([*equal.column, *less.column])),
        ),
        shape=(equal.count + less.count, size),
    )
    bound = np.concatenate([*equal.bound, *less.bound])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
    quadratic, linear = program.objective()
    cones = [clarabel.ZeroConeT(equal.count), clarabel.NonnegativeConeT(less.count)]
    solved = clarabel.DefaultSolver(quadratic, linear, constraint, bound, cones, settings).solve()
    status = str(solved.status)
    point, multiplier = np.asarray(solved.x), np.asarray(solved.z)
    if not _is_usable(status, constraint @ point - bound, equalities=equal.count):
        return status
    return program.interpret(status, point=point, multiplier=multiplier, names=equal.names | less.names)


def _is_usable(status: str, residual: Floats, *, equalities: int) -> bool:
    if not np.all(np.isfinite(residual)):
        return False
    worst = max(float(np.abs(residual[:equalities]).max()), float(residual[equalities:].max()))
    return status in ("Solved", "AlmostSolved", "InsufficientProgress") and worst < GOOD_ENOUGH


class _Program:
    """The scaled program: variables are x (slots), z (groups), y (scenarios x slots), peak."""

    def __init__(
        self, *, zone: ZoneConfig, day: DayForecast, supply: SupplyCost, response: Response, limits: DayLimits
    ) -> None:
        self.slots = len(day.starts_at_utc)
        self.groups = len(response.shift)
        self.money = zone.flat_rate
        self.energy = float(np.abs(day.net_load_kwh).mean()) or 1.0
        self.hours = day.hours
        self.zone, self.limits, self.response = zone, limits, response
        self.net = day.net_load_kwh / self.energy
        self.expected = day.expected_kwh / self.energy
        self.billed = day.billed_kwh / self.energy
        slope = self.money / self.energy
        self.own, self.shift = response.own * slope, response.shift * slope
        self.line_price = supply.price / self.money
        self.line_intercept = supply.intercept / (self.money * self.energy)
        self.capacity_price = zone.capacity_price_per_kw_day / (self.money * self.hours)
        self.size = self.slots + self.groups + 3 * self.slots + 1
        self.x = np.arange(self.slots)
        self.z = self.slots + np.arange(self.groups)
        self.y = self.slots + self.groups + np.arange(3 * self.slots).reshape(3, self.slots)
        self.peak = self.size - 1

    def objective(self) -> tuple[object, Floats]:
        """Return the upper triangle of the quadratic form, and the linear form."""
        from scipy import sparse

        diagonal = np.zeros(self.size)
        diagonal[self.x] = self.own + self.shift.sum(axis=0)
        diagonal[self.z] = self.shift.sum(axis=1)
        rows, columns = np.repeat(self.x, self.groups), np.tile(self.z, self.slots)
        quadratic = sparse.csc_matrix(
            (
                np.concatenate([diagonal, -self.shift.T.ravel()]),
                (np.concatenate([np.arange(self.size), rows]), np.concatenate([np.arange(self.size), columns])),
            ),
            shape=(self.size, self.size),
        )
        linear = np.zeros(self.size)
        linear[self.x] = self.own
        linear[self.y] = SCENARIO_WEIGHTS[:, None]
        linear[self.peak] = self.capacity_price
        return quadratic, linear

    def equalities(self) -> _Rows:
        """Return the rows of revenue neutrality and of the groups' mean deviations."""
        rows = _Rows()
        target = self.limits.revenue_target / (self.money * self.energy) - self.billed.sum()
        rows.add_dense("revenue", bound=target, columns=self.x, values=self.billed)
        for group in range(self.groups):
            total = self.shift[group].sum()
            columns = np.append(self.x, self.z[group])
            if total > 0:
                rows.add_dense(f"mean {group}", bound=0.0, columns=columns, values=np.append(self.shift[group], -total))
            else:
                rows.add_dense(f"mean {group}", bound=0.0, columns=self.z[[group]], values=np.ones(1))
        return rows

    def inequalities(self) -> _Rows:
        """Return the rows of supply lines, peak, bounds, ramps and bill protection."""
        rows = _Rows(start=1 + self.groups)
        slope = self.own + self.shift.sum(axis=0)
        for scenario in range(3):
            for line in range(self.line_price.shape[1]):
                price = self.line_price[:, line]
                entries = [(self.x, -price * slope), (self.y[scenario], -np.ones(self.slots))]
                entries += [(np.full(self.slots, z), price * self.shift[g]) for g, z in enumerate(self.z)]
                bound = -price * self.net[scenario] - self.line_intercept[:, line]
                rows.add(f"line {scenario} {line}", bound=bound, entries=entries)
        entries = [(self.x, -slope), (np.full(self.slots, self.peak), -np.ones(self.slots))]
        entries += [(np.full(self.slots, z), self.shift[g]) for g, z in enumerate(self.z)]
        rows.add("peak", bound=-self.expected, entries=entries)
        rows.add("peak is positive", bound=np.zeros(1), entries=[(np.array([self.peak]), -np.ones(1))])
        ones = np.ones(self.slots)
        rows.add("cap", bound=ones * (self.limits.cap / self.money - 1), entries=[(self.x, ones)])
        rows.add("floor", bound=ones * (1 - self.limits.floor / self.money), entries=[(self.x, -ones)])
        if np.isfinite(self.limits.ramp) and self.slots > 1:
            step = np.full(self.slots - 1, self.limits.ramp / self.money)
            rows.add("up", bound=step, entries=[(self.x[1:], ones[1:]), (self.x[:-1], -ones[1:])])
            rows.add("down", bound=step, entries=[(self.x[1:], -ones[1:]), (self.x[:-1], ones[1:])])
        for index, group in enumerate(self.zone.groups):
            if group.bill_protection is not None:
                load = self.response.group_kwh[index] / self.energy
                most = group.bill_protection * float(load.sum())
                rows.add_dense(f"bill {index}", bound=most, columns=self.x, values=load)
        return rows

    def interpret(self, status: str, *, point: Floats, multiplier: Floats, names: dict[str, slice]) -> Solution:
        """Return prices and what each constraint adds to them: B (price - marginal) = - sum of multipliers x rows."""
        lines = self.line_price.shape[1]
        line_weights = np.array(
            [[multiplier[names[f"line {s} {k}"]] for k in range(lines)] for s in range(3)]
        ).transpose(0, 2, 1)
        push = -multiplier[names["revenue"]][0] * self.billed
        for index, group in enumerate(self.zone.groups):
            if group.bill_protection is not None:
                load = self.response.group_kwh[index] / self.energy
                push = push - multiplier[names[f"bill {index}"]][0] * load
        ramp = np.zeros(self.slots)
        if "up" in names:
            net = multiplier[names["up"]] - multiplier[names["down"]]
            ramp[1:] -= net
            ramp[:-1] += net
        matrix = self.response.matrix() * (self.money / self.energy)
        spread = np.linalg.solve(matrix, np.stack([push, ramp], axis=1))
        return Solution(
            status=status,
            price=(1 + point[self.x]) * self.money,
            line_weights=line_weights,
            capacity=multiplier[names["peak"]] * self.money,
            revenue=spread[:, 0] * self.money,
            ramp=spread[:, 1] * self.money,
        )
