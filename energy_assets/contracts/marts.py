"""Contracts of the serving marts: small tables shaped for the pages and panels that read them."""

from energy_assets.contracts.forecasts import NODE_KINDS
from energy_assets.contracts.table import Table, day, integer, number, text, time

MARTS_DAILY_ENERGY = Table(
    schema="marts",
    name="daily_energy",
    description="Energy per meter and UTC day, with how much of the day was measured.",
    columns=(
        text("meter_id", "Meter"),
        text("premise_id", "Premise"),
        text("site_id", "Site"),
        text("commodity", "What flows"),
        text("direction", "Which way"),
        time("starts_at_utc", "Start of the UTC day"),
        number("energy_kwh", "Sum of the known intervals", nullable=True),
        number("coverage_fraction", "Share of the day's intervals that are known", 0, 1, "a share"),
        integer("flags", "Anomaly flags on the day", 0, "a count"),
    ),
    key=("meter_id", "starts_at_utc"),
    window_column="starts_at_utc",
    sorted_by=("site_id", "meter_id", "starts_at_utc"),
)

MARTS_OUTLOOK = Table(
    schema="marts",
    name="outlook",
    description="The latest forecast per node and slot beside the price of its zone: what the portal shows first.",
    columns=(
        text("node_id", "Node"),
        text("node_kind", "Level of the node", allowed=NODE_KINDS),
        text("site_id", "Site; null for the portfolio", nullable=True),
        day("delivery_date", "Delivery day the forecast was issued for"),
        time("issued_at_utc", "Issue time"),
        time("starts_at_utc", "Start of the slot"),
        number("q10_kwh", "Lower band"),
        number("q50_kwh", "Median"),
        number("q90_kwh", "Upper band"),
        text("method", "What made the forecast"),
        number("price_per_kwh", "Price of the slot, currency/kWh", nullable=True),
        text("currency_code", "ISO 4217", nullable=True),
    ),
    key=("node_id", "issued_at_utc", "starts_at_utc"),
    window_column="issued_at_utc",
    sorted_by=("node_id", "starts_at_utc"),
)
