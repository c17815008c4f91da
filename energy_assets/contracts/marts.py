"""Contracts of the serving marts: small tables shaped for the pages and panels that read them."""

from energy_assets.contracts.forecasts import NODE_DIRECTIONS, NODE_KINDS
from energy_assets.contracts.metering import COMMODITIES
from energy_assets.contracts.table import Column, Table, day, integer, number, text, time

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

USAGE_NODE_KINDS = ("premise", "site", "cluster", "portfolio")
USAGE_DIMENSIONS = ("hour_of_day", "weekday")

_NODE: tuple[Column, ...] = (
    text("node_id", "`<premise_id, site_id or portfolio>|<commodity>|<direction>`, or a cluster_id"),
    text("node_kind", "Level of the node", allowed=USAGE_NODE_KINDS),
    text("site_id", "Site of the node; null for clusters and the portfolio", nullable=True),
    text("commodity", "What flows", allowed=COMMODITIES),
    text(
        "direction",
        "Which way. Directions are never added up: `net` of electricity is what is drawn minus what is fed in, by the "
        "grid meters where a premise has them, so that nothing behind them counts twice",
        allowed=NODE_DIRECTIONS,
    ),
)
_USAGE: tuple[Column, ...] = (
    number("energy_kwh", "Sum of the known intervals; null without any", nullable=True),
    number("known_hours", "Hours of the node's meters with a value", 0, because="a length"),
    number("expected_hours", "Hours of the node's meters with a row, with or without a value", 0, because="a length"),
    number(
        "cost",
        "Energy drawn at the published price less energy fed in at the published feed-in price, currency; intervals "
        "without a published price at the zone's flat rates. Null for other commodities than electricity",
        nullable=True,
    ),
    number("flat_cost", "The same at the zone's flat rates alone, currency", nullable=True),
    number("published_kwh", "Energy, whichever way, that a published price was found for", 0, because="a sum"),
    text("currency_code", "ISO 4217; null where there is no cost, or more than one currency", nullable=True),
)


def _usage(name: str, description: str, *time_columns: Column, key: tuple[str, ...], window_column: str) -> Table:
    return Table(
        schema="marts",
        name=name,
        description=description,
        columns=(*_NODE, *time_columns, *_USAGE),
        key=("node_id", *key),
        window_column=window_column,
        sorted_by=("node_id", *key),
    )


MARTS_USAGE_HOURLY = _usage(
    "usage_hourly",
    "Energy and cost per premise, site, cluster and portfolio, by hour of UTC and of the sites' clocks.",
    time("starts_at_utc", "Start of the hour"),
    day("local_date", "Date on the clock of the meters' site"),
    integer("local_hour", "Hour on that clock; a node with several clocks has a row for each", 0, "a clock"),
    key=("starts_at_utc", "local_date", "local_hour"),
    window_column="starts_at_utc",
)
MARTS_USAGE_DAILY = _usage(
    "usage_daily",
    "Energy and cost per node and local day, which has 23, 24 or 25 hours.",
    day("local_date", "Date on the clock of the meters' site"),
    key=("local_date",),
    window_column="local_date",
)
MARTS_USAGE_WEEKLY = _usage(
    "usage_weekly",
    "Energy and cost per node and week, Monday to Sunday.",
    day("starts_on", "Monday of the week"),
    key=("starts_on",),
    window_column="starts_on",
)
MARTS_USAGE_MONTHLY = _usage(
    "usage_monthly",
    "Energy and cost per node and month.",
    day("starts_on", "First day of the month"),
    key=("starts_on",),
    window_column="starts_on",
)
MARTS_USAGE_BY_CLOCK = _usage(
    "usage_by_clock",
    "Energy and cost per node and month by hour of the day (0 to 23) and by weekday (1 Monday to 7 Sunday).",
    day("month_starts_on", "First day of the month"),
    text("dimension", "What `position` counts", allowed=USAGE_DIMENSIONS),
    integer("position", "Hour of the day, or weekday", 0, "a position"),
    key=("month_starts_on", "dimension", "position"),
    window_column="month_starts_on",
)
MARTS_USAGE = (
    MARTS_USAGE_HOURLY, MARTS_USAGE_DAILY, MARTS_USAGE_WEEKLY, MARTS_USAGE_MONTHLY, MARTS_USAGE_BY_CLOCK,
)  # fmt: skip
