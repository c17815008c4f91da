"""Labels for the ranker, as a plain frame meter_id, starts_at_utc, is_fault: from known faults and from people's words.

A slot that nobody has said anything about has no row. Whether there are enough labels is judged here too.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from energy_assets.contracts import UTC_TIME

LABELS = pl.Schema({"meter_id": pl.String(), "starts_at_utc": UTC_TIME, "is_fault": pl.Boolean()})
_TRUE = ("acknowledged", "closed")
_FALSE = ("false", "expected")
_REVIEWED = timedelta(days=7)
"""Around an event that a person judged, the meter's other slots count as looked at: good where nothing was said."""


class LabelMinimum(BaseModel):
    """The fewest labels with which a ranker is tried at all; whether it is used is measured (`judge_ranker`).

    Below these the bound of its gain would stand on too few meters to mean anything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    faults: int = Field(30, ge=1, description="Separate faults: runs of labelled slots on one meter.")
    false_alarms: int = Field(20, ge=0, description="Separate runs of good slots, such as events judged false.")
    meters: int = Field(20, ge=1, description="Meters with a fault.")
    fault_slots: int = Field(200, ge=1, description="Slots with a fault.")


def labels_of_faults(faults: pl.DataFrame, *, slots: pl.DataFrame) -> pl.DataFrame:
    """Return labels of all `slots` (meter_id, starts_at_utc) when every fault is known.

    `faults` has meter_id, starts_at_utc and ends_at_utc, as the community generator's labels have them.
    """
    rows = slots.select("meter_id", "starts_at_utc").with_row_index("row")
    hit = (
        rows.join(faults.select("meter_id", since="starts_at_utc", until="ends_at_utc"), on="meter_id")
        .filter(pl.col("starts_at_utc") >= pl.col("since"), pl.col("starts_at_utc") < pl.col("until"))["row"]
        .unique()
    )
    return rows.select("meter_id", "starts_at_utc", is_fault=pl.col("row").is_in(hit.implode())).cast(LABELS)


def labels_of_feedback(
    feedback: pl.DataFrame, *, events: pl.DataFrame, flags: pl.DataFrame, slots: pl.DataFrame
) -> pl.DataFrame:
    """Return labels from what people said about events; the last word about an event counts.

    Flagged slots of an event that was acknowledged or closed are faults, those of one called false or expected are
    good, and so are the slots within a week of a judged event that no event of the meter touches. `feedback`, `events`
    and `flags` are rows of the `anomalies` tables, `slots` meter_id and starts_at_utc of all readings.
    """
    spoken = feedback.sort("recorded_at_utc", "author").unique("event_id", keep="last", maintain_order=True)
    judged = (
        events.drop_nulls("meter_id")
        .join(spoken.select("event_id", "verdict"), on="event_id", how="inner", validate="1:1")
        .filter(pl.col("verdict").is_in([*_TRUE, *_FALSE]))
        .select("meter_id", since="starts_at_utc", until="ends_at_utc", is_fault=pl.col("verdict").is_in(_TRUE))
    )
    said = _within(flags.select("meter_id", "starts_at_utc").unique(), judged)
    reviewed = judged.select("meter_id", since=pl.col("since") - _REVIEWED, until=pl.col("until") + _REVIEWED)
    around = _within(slots.select("meter_id", "starts_at_utc"), reviewed.with_columns(is_fault=pl.lit(value=False)))
    touched = events.drop_nulls("meter_id").select(
        "meter_id", since="starts_at_utc", until="ends_at_utc", is_fault=pl.lit(value=False)
    )
    quiet = around.join(_within(around, touched), on=["meter_id", "starts_at_utc"], how="anti")
    return pl.concat([said, quiet]).sort("meter_id", "starts_at_utc")


def shortage(labels: pl.DataFrame, *, minimum: LabelMinimum | None = None) -> str | None:
    """Return what is lacking for a ranker to be trained on these labels, or None when they suffice."""
    least = minimum or LabelMinimum()
    ordered = labels.sort("meter_id", "starts_at_utc")
    begins = (
        (pl.col("is_fault") != pl.col("is_fault").shift(1))
        | (pl.col("meter_id") != pl.col("meter_id").shift(1))
    ).fill_null(value=True)  # fmt: skip
    known = ordered.select(
        faults=(begins & pl.col("is_fault")).sum(),
        false_alarms=(begins & ~pl.col("is_fault")).sum(),
        meters=pl.col("meter_id").filter("is_fault").n_unique(),
        fault_slots=pl.col("is_fault").sum(),
    ).row(0, named=True)
    lacking = [
        f"{known[name]} of {wanted} {name.replace('_', ' ')}"
        for name, wanted in least.model_dump().items()
        if known[name] < wanted
    ]
    return f"too few labels: {', '.join(lacking)}" if lacking else None


def _within(slots: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Return the slots inside spans (meter_id, since, until, is_fault) with the label of the span that begins last."""
    return (
        slots.select("meter_id", "starts_at_utc")
        .join(spans, on="meter_id", how="inner")
        .filter(pl.col("starts_at_utc") >= pl.col("since"), pl.col("starts_at_utc") < pl.col("until"))
        .sort("since")
        .unique(["meter_id", "starts_at_utc"], keep="last", maintain_order=True)
        .select("meter_id", "starts_at_utc", "is_fault")
        .cast(LABELS)
    )
