"""Dirt that is known in advance and that no rule could tell from life: where it is, when, and what to call it.

Cleaning applies a row only to readings that are exactly zero, so that a generated or mended set in the same layout is
left alone.

| source | where | when | what | who says so |
|---|---|---|---|---|
| GEPIII | site 0, electricity (buildings 0 to 104) | until 2016-05-20 | zero although the buildings were in use | the \
competition's hosts; every good solution drops it |
| BDG2 | site Panther, electricity: the same meters | until 2016-05-20 | as above | the same |
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.readings.source import Source

KNOWN_DIRT_SCHEMA = pl.Schema(
    {
        "site_id": pl.String(),
        "commodity": pl.String(),
        "starts_at_utc": UTC_TIME,
        "ends_at_utc": UTC_TIME,
        "reason": pl.String(),
    }
)

# Local midnight of 2016-01-01 and of 2016-05-21 at UTC-5: the run ends in the course of May 20.
_FALSE_ZEROS = (datetime(2016, 1, 1, 5, tzinfo=UTC), datetime(2016, 5, 21, 5, tzinfo=UTC), "known_false_zero")

_ROWS = {
    "ashrae": (("0", "electricity", *_FALSE_ZEROS),),
    "bdg2": (("Panther", "electricity", *_FALSE_ZEROS),),
}


def known_dirt_of(sources: Iterable[Source]) -> pl.DataFrame:
    """Return the known dirt of several sources, in the columns of `known_dirt`."""
    return pl.concat([KNOWN_DIRT_SCHEMA.to_frame(), *(known_dirt(source) for source in sources)])


def known_dirt(source: Source) -> pl.DataFrame:
    """Return the known dirt of a source: zeros of `commodity` at `site_id` in `[starts_at_utc, ends_at_utc)` are false.

    Site ids are those of metering.sites for this source (`ashrae.0`). A source without known dirt gives no rows.
    """
    rows = [(f"{source.name}.{site}", *rest) for site, *rest in _ROWS.get(source.kind, ())]
    return pl.DataFrame(rows, schema=KNOWN_DIRT_SCHEMA, orient="row")
