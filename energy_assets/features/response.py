"""How a meter answers to temperature: balance points and kWh per degree, fitted from its own days as known then.

Change-point regression of daily energy on daily mean temperature, as building operators do it by hand (ASHRAE Guideline
14's three- and five-parameter models): below one balance point heating grows, above another cooling does. Fitted anew
once a week, on UTC days, from the last five weeks and the same season a year ago.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from energy_assets.features.history import RECENT_DAYS, YEAR_AGO_DAYS, Bools, Floats, Ints, Known
from energy_assets.features.lags import mean_of_known, quantiles_of_known

Doubles = npt.NDArray[np.float64]

HEATING_BASE_C, COOLING_BASE_C = 15.5, 18.0
"""Where nothing can be fitted: CIBSE TM41's base of heating, and the 65 degrees Fahrenheit of cooling of ASHRAE and
the US weather service."""
HEATING_BASES_C = (7.0, 10.0, 13.0, 15.5, 18.0)
COOLING_BASES_C = (13.0, 15.5, 18.0, 20.0, 22.0, 24.0)
HEATS = {"electricity", "steam", "hot_water", "gas"}
COOLS = {"electricity", "chilled_water", "water"}
"""Commodities that serve warmth, and those that serve cold; water cools by evaporation and by gardens."""

MINUTES_PER_WEEK = 7 * 1440
RECENT_FIT_DAYS = RECENT_DAYS - 7
YEAR_AGO_FIT_DAYS = (YEAR_AGO_DAYS[0] - 7, YEAR_AGO_DAYS[1])
"""A week less than an issue reads at its far end, so that every issue of a week has all that its fit asks for."""
_LEAST_DAYS = 21
_LEAST_SHARE_OF_DAY = 0.75
_RANGES_KEPT, _SPREADS_KEPT = 1.0, 4.0
_COST_OF_SLOPE = 3.0
"""Times the logarithm of the days; above Schwarz' 1, because the errors of neighbouring days are alike."""
_RIDGE = (1e-3, 1e-3, 1e-3, 5.0, 5.0)
_FIXED = 3
_CANDIDATES = tuple(
    (heating, cooling)
    for heating in (None, *range(len(HEATING_BASES_C)))
    for cooling in (None, *range(len(COOLING_BASES_C)))
    if (heating is not None or cooling is not None)
    and (heating is None or cooling is None or HEATING_BASES_C[heating] <= COOLING_BASES_C[cooling])
)


@dataclass(frozen=True, kw_only=True)
class Response:
    """Balance points and slopes [meter]; slopes in kWh per interval and degree, NaN where too little is known.

    The balance point of a side on which a commodity does not answer is NaN.
    """

    heating_base_c: Floats
    cooling_base_c: Floats
    heating_kwh_per_c: Floats
    cooling_kwh_per_c: Floats


def fitted_at(issue_minute: int) -> int:
    """Return the minute at which what is fitted for an issue was fitted: the start of its week since the epoch."""
    return issue_minute // MINUTES_PER_WEEK * MINUTES_PER_WEEK


def unfitted(*, heats: Bools, cools: Bools) -> Response:
    """Return the conventional balance points of meters that may heat and may cool."""
    nothing = np.full(len(heats), np.nan, dtype=np.float32)
    return Response(
        heating_base_c=np.where(heats, np.float32(HEATING_BASE_C), np.float32(np.nan)),
        cooling_base_c=np.where(cools, np.float32(COOLING_BASE_C), np.float32(np.nan)),
        heating_kwh_per_c=nothing,
        cooling_kwh_per_c=nothing,
    )


