"""Contracts of readings: as received, refused, accounted for, and as energy per interval."""

import polars as pl

from energy_assets.contracts.metering import MEASURES, UNITS
from energy_assets.contracts.table import Column, Table, integer, number, text, time

QUALITIES = ("measured", "spread", "estimated", "missing")

READINGS_RAW = Table(
    schema="readings",
    name="raw",
    description="Readings as received, in the unit and measure of their source.",
    columns=(
        text("meter_id", "Meter that reported"),
        time("starts_at_utc", "Start of the interval (interval energy, power) or instant of the reading (register)"),
        text("source", "Declared source"),
        Column(name="payload_hash", dtype=pl.UInt64, description="Fingerprint of value, unit and measure"),
        number("value", "Value as reported"),
        text("unit", "Unit of the value", allowed=UNITS),
        text("measure", "What the value means", allowed=MEASURES),
        time("available_at_utc", "When it could have been known; files without arrival times: end of the interval"),
        text("batch_id", "File or segment it came in, by content"),
    ),
    key=("meter_id", "starts_at_utc", "source", "payload_hash"),
    window_column="starts_at_utc",
    # No partitions: month() of 20 million time stamps would cost more than writing them, and row groups prune as well.
)

READINGS_QUARANTINE = Table(
    schema="readings",
    name="quarantine",
    description="Rows that could not become readings, each with the reason and the row as it came.",
    columns=(
        text("source", "Declared source"),
        text("batch_id", "File or segment it came in, by content"),
        integer("line_number", "Line or row in the batch, from 1", 0, "a position"),
        time("starts_at_utc", "Its time, where that could be read", nullable=True),
        text("reason", "Why it was refused, as snake_case name"),
        text("payload", "The row as it came"),
        time("available_at_utc", "When it came"),
    ),
    key=("source", "batch_id", "line_number", "payload"),
    window_column="starts_at_utc",
    sorted_by=("source", "batch_id", "line_number"),
)

READINGS_LANDINGS = Table(
    schema="readings",
    name="landings",
    description="The account of every batch and day: rows in = stored + duplicate + quarantined.",
    columns=(
        text("source", "Declared source"),
        text("batch_id", "File or segment, by content"),
        time("starts_at_utc", "UTC day of the rows; null for rows without a readable time", nullable=True),
        integer("rows_in", "Rows that came in", 0, "a count"),
        integer("stored", "Rows stored in readings.raw", 0, "a count"),
        integer("duplicate", "Exact repeats, counted and not stored again", 0, "a count"),
        integer("quarantined", "Rows in readings.quarantine", 0, "a count"),
        text("content_hash", "Fingerprint of the stored rows, independent of their order"),
        time("landed_at_utc", "When the landing ran"),
    ),
    key=("source", "batch_id", "starts_at_utc"),
    window_column="starts_at_utc",
)

READINGS_SEGMENTS = Table(
    schema="readings",
    name="segments",
    description="The account of every segment or dump of MQTT messages; what stands here is not landed again.",
    columns=(
        text("source", "Declared source"),
        text("batch_id", "Segment or dump, by content"),
        text("segment", "Name of its file"),
        integer("messages", "Messages in it", 0, "a count"),
        integer("rows_in", "Rows they gave: stored + duplicate + quarantined + ignored", 0, "a count"),
        integer("stored", "Rows stored in readings.raw", 0, "a count"),
        integer("duplicate", "Repeats, counted and not stored again", 0, "a count"),
        integer("quarantined", "Rows in readings.quarantine", 0, "a count"),
        integer("ignored", "Messages that the mapping ignores on purpose", 0, "a count"),
        time("landed_at_utc", "When the landing ran"),
    ),
    key=("source", "batch_id"),
)

READINGS_INTERVAL = Table(
    schema="readings",
    name="interval",
    description="Energy per meter and interval in kWh; a gap keeps its row, stays null and says why.",
    columns=(
        text("meter_id", "Meter"),
        time("starts_at_utc", "Start of the interval"),
        integer("interval_minutes", "Length of the interval", 1, "the finest cadence we keep"),
        number("reported_kwh", "What the meter said, in kWh, before any judgement", nullable=True),
        number("energy_kwh", "What is used: null when missing or refused", nullable=True),
        text("quality", "How the value came about", allowed=QUALITIES),
        text("reason", "Why it is not simply measured", nullable=True),
        time("available_at_utc", "When it could have been known"),
    ),
    key=("meter_id", "starts_at_utc"),
    window_column="starts_at_utc",
    # No partitions: each window is a file of its own, and splitting it by month cost more than writing it.
    sorted_by=("meter_id", "starts_at_utc"),
)
