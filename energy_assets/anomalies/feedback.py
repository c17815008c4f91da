"""What people say about events sets their state, and silences the same cause on the same meter for a while."""

from __future__ import annotations

import polars as pl

from energy_assets.anomalies.limits import Limits

_STATE_OF = {"acknowledged": "acknowledged", "false": "false", "expected": "expected", "closed": "closed"}


def with_states(events: pl.DataFrame, *, feedback: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Return the events with the state of their last verdict, and without alerts where people said enough.

    `feedback` are rows of `anomalies.feedback`; `reopened` gives an event back its own state. An event judged false
    or expected is no alert, nor is another of its cause on its meter that begins within `suppression_days` after it.
    """
    last = (
        feedback.sort("recorded_at_utc", "author")
        .unique("event_id", keep="last", maintain_order=True)
        .select("event_id", "verdict")
    )
    judged = events.join(last, on="event_id", how="left", validate="m:1").with_columns(
        state=pl.coalesce(pl.col("verdict").replace_strict(_STATE_OF, default=None, return_dtype=pl.String), "state")
    )
    dismissed = pl.col("state").is_in(["false", "expected"])
    silencing = (
        judged.filter(dismissed, pl.col("meter_id").is_not_null())
        .select("meter_id", "cause", since="starts_at_utc", silencer="event_id")
    )  # fmt: skip
    until = pl.col("since") + pl.duration(days=limits.suppression_days)
    silenced = (
        judged.select("event_id", "meter_id", "cause", "starts_at_utc")
        .join(silencing, on=["meter_id", "cause"])
        .filter(pl.col("starts_at_utc") >= pl.col("since"), pl.col("starts_at_utc") <= until)["event_id"]
    )
    spoken = pl.col("verdict").is_in(["reopened"]).fill_null(value=False)
    quiet = dismissed | (pl.col("state") == "closed") & pl.col("verdict").eq_missing("closed")
    return judged.with_columns(
        is_alert=pl.col("is_alert") & ~quiet & (~pl.col("event_id").is_in(silenced.implode()) | spoken)
    ).drop("verdict")
