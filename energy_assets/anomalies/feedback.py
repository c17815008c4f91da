"""What people say about events sets their state, and silences the same cause on the same meter for a while."""

from __future__ import annotations

import polars as pl

from energy_assets.anomalies.limits import Limits

_STATE_OF = {"acknowledged": "acknowledged", "false": "false", "expected": "expected", "closed": "closed"}
DISMISSED = ("false", "expected")


def with_states(events: pl.DataFrame, *, feedback: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Return the events with the state of their last verdict, and `is_alert` where they ask for attention.

    `feedback` are rows of `anomalies.feedback`; `reopened` gives an event back its own state (`state` holds open or
    closed). What is said of an incident holds for its members. An event judged false or expected is no alert, nor is
    another of its cause on its meter that begins within `suppression_days` after it.
    """
    spoken = last_verdicts(feedback)
    judged = (
        events.join(spoken, on="event_id", how="left", validate="m:1")
        .join(spoken.rename({"event_id": "incident_id", "verdict": "of_incident"}), on="incident_id", how="left")
        .with_columns(verdict=pl.coalesce("verdict", "of_incident"))
        .drop("of_incident")
        .with_columns(
            state=pl.coalesce(
                pl.col("verdict").replace_strict(_STATE_OF, default=None, return_dtype=pl.String), "state"
            )
        )
    )
    dismissed = pl.col("state").is_in(DISMISSED)
    silencing = judged.filter(dismissed, pl.col("meter_id").is_not_null()).select(
        "meter_id", "cause", since="starts_at_utc"
    )
    until = pl.col("since") + pl.duration(days=limits.suppression_days)
    silenced = (
        judged.select("event_id", "meter_id", "cause", "starts_at_utc")
        .join(silencing, on=["meter_id", "cause"])
        .filter(pl.col("starts_at_utc") >= pl.col("since"), pl.col("starts_at_utc") <= until)["event_id"]
    )
    reopened = pl.col("verdict").eq_missing("reopened")
    quiet = dismissed | pl.col("verdict").eq_missing("closed")
    is_member = pl.col("incident_id").is_not_null() & pl.col("meter_id").is_not_null()
    attention = pl.col("alerted_at_utc").is_not_null() & ~is_member & ~quiet
    return judged.with_columns(is_alert=attention & (~pl.col("event_id").is_in(silenced.implode()) | reopened)).drop(
        "verdict"
    )


def last_verdicts(feedback: pl.DataFrame) -> pl.DataFrame:
    """Return `event_id, verdict`: the last word on each event."""
    return (
        feedback.sort("recorded_at_utc", "author")
        .unique("event_id", keep="last", maintain_order=True)
        .select("event_id", "verdict")
    )
