"""From raw readings to energy per meter and interval: what is one, what is none, and why.

The rule is one SQL statement, `sql/interval.sql`, so that a day and a year are cleaned by the same words. A value that
is refused keeps its row: `reported_kwh` stays, `energy_kwh` is null and the reason names the rule.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from energy_assets.contracts import Window
from energy_assets.readings.known_dirt import KNOWN_DIRT_SCHEMA
from energy_assets.sql import Query

REGISTER_REACH = timedelta(days=35)
"""How far from a window the neighbours of its register readings are looked for; a longer gap stays missing."""

REASONS = {
    "gap": "The meter reported before, and nothing for this interval.",
    "conflict": "Several values came for this interval; the one that was known last is used.",
    "negative": "Less than nothing flowed; the value is refused.",
    "impossible": "More than a fifth above the connection's capacity; the value is refused.",
    "known_false_zero": "The source is known to hold false zeros here; the value is refused.",
    "register_gap": "No register reading for a while; its energy is spread evenly over the time between.",
    "register_reset": "The register started anew; what it shows since then is the energy.",
    "register_rollover": "The register ran over its last digit and went on from zero.",
    "not_convertible": "The meter's unit cannot become kWh as it is declared.",
}


def interval_query(window: Window, *, known_dirt: pl.DataFrame | None = None) -> Query:
    """Return the query whose rows are `readings.interval` of a window of whole days.

    It reads `readings.raw` and `metering.meters`. Every energy meter that reported before the window's end has a row
    for each of its intervals since its first. `known_dirt` has the columns of `readings.known_dirt.known_dirt`.
    A window gives the same rows alone as within a longer one, as long as register gaps are shorter than
    `REGISTER_REACH`.
    """
    dirt = KNOWN_DIRT_SCHEMA.to_frame() if known_dirt is None else known_dirt
    return Query.from_file(
        "energy_assets.readings",
        "interval",
        starts=window.starts_at_utc,
        ends=window.ends_at_utc,
        reach_starts=window.starts_at_utc - REGISTER_REACH,
        reach_ends=window.ends_at_utc + REGISTER_REACH,
        dirt_sites=dirt["site_id"].to_list(),
        dirt_commodities=dirt["commodity"].to_list(),
        dirt_starts=dirt["starts_at_utc"].to_list(),
        dirt_ends=dirt["ends_at_utc"].to_list(),
        dirt_reasons=dirt["reason"].to_list(),
    )
