"""What kind of day each local day of each site is: working day or day of rest, and the season there.

Whoever compares whole days (profiles, first forecasts of a new meter, groups that answer a price) takes it from here,
so that a public holiday is the same day everywhere.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.contracts.profiles import SEASONS
from energy_assets.features.calendar import WORKDAY, Place, calendar_table
from energy_assets.features.closures import spans_of

SITE_DAYS = pl.Schema({"site_id": pl.String(), "local_date": pl.Date(), "season": pl.String(), "day_kind": pl.String()})


def site_days(sites: pl.DataFrame, *, first: date, last: date, closures: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return SITE_DAYS of every site of `metering.sites` from `first` to `last`, both included.

    Saturdays, Sundays, public holidays of the site's country and region and declared closures are days of `rest`, all
    others `working`. Seasons are those of the months, half a year apart south of the equator. `closures` as
    `closures.read_closures` returns them.
    """
    frames = [SITE_DAYS.to_frame()]
    # Twice a day, so that no change of the clock hides a date.
    noon = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(days=1)
    ends = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=2)
    starts = pl.datetime_range(noon, ends, "12h", eager=True).cast(UTC_TIME)
    where = ["timezone", "country_code", "subdivision_code"]
    about = sites.select("site_id", "latitude", *where).iter_rows()
    for site_id, latitude, timezone, country, subdivision in about:
        spans = spans_of(closures, site_id=site_id, country_code=country, subdivision_code=subdivision)
        place = Place(timezone=timezone, country_code=country, subdivision_code=subdivision, spans=spans)
        quarter = pl.col("local_date").dt.month() % 12 // 3 + (2 if latitude is not None and latitude < 0 else 0)
        frames.append(
            calendar_table(starts, place=place)
            .unique("local_date")
            .filter(pl.col("local_date").is_between(first, last))
            .select(
                "local_date",
                site_id=pl.lit(site_id),
                season=(quarter % 4).replace_strict(dict(enumerate(SEASONS)), return_dtype=pl.String),
                day_kind=pl.when(pl.col("day_kind") == WORKDAY).then(pl.lit("working")).otherwise(pl.lit("rest")),
            )
            .select(list(SITE_DAYS))
            .sort("local_date")
        )
    return pl.concat(frames)
