"""Contracts of forecasts: one row a node and slot, and how good they were."""

from energy_assets.contracts.metering import COMMODITIES, DIRECTIONS
from energy_assets.contracts.table import Column, Table, integer, number, text, time

LEVELS: dict[str, float] = {
    "q05": 0.05,
    "q10": 0.10,
    "q25": 0.25,
    "q50": 0.50,
    "q75": 0.75,
    "q90": 0.90,
    "q95": 0.95,
}
QUANTILE_COLUMNS = tuple(LEVELS)
NODE_KINDS = ("meter", "premise", "site", "portfolio")
NODE_DIRECTIONS = (*DIRECTIONS, "net")
METHODS = ("champion", "without_weather", "analogue", "peers", "climatology", "sum")

_QUANTILES: tuple[Column, ...] = tuple(
    number(name, f"Quantile {level:g} of the energy, kWh per interval", -1e7, 1e7, "no node carries 10 GWh a slot")
    for name, level in LEVELS.items()
)

FORECASTS_LOAD = Table(
    schema="forecasts",
    name="load",
    description="Probabilistic forecast of energy per node and slot, with the method that made it and why.",
    columns=(
        text(
            "node_id",
            "A meter_id; above meters `<premise_id, site_id or portfolio>|<commodity>|<direction>`, where the "
            "direction `net` of electricity is import minus export",
        ),
        text("node_kind", "Level of the node", allowed=NODE_KINDS),
        text("site_id", "Site of the node; null for the portfolio", nullable=True),
        text("commodity", "What flows", allowed=COMMODITIES),
        text(
            "direction",
            "Which way; net may be negative, every other direction only where its readings are",
            allowed=NODE_DIRECTIONS,
        ),
        time("issued_at_utc", "Everything that was used was known at this instant"),
        time("starts_at_utc", "Start of the slot"),
        integer("interval_minutes", "Length of the slot", 1, "the finest cadence we keep"),
        *_QUANTILES,
        text("method", "What made the row; `sum` above meters", allowed=METHODS),
        integer("rung", "Position of the method on the ladder, 0 is best; of a sum its worst", 0, "a position"),
        text("reason", "Why no better rung served; at rung 0 null, or what was odd about the champion", nullable=True),
        text("model_version", "Registered model and version; null where no model was used", nullable=True),
        text("features_hash", "Fingerprint of the features that the forecast was made from"),
    ),
    key=("node_id", "issued_at_utc", "starts_at_utc"),
    window_column="issued_at_utc",
    partitioned_by=("year(issued_at_utc)", "month(issued_at_utc)"),
    sorted_by=("node_id", "issued_at_utc", "starts_at_utc"),
)

FORECASTS_SKILL = Table(
    schema="forecasts",
    name="skill",
    description="Error of every method per node and past delivery day, measured after the fact.",
    columns=(
        text("model", "Method that is measured: a rung of the ladder or a baseline"),
        text("node_id", "Node"),
        time("window_start_utc", "Issue time of the forecasts that are measured"),
        integer("window_days", "Days measured", 1, "a day at least"),
        text(
            "metric",
            "nmae, nrmse, pinball, coverage_80, bias, skill_last_week; of a site's or the portfolio's meters by lead "
            "time, `meters_nmae_06_12h` and `meters_coverage_80_06_12h`",
        ),
        number("value", "Value of the metric; shares, not percent"),
    ),
    key=("model", "node_id", "window_start_utc", "metric"),
    window_column="window_start_utc",
    sorted_by=("model", "node_id", "window_start_utc"),
)
