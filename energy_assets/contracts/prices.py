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

PRICE_ORIGINS = ("published", "forecast", "profile")

PRICES_WHOLESALE = Table(
    schema="prices",
    name="wholesale",
    description="Wholesale prices around a delivery date as known at its issue: published, forecast, or a profile.",
    columns=(
        text("market_id", "Market, by the name of its file"),
        day("delivery_date", "Delivery date that the forecast was issued for"),
        time("starts_at_utc", "Start of the hour"),
        text("currency_code", "ISO 4217"),
        number("q10_per_mwh", "Lower band, currency/MWh; a published price is its own band"),
        number("q50_per_mwh", "Price, currency/MWh"),
        number("q90_per_mwh", "Upper band, currency/MWh"),
        text("origin", "Where the price comes from", allowed=PRICE_ORIGINS),
        time("issued_at_utc", "Nothing that became known later is in it"),
    ),
    key=("market_id", "delivery_date", "starts_at_utc"),
    window_column="starts_at_utc",
    sorted_by=("market_id", "starts_at_utc"),
)

PRICES_WHOLESALE_MEMBERS = Table(
    schema="prices",
    name="wholesale_members",
    description="What each model said of a market day before its auction: the memory that weights and bands come from.",
    columns=(
        text("market_id", "Market, by the name of its file"),
        day("market_day", "Local day of the market"),
        text("member", "Model"),
        integer("hour", "Hour of the market day, 0 to 23", 0, "the first"),
        number("price_per_mwh", "What the model said, currency/MWh"),
        time("starts_at_utc", "Midnight UTC of the market day"),
    ),
    key=("market_id", "market_day", "member", "hour"),
    window_column="starts_at_utc",
    sorted_by=("market_id", "starts_at_utc"),
)

PRICES_HORIZON = Table(
    schema="prices",
    name="horizon",
    description="Prices of a zone for the week from a delivery date on; each slot says where its price comes from.",
    columns=(
        text("zone_id", "Price zone"),
        day("delivery_date", "Delivery date that the horizon was issued for"),
        time("starts_at_utc", "Start of the slot"),
        integer("interval_minutes", "Length of the slot", 1, "the finest cadence we keep"),
        text("currency_code", "ISO 4217"),
        integer("price_units", "Import price, 1e-5 currency/kWh"),
        integer("export_price_units", "Feed-in price, 1e-5 currency/kWh"),
        text("origin", "Where the price comes from", allowed=PRICE_ORIGINS),
        time("issued_at_utc", "Nothing that became known later is in it"),
    ),
    key=("zone_id", "delivery_date", "starts_at_utc"),
    window_column="starts_at_utc",
    sorted_by=("zone_id", "starts_at_utc"),
)
