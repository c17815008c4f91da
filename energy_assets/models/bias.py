"""What a point forecast was lately off by, per meter and hour of the local day, and how much of that comes again.

A blend of medians is low for loads with rare peaks, and no tree knows a habit that is a week old. The mean of recent
errors (half-life 10 days) is such a correction; how much of it helped on the days after is a regression of its own, per
meter as far as days speak for it, so that chance corrects nothing. Each day is corrected from days known before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.errors import ModelError
from energy_assets.features.history import Floats, Ints
from energy_assets.models.design import ROWS_OF_A_DAY

Doubles = npt.NDArray[np.float64]

BIAS_COLUMNS = ("meter_id", "issued_at_utc", "lead_hours", "local_hour", "interval_minutes")
_HOURS = 24
_HALF_LIFE_DAYS = 10.0
_USE_HALF_LIFE_DAYS = 40.0
_DAYS_FOR_HALF_BELIEF = 45.0
_LARGEST = 1.0
_ARRAYS = ("errors", "hours", "moved", "helped", "days")


@dataclass(frozen=True, kw_only=True)
class Bias:
    """Sums as of a day, older ones aged.

    Attributes:
        day: up to which outcomes are in the sums, counted from the epoch; None where there are none.
        errors, hours: [meter, hour] sum of errors in units and the hours behind them.
        moved, helped, days: [meter] squares of past corrections, their products with the errors, and the days behind.
    """

    meters: tuple[str, ...]
    day: int | None
    errors: Doubles
    hours: Doubles
    moved: Doubles
    helped: Doubles
    days: Doubles

    def apply(self, rows: pl.DataFrame) -> Floats:
        """Return the correction [row] in units, for rows with BIAS_COLUMNS; 0 for meters without errors."""
        place = {name: index for index, name in enumerate(self.meters)}
        names, inverse = np.unique(rows["meter_id"].to_numpy().astype(str), return_inverse=True)
        meter = np.array([place.get(name, -1) for name in names], dtype=np.int64)[inverse]
        if self.day is None or not len(self.meters):
            return np.zeros(rows.height, dtype=np.float32)
        aged = 0.5 ** (np.maximum(_issue_day(rows) - self.day, 0) / _HALF_LIFE_DAYS)
        hour = _hour(rows)
        lately = self.errors[meter, hour] * aged / (self.hours[meter, hour] * aged + 1)
        return np.where(meter >= 0, self._use()[meter] * lately, 0.0).astype(np.float32)

    def followed(self, rows: pl.DataFrame, *, error: Floats) -> tuple[Bias, Floats]:
        """Return these sums with the errors [row] of later days, and what each row's correction was on its day.

        `rows` have BIAS_COLUMNS and were not in the sums before; an error counts from the day on which it was known.
        """
        known = np.isfinite(error)
        state = self._with_meters(rows["meter_id"].unique().to_list())
        corrections = np.zeros(rows.height, dtype=np.float32)
        if not known.any():
            return state, corrections
        names = np.array(state.meters)
        meter = np.searchsorted(names, rows["meter_id"].to_numpy().astype(str))
        walk = _Walk(state, meter=meter, rows=rows, error=np.where(known, np.clip(error, -_LARGEST, _LARGEST), 0.0))
        issue, told = _issue_day(rows), np.where(known, _known_day(rows), -1)
        by_issue, by_told = _groups(issue), _groups(told)
        first = int(issue.min()) if state.day is None else state.day + 1
        last = int(max(issue.max(), told.max()))
        for day in range(min(first, int(issue.min())), last + 1):
            walk.end_of_day(by_told.get(day, _NONE), is_new=day >= first)
            walk.correct(by_issue.get(day, _NONE))
        return walk.state(day=last), walk.corrections.astype(np.float32)

    def save(self, folder: Path) -> dict[str, object]:
        """Write the sums into the folder and return the rest as content of a JSON file."""
        for name in _ARRAYS:
            np.save(folder / f"bias_{name}.npy", getattr(self, name), allow_pickle=False)
        return {"meters": self.meters, "day": self.day}

    def _use(self) -> Doubles:
        """Return how much of a correction comes again [meter], from 0 to 1: none before days speak for it."""
        own = np.clip(np.divide(self.helped, self.moved, out=np.zeros_like(self.moved), where=self.moved > 0), -1, 2)
        pooled = (own * self.days).sum() / (self.days.sum() + _DAYS_FOR_HALF_BELIEF)
        belief = self.days / (self.days + _DAYS_FOR_HALF_BELIEF)
        use: Doubles = np.clip(belief * own + (1 - belief) * pooled, 0, 1)
        return use

    def _with_meters(self, names: list[str]) -> Bias:
        together = tuple(sorted({*self.meters, *names}))
        place = {name: index for index, name in enumerate(self.meters)}
        old = np.array([place.get(name, -1) for name in together], dtype=np.int64)
        grown = {}
        for name in _ARRAYS:
            array = getattr(self, name)
            empty = np.zeros((len(together), *array.shape[1:]))
            empty[old >= 0] = array[old[old >= 0]]
            grown[name] = empty
        return Bias(meters=together, day=self.day, **grown)


def no_bias() -> Bias:
    """Return sums of nothing."""
    cells, none = np.zeros((0, _HOURS)), np.zeros(0)
    return Bias(meters=(), day=None, errors=cells, hours=cells, moved=none, helped=none, days=none)


def load_bias(folder: Path, *, meters: tuple[str, ...], day: int | None) -> Bias:
    """Return the sums that `save` wrote.

    Raises:
        ModelError: a file is missing or torn.
    """
    try:
        arrays = {name: np.load(folder / f"bias_{name}.npy", allow_pickle=False) for name in _ARRAYS}
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no whole model: {error}; train and save it again.") from error
    return Bias(meters=meters, day=day, **arrays)


class _Walk:
    """Day after day: first what became known, then what is issued."""

    def __init__(self, bias: Bias, *, meter: Ints, rows: pl.DataFrame, error: Doubles) -> None:
        self._meters, self._meter, self._hour, self._error = bias.meters, meter, _hour(rows), error
        self._part = rows["interval_minutes"].to_numpy().astype(np.float64) / 60
        self._sums = {name: getattr(bias, name).copy() for name in _ARRAYS}
        self._plain = np.zeros(rows.height)
        self.corrections = np.zeros(rows.height)

    def end_of_day(self, known: Ints, *, is_new: bool) -> None:
        """Take in the rows that became known; sums age once a day, not on days that they have seen before."""
        sums, meter = self._sums, self._meter[known]
        if is_new:
            for name in _ARRAYS:
                half_life = _HALF_LIFE_DAYS if name in ("errors", "hours") else _USE_HALF_LIFE_DAYS
                sums[name] *= 0.5 ** (1 / half_life)
        error, plain, part = self._error[known], self._plain[known], self._part[known]
        cell = meter, self._hour[known]
        np.add.at(sums["errors"], cell, error * part)
        np.add.at(sums["hours"], cell, part)
        np.add.at(sums["moved"], meter, plain * plain * part)
        np.add.at(sums["helped"], meter, plain * error * part)
        sums["days"] += np.minimum(np.bincount(meter, minlength=len(self._meters)) / ROWS_OF_A_DAY, 1)

    def correct(self, issued: Ints) -> None:
        """Say what the rows of the day's issue are corrected by."""
        if len(issued):
            meter, hour = self._meter[issued], self._hour[issued]
            self._plain[issued] = self._sums["errors"][meter, hour] / (self._sums["hours"][meter, hour] + 1)
            self.corrections[issued] = self.state(day=0)._use()[meter] * self._plain[issued]

    def state(self, *, day: int) -> Bias:
        return Bias(meters=self._meters, day=day, **self._sums)


_NONE: Ints = np.zeros(0, dtype=np.int64)


def _groups(key: Ints) -> dict[int, Ints]:
    order = np.argsort(key, kind="stable")
    values, starts = np.unique(key[order], return_index=True)
    return {int(value): part for value, part in zip(values, np.split(order, starts[1:]), strict=True)}


def _issue_day(rows: pl.DataFrame) -> Ints:
    days: Ints = (rows["issued_at_utc"].to_physical() // 86_400_000_000).to_numpy().astype(np.int64)
    return days


def _known_day(rows: pl.DataFrame) -> Ints:
    """Return the day at whose issue the slot is over."""
    days: Ints = _issue_day(rows) + (rows["lead_hours"].to_numpy() // 24).astype(np.int64) + 1
    return days


def _hour(rows: pl.DataFrame) -> Ints:
    return rows["local_hour"].to_numpy().astype(np.int64) % _HOURS
