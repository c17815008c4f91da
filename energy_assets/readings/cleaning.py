"""From raw readings to energy per meter and interval: what is one, what is none, and why.

The rule is one SQL statement, `sql/interval.sql`, so that a day and a year are cleaned by the same words. A value that
is refused keeps its row: `reported_kwh` stays, `energy_kwh` is null and the reason names the rule (`quality.REASONS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from energy_assets.contracts import Window
from energy_assets.contracts.metering import UNITS
from energy_assets.metering.units import ENERGY_COMMODITIES, KW_PER_UNIT, KWH_PER_UNIT, M3_PER_UNIT
from energy_assets.readings.known_dirt import KNOWN_DIRT_SCHEMA
from energy_assets.readings.quality import DEFAULT_LIMITS, REASONS, Limits
from energy_assets.sql import Query

REGISTER_REACH = timedelta(days=21)
"""Longest time between two register readings whose energy is spread; a longer gap stays missing."""

REFERENCE_DAYS = 7
"""Days on either side of a register reading that say what its meter usually draws."""

REGISTER_PADDING = REGISTER_REACH + timedelta(days=REFERENCE_DAYS + 1)
"""How far around a window register readings are looked at; what lies beyond has no say in the window."""

DAYS_AT_ONCE = 92
"""Days of a window that are cleaned in one statement: a quarter of 2,380 hourly meters sorts in a gigabyte."""

_ALWAYS = datetime(9999, 12, 31, tzinfo=UTC)
_DAY = timedelta(days=1)

__all__ = [
    "DAYS_AT_ONCE",
    "REASONS",
    "REGISTER_PADDING",
    "REGISTER_REACH",
    "changed_window",
    "interval_query",
    "stale_days_query",
]


def interval_query(
    window: Window,
    *,
    known_dirt: pl.DataFrame | None = None,
    known_by: datetime | None = None,
    meters: Sequence[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Query:
    """Return the query whose rows are `readings.interval` of a window.

    It reads `readings.raw` and `metering.meters`. Every energy meter that reported before the window's end has a row
    for each of its intervals since its first reading; water has none (see `metering.units`). Raw readings whose measure
    is not the meter's take no part: land a source again after declaring its meters anew. Intervals start at multiples
    of their length since midnight UTC, and a reading belongs to the interval in which its time falls.

    A window gives the same rows alone as within a longer one: what decides about a row lies at most
    `limits.history_days` + 1 days before it, and for registers at most `REGISTER_PADDING` on either side.

    Args:
        window: intervals that start in it.
        known_dirt: rows with the columns of `readings.known_dirt.known_dirt`.
        known_by: use only what was available at this instant, as if it were that time; None: everything.
        meters: ids of those whose intervals are wanted, which no other has a say in; None: all.
        limits: of the rules that refuse values.
    """
    dirt = KNOWN_DIRT_SCHEMA.to_frame() if known_dirt is None else known_dirt
    day_starts = _midnight(window.starts_at_utc)
    return Query.from_file(
        "energy_assets.readings",
        "interval",
        starts=window.starts_at_utc,
        ends=window.ends_at_utc,
        day_starts=day_starts,
        day_ends=_midnight(window.ends_at_utc - timedelta(microseconds=1)) + _DAY,
        history_starts=day_starts - (limits.history_days + 1) * _DAY,
        register_starts=day_starts - REGISTER_PADDING,
        register_ends=window.ends_at_utc + REGISTER_PADDING,
        known_by=known_by or _ALWAYS,
        only=None if meters is None else list(meters),
        commodities=list(ENERGY_COMMODITIES),
        units=list(UNITS),
        kwh_per_unit=[KWH_PER_UNIT.get(unit) for unit in UNITS],
        kw_per_unit=[KW_PER_UNIT.get(unit) for unit in UNITS],
        m3_per_unit=[M3_PER_UNIT.get(unit) for unit in UNITS],
        dirt_sites=dirt["site_id"].to_list(),
        dirt_commodities=dirt["commodity"].to_list(),
        dirt_starts=dirt["starts_at_utc"].to_list(),
        dirt_ends=dirt["ends_at_utc"].to_list(),
        dirt_reasons=dirt["reason"].to_list(),
        history_days=limits.history_days,
        least_days=limits.least_history_days,
        capacity_margin=limits.capacity_margin,
        spike_factor=limits.spike_factor,
        rare_zero_share=limits.rare_zero_share,
        zero_run_us=_microseconds(limits.zero_run),
        least_covered=limits.least_covered,
        blip_us=_microseconds(limits.blip),
        reach_us=_microseconds(REGISTER_REACH),
        around_days=REFERENCE_DAYS,
        jump_factor=limits.jump_factor,
        least_jump_kw=limits.least_jump_kw,
    )


def stale_days_query(window: Window, *, known_dirt: pl.DataFrame | None = None) -> Query:
    """Return the query whose one column `day` names the UTC days of a window that cleaning would now write differently.

    It compares `readings.interval` as stored with what `interval_query` gives, energies to a billionth of a kWh.
    """
    cleaned = interval_query(window, known_dirt=known_dirt)
    compared = _COMPARED.format(rows="cleaned"), _COMPARED.format(rows="stored")
    return Query(
        text=f"""
        WITH cleaned AS MATERIALIZED ({cleaned.text.rstrip().rstrip(";")}),
        stored AS MATERIALIZED (
            FROM readings.interval WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
        )
        SELECT DISTINCT starts_at_utc::DATE AS day
        FROM (({compared[0]} EXCEPT ALL {compared[1]}) UNION ALL ({compared[1]} EXCEPT ALL {compared[0]}))
        ORDER BY day
        """,
        parameters=cleaned.parameters,
    )


_COMPARED = """
    SELECT meter_id, starts_at_utc, interval_minutes, round(reported_kwh, 9), round(energy_kwh, 9), quality, reason,
           available_at_utc
    FROM {rows}"""


def changed_window(window: Window, *, limits: Limits = DEFAULT_LIMITS) -> Window:
    """Return the window of intervals that may differ after raw readings of `window` changed: what to clean again."""
    history = (limits.history_days + 1) * _DAY
    return window.padded(before=REGISTER_PADDING, after=max(REGISTER_PADDING, history))


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
