"""What a night, or days that are judged again, change in the stored events: which are rebuilt, and from which flags.

An event that may have changed is rebuilt from all its flags, so that sums never drift; the others are left alone. What
is written is what differs, so that a second run writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from energy_assets.anomalies.events import merged_events
from energy_assets.anomalies.limits import DEFAULT_LIMITS, Limits
from energy_assets.anomalies.slots import widest_gap_hours
from energy_assets.contracts import ANOMALIES_EVENTS, Window

# Events that began within these days before the window are looked at together again: for incidents.
_CONTEXT = timedelta(days=3)


@dataclass(frozen=True, kw_only=True)
class EventChanges:
    """Events to write, ids of those that they replace or that are gone, and all that was looked at as it is now."""

    rows: pl.DataFrame
    stale_ids: list[str]
    events: pl.DataFrame

    @property
    def touched_ids(self) -> list[str]:
        """Return the ids of every row that is to be replaced, removed or added."""
        return sorted({*self.stale_ids, *self.rows["event_id"]})


def spans_of(
    stored: pl.DataFrame, *, flagged: pl.DataFrame, window: Window, limits: Limits = DEFAULT_LIMITS
) -> pl.DataFrame:
    """Return the spans whose flags are needed to rebuild every event that the window's days may change.

    `stored` are all stored events of the meters that the window touches, `flagged` has the meter_id of those with
    flags in it. The result is meter_id, from_utc, until_utc: whole days, and whole events of every family.
    """
    widest = timedelta(hours=widest_gap_hours(limits))
    single = stored.filter(pl.col("meter_id").is_not_null())
    near = single.filter(
        pl.col("ends_at_utc") + widest >= window.starts_at_utc, pl.col("starts_at_utc") - widest <= window.ends_at_utc
    )
    touched = pl.concat([flagged.select("meter_id"), near.select("meter_id")]).unique()
    bounds = {"from_utc": window.starts_at_utc, "until_utc": window.ends_at_utc, "is_window": True}
    of_window = touched.with_columns(pl.lit(value).alias(name) for name, value in bounds.items())
    of_events = single.join(touched, on="meter_id", how="semi").select(
        "meter_id", from_utc="starts_at_utc", until_utc="ends_at_utc", is_window=pl.lit(value=False)
    )
    rows = pl.concat([of_window, of_events], how="vertical_relaxed").sort("meter_id", "from_utc")
    reached = (pl.col("until_utc") + widest).cum_max().shift().over("meter_id")
    islands = rows.with_columns(
        island=(reached.is_null() | (pl.col("from_utc") > reached)).cum_sum().over("meter_id")
    )  # fmt: skip
    return (
        islands.group_by("meter_id", "island")
        .agg(pl.col("from_utc").min(), pl.col("until_utc").max(), pl.col("is_window").any())
        .filter("is_window")
        .select(
            "meter_id",
            from_utc=pl.col("from_utc").dt.truncate("1d"),
            until_utc=(pl.col("until_utc") - timedelta(microseconds=1)).dt.truncate("1d") + timedelta(days=1),
        )
        .sort("meter_id")
    )


def incidents_since(incident_starts: Iterable[datetime], *, window: Window) -> datetime:
    """Return the day from which incidents are told anew: none that is stored begins on the day before it."""
    since = window.starts_at_utc.replace(hour=0, minute=0, second=0, microsecond=0) - _CONTEXT
    for start in sorted(incident_starts, reverse=True):
        if since - timedelta(days=1) <= start < since:
            since = start.replace(hour=0, minute=0, second=0, microsecond=0)
    return since


def follow(
    flags: pl.DataFrame,
    *,
    spans: pl.DataFrame,
    since_utc: datetime,
    stored: pl.DataFrame,
    meters: pl.DataFrame,
    window: Window,
    as_of_utc: datetime,
    prices: pl.DataFrame | None = None,
    days: pl.DataFrame | None = None,
    feedback: pl.DataFrame | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> EventChanges:
    """Return what changes in the stored events now that the days of `window` are judged.

    `flags` are those of `spans`. `stored` holds the events of the meters in the spans, those that began since
    `since_utc` or are open, those that people spoke of, and every member of their incidents. The rest is as in
    `merged_events`.
    """
    inside = stored.join(spans, on="meter_id", how="left").filter(
        pl.col("starts_at_utc") < pl.col("until_utc"), pl.col("ends_at_utc") > pl.col("from_utc")
    )
    replaced = stored.join(inside.select("event_id"), on="event_id", how="semi")
    rest = stored.join(inside.select("event_id"), on="event_id", how="anti")
    spoken = [] if feedback is None else feedback["event_id"].unique().to_list()
    is_seed = (pl.col("starts_at_utc") >= since_utc) | (pl.col("state") == "open") | pl.col("event_id").is_in(spoken)
    incidents = pl.concat([replaced, rest.filter(is_seed)])["incident_id"].drop_nulls().unique()
    # An incident is the sum of its members: all of them, or none.
    kept = rest.filter(is_seed | pl.col("incident_id").is_in(incidents.implode()))
    events = merged_events(
        flags, meters=meters, as_of_utc=as_of_utc, prices=prices, days=days, feedback=feedback, replaced=replaced,
        kept=kept, window=window, since_utc=since_utc, limits=limits,
    )  # fmt: skip
    before = pl.concat([replaced, kept])
    same = events.join(before, on=ANOMALIES_EVENTS.column_names, how="semi", nulls_equal=True)
    rows = events.join(same.select("event_id"), on="event_id", how="anti")
    stale = sorted(({*before["event_id"]} - {*events["event_id"]}) | ({*before["event_id"]} & {*rows["event_id"]}))
    return EventChanges(rows=rows, stale_ids=stale, events=events)