def fit_spans(minute: int, *, step_minutes: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the spans of a fit as steps since the epoch, [from, to): the same season a year ago, the last weeks."""
    per_day, end = 1440 // step_minutes, minute // step_minutes
    old, new = YEAR_AGO_FIT_DAYS
    return (end - old * per_day, end - new * per_day), (end - RECENT_FIT_DAYS * per_day, end)


def daily_means(known: Known) -> Floats:
    """Return the mean energy per interval [meter, day] of the days of both spans; NaN where a quarter is missing."""
    per_day = known.slots_per_day
    old = known.year_ago[:, 7 * per_day :]
    both: Floats = np.concatenate([old, known.recent[:, -RECENT_FIT_DAYS * per_day :]], axis=1)
    return _means_of_days(both.reshape(len(both), -1, per_day))


def daily_temperature(hours: Floats) -> Floats:
    """Return the mean [day] of hours of both spans in a row; NaN where a quarter of the day is missing."""
    of_days: Floats = _means_of_days(hours.reshape(1, -1, 24))[0]
    return of_days


def fit_response(daily_kwh: Floats, *, temperature_c: Floats, rest: Floats, heats: Bools, cools: Bools) -> Response:
    """Return the response of meters.

    Args:
        daily_kwh: mean energy per interval [meter, day], NaN where unknown.
        temperature_c: mean of the day [day].
        rest: share of the day that is weekend or holiday [day].
        heats: which meters may need more when it is cold.
        cools: which may need more when it is warm.
    """
    plain = unfitted(heats=heats, cools=cools)
    days = np.isfinite(temperature_c)
    if days.sum() < _LEAST_DAYS or not len(daily_kwh):
        return plain
    y, unit = _tamed(daily_kwh[:, days])
    count = np.isfinite(y).sum(axis=1)
    basis = _basis(temperature_c[days].astype(np.float64), rest[days], is_old=_is_old(len(days))[days])
    best, coefficients, helps = _best(y, basis, heats=heats, cools=cools)
    usual = _usual(y, basis, coefficients=coefficients, place=_places()[best])
    best, coefficients, helps = _best(usual, basis, heats=heats, cools=cools)
    helps &= count >= _LEAST_DAYS
    chosen = np.where(helps[:, None], coefficients[:, _FIXED:] * unit[:, None], 0.0).astype(np.float32)
    chosen[count < _LEAST_DAYS] = np.nan
    bases = np.array([[_base(HEATING_BASES_C, h), _base(COOLING_BASES_C, c)] for h, c in _CANDIDATES])[best]
    has = helps[:, None] & np.isfinite(bases) & (chosen > 0)
    return Response(
        heating_base_c=np.where(has[:, 0], bases[:, 0], plain.heating_base_c).astype(np.float32),
        cooling_base_c=np.where(has[:, 1], bases[:, 1], plain.cooling_base_c).astype(np.float32),
        heating_kwh_per_c=chosen[:, 0],
        cooling_kwh_per_c=chosen[:, 1],
    )


def _best(y: Doubles, basis: Doubles, *, heats: Bools, cools: Bools) -> tuple[Ints, Doubles, Bools]:
    """Return per meter the best candidate, its coefficients, and whether it is better than no answer at all."""
    known, place = np.isfinite(y), _places()
    count = known.sum(axis=1)[:, None]
    coefficients, lower = _least_squares(np.where(known, y, 0.0), known, basis, place)
    is_absent = place[:, _FIXED:] == basis.shape[1] - 1
    allowed = (is_absent[:, 0] | heats[:, None]) & (is_absent[:, 1] | cools[:, None])
    allowed &= (coefficients[..., _FIXED:] >= 0).all(axis=2)
    number = (~is_absent).sum(axis=1)
    cost = np.where(allowed, count * lower + _COST_OF_SLOPE * number * np.log(count + 1), np.inf)
    best = np.argmin(cost, axis=1)
    row = np.arange(len(best))
    return best, coefficients[row, best], cost[row, best] < 0


def _usual(y: Doubles, basis: Doubles, *, coefficients: Doubles, place: Ints) -> Doubles:
    """Return the days without those that lie far from what a first fit says."""
    said = (basis.T[place] * coefficients[:, :, None]).sum(axis=1)
    error = np.abs(y - said)
    usual: Doubles = np.where(error <= _SPREADS_KEPT * 1.4826 * _median(error)[:, None], y, np.nan)
    return usual


def _least_squares(y: Doubles, known: Bools, basis: Doubles, place: Ints) -> tuple[Doubles, Doubles]:
    """Return coefficients [meter, candidate, 5], and how far each candidate lowers the log of the squared error."""
    # One product a meter: a product of all would round differently with what other meters are asked for.
    squares = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    size = basis.shape[1]
    normal = (known.astype(np.float64)[:, None, :] @ squares).reshape(-1, size, size)
    moment = (y[:, None, :] @ basis)[:, 0]
    total = (y * y).sum(axis=1)
    a = normal[:, place[:, :, None], place[:, None, :]]
    b = moment[:, place]
    is_absent = place == size - 1
    ridge = np.where(is_absent, 1.0, np.array(_RIDGE))
    solved = np.linalg.solve(a + ridge[None, :, :, None] * np.eye(len(_RIDGE)), b[..., None])
    coefficients = solved[..., 0].astype(np.float64)
    error = total[:, None] - 2 * (coefficients * b).sum(axis=2)
    error = error + (coefficients[..., None, :] @ a @ coefficients[..., None])[..., 0, 0]
    floor = np.maximum(total * 1e-9, 1e-12)[:, None]
    flat_a, flat_b = a[:, 0, :_FIXED, :_FIXED], b[:, 0, :_FIXED]
    flat = np.linalg.solve(flat_a + np.diag(_RIDGE[:_FIXED]), flat_b[..., None])[..., 0]
    before = total - 2 * (flat * flat_b).sum(axis=1) + (flat[:, None, :] @ flat_a @ flat[..., None])[:, 0, 0]
    lower: Doubles = np.log(np.maximum(error, floor)) - np.log(np.maximum(before[:, None], floor))
    return coefficients, lower


def _basis(temperature_c: Doubles, rest: Floats, *, is_old: Bools) -> Doubles:
    """Return one, last year, rest, degrees below and above every base, and nothing [day, column]."""
    columns = [np.ones_like(temperature_c), is_old.astype(np.float64), rest.astype(np.float64)]
    columns += [np.maximum(base - temperature_c, 0) for base in HEATING_BASES_C]
    columns += [np.maximum(temperature_c - base, 0) for base in COOLING_BASES_C]
    return np.stack([*columns, np.zeros_like(temperature_c)], axis=1)


def _places() -> Ints:
    """Return the columns of the basis [candidate, 5] that each candidate has."""
    first_cooling = _FIXED + len(HEATING_BASES_C)
    nothing = first_cooling + len(COOLING_BASES_C)
    return np.array(
        [
            [0, 1, 2, nothing if h is None else _FIXED + h, nothing if c is None else first_cooling + c]
            for h, c in _CANDIDATES
        ],
        dtype=np.int64,
    )


def _tamed(daily_kwh: Floats) -> tuple[Doubles, Doubles]:
    """Return days in multiples of each meter's own level, those far beyond most brought near, and the level [meter]."""
    low, middle, high = quantiles_of_known(daily_kwh, levels=(0.1, 0.5, 0.9)).T
    reach = _RANGES_KEPT * (high - low)
    near = np.clip(daily_kwh, (low - reach)[:, None], (high + reach)[:, None]).astype(np.float64)
    size = np.maximum(np.abs(middle), high - low).astype(np.float64)
    unit = np.where(size > 0, size, 1.0)
    multiples: Doubles = near / unit[:, None]
    return multiples, unit


def _median(values: Doubles) -> Doubles:
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    column = np.maximum(count - 1, 0) // 2
    return np.take_along_axis(ordered, column[:, None], axis=1)[:, 0]


def _is_old(days: int) -> Bools:
    return np.arange(days) < days - RECENT_FIT_DAYS


def _means_of_days(slots: Floats) -> Floats:
    enough = np.isfinite(slots).mean(axis=2) >= _LEAST_SHARE_OF_DAY
    return np.where(enough, mean_of_known(slots, axis=2), np.float32(np.nan))


def _base(bases: tuple[float, ...], index: int | None) -> float:
    return float("nan") if index is None else bases[index]
