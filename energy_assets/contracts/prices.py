"""Contracts of prices: a curve per zone and delivery day, that can be explained to the last unit."""

import polars as pl

from energy_assets.contracts.table import Column, Table, day, integer, number, text, time

PRICE_UNITS_PER_CURRENCY = 100_000
PRICE_RUNGS = ("welfare", "projection", "bisection", "flat", "legacy")  # legacy: a predecessor's formula as the rule
PRICE_COMPONENTS = ("energy", "carbon", "risk", "capacity", "revenue", "clip", "ramp")

PRICES_CURVES = Table(
    schema="prices",
    name="curves",
    description="Price per zone and slot of a delivery day in 1e-5 currency/kWh, with components that sum to it.",
    columns=(
        text("zone_id", "Price zone"),
        day("delivery_date", "Local day in the zone"),
        integer("revision", "0 is the first publication", 0, "a count"),
        time("starts_at_utc", "Start of the slot"),
        integer("interval_minutes", "Length of the slot", 1, "the finest cadence we keep"),
        text("currency_code", "ISO 4217"),
        integer("price_units", "Published import price, 1e-5 currency/kWh"),
        integer("export_price_units", "Published feed-in price, 1e-5 currency/kWh"),
        *(
            number(f"{name}_component", f"Part of the price that is {name}, 1e-5 currency/kWh", -1e7, 1e7, "100/kWh")
            for name in PRICE_COMPONENTS
        ),
        number("net_load_q10_kwh", "Net load of the zone, lower band"),
        number("net_load_q50_kwh", "Net load of the zone, median"),
        number("net_load_q90_kwh", "Net load of the zone, upper band"),
        number("greenhouse_gas_kg_per_kwh", "Intensity of the marginal supply", 0, 3, "lignite is 1.2", nullable=True),
        text("rung", "How the curve was found", allowed=PRICE_RUNGS),
        text("solver_status", "What the solver said, or why it was not used"),
        Column(name="inputs_hash", dtype=pl.String, description="Fingerprint of every input"),
        time("published_at_utc", "Nominal time of publication"),
    ),
    key=("zone_id", "delivery_date", "revision", "starts_at_utc"),
    window_column="starts_at_utc",
    sorted_by=("zone_id", "starts_at_utc"),
)

PRICES_DAYS = Table(
    schema="prices",
    name="days",
    description="The account of a zone's delivery day: revenue target and error, peak and social cost against flat.",
    columns=(
        text("zone_id", "Price zone"),
        day("delivery_date", "Local day in the zone"),
        integer("revision", "0 is the first publication", 0, "a count"),
        time("starts_at_utc", "First slot of the delivery day"),
        text("currency_code", "ISO 4217"),
        number("revenue_target", "Revenue of the flat rate on the reference load, currency"),
        number("revenue_error", "Revenue on the reference load minus the target after rounding, currency"),
        number("true_up_carried", "Revenue carried into the next day, currency"),
        number("peak_kw", "Expected peak of the zone under the curve"),
        number("peak_flat_kw", "Expected peak under the flat rate"),
        number("social_cost", "Supply, utility and capacity cost under the curve, currency"),
        number("social_cost_flat", "The same under the flat rate, currency"),
        text("rung", "How the curve was found", allowed=PRICE_RUNGS),
    ),
    key=("zone_id", "delivery_date", "revision"),
    window_column="starts_at_utc",
)
