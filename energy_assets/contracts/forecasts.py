"""Contracts of forecasts: one row a node and slot, and how good they were."""

from itertools import pairwise

from energy_assets.contracts.metering import COMMODITIES, DIRECTIONS
from energy_assets.contracts.table import Column, Table, day, integer, number, text, time

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

PEAK_HOURS = 24

MOST_KWH_BELOW_PORTFOLIO, MOST_KWH = 1e9, 1e11
"""kWh per slot: Europe's grid carries 5e8 in an hour; a portfolio may be a continent's meters at 1,000 x in error."""


def _quantiles(what: str, unit: str) -> tuple[Column, ...]:
    because = f"no node carries {MOST_KWH:g} kWh a slot"
    return tuple(
        number(name, f"Quantile {level:g} of {what}, {unit}", -MOST_KWH, MOST_KWH, because)
        for name, level in LEVELS.items()
    )


_CROSSING = " OR ".join(f"{low} > {high}" for low, high in pairwise(QUANTILE_COLUMNS))
_IN_ORDER = ("quantiles do not cross", _CROSSING)
_OUTERMOST = "greatest(abs(q05), abs(q95))"
_SIZE = (
    f"|q| <= {MOST_KWH_BELOW_PORTFOLIO:g} below the portfolio: no grid carries more in a slot",
    f"node_kind <> 'portfolio' AND {_OUTERMOST} > {MOST_KWH_BELOW_PORTFOLIO!r}",
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
        *_quantiles("the energy", "kWh per interval"),
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
    row_rules=(_IN_ORDER, _SIZE),
)

FORECASTS_PEAKS = Table(
    schema="forecasts",
    name="peaks",
    description="Highest load of the coming local days of every node above meters, and its hour, as distributions.",
    columns=(
        text("node_id", "Node, as in forecasts.load"),
        time("issued_at_utc", "Issue of the forecasts"),
        day("local_date", "Day of the node's site; of a portfolio over several zones a UTC day. Whole days only"),
        *_quantiles("the highest mean power of an interval", "kW"),
        integer("likeliest_hour", "Local hour that holds the peak in most scenarios", 0, "an hour"),
        *(
            number(f"hour_{hour:02d}", f"Share of scenarios whose peak is in local hour {hour}", 0, 1, "a share")
            for hour in range(PEAK_HOURS)
        ),
    ),
    key=("node_id", "issued_at_utc", "local_date"),
    window_column="issued_at_utc",
    partitioned_by=("year(issued_at_utc)", "month(issued_at_utc)"),
    sorted_by=("node_id", "issued_at_utc"),
    row_rules=(_IN_ORDER,),
)

FORECASTS_LIMITS = Table(
    schema="forecasts",
    name="limits",
    description="How likely each slot's load is beyond what the connection of a premise, site or portfolio carries.",
    columns=(
        text("node_id", "Node, as in forecasts.load; of electricity the net load"),
        time("issued_at_utc", "Issue of the forecasts"),
        time("starts_at_utc", "Start of the slot"),
        integer("interval_minutes", "Length of the slot", 1, "the finest cadence we keep"),
        number("limit_kw", "What the connection carries, either way, as it was stated at the issue", 0),
        number("probability", "Share of the joint scenarios whose mean power is above the limit", 0, 1, "a share"),
        number("probability_fed_in", "Share that feeds in more than the limit", 0, 1, "a share"),
    ),
    key=("node_id", "issued_at_utc", "starts_at_utc"),
    window_column="issued_at_utc",
    partitioned_by=("year(issued_at_utc)", "month(issued_at_utc)"),
    sorted_by=("node_id", "issued_at_utc", "starts_at_utc"),
    row_rules=(("a load cannot be beyond both limits", "probability + probability_fed_in > 1.000001"),),
)

FORECASTS_RECIPES = Table(
    schema="forecasts",
    name="recipes",
    description="What an issue was made with beside models and features: seed and dependence of its scenarios, widths.",
    columns=(
        time("issued_at_utc", "Issue"),
        text(
            "parameter",
            "seed, scenarios; across_portfolio, within_site, within_premise, hour_to_hour, lasting, with_opposite: "
            "correlations; "
            "centre: share of the way from median to mean; widening: factor on the bands; peak_shift (half-bands) and "
            "peak_widening: of the highest load of a day",
        ),
        text(
            "subject",
            "Kind (`<commodity>|<direction>`), rung of the ladder for widening, `<level>|<kind>` for peaks; `all` for "
            "the rest",
        ),
        number("value", "Value"),
    ),
    key=("issued_at_utc", "parameter", "subject"),
    window_column="issued_at_utc",
    sorted_by=("issued_at_utc", "parameter", "subject"),
)

FORECASTS_EVIDENCE = Table(
    schema="forecasts",
    name="evidence",
    description="Counts of how past bands and sums held, from which later nights learn widths and dependence.",
    columns=(
        time("issued_at_utc", "Issue of the forecasts that were measured"),
        text("statistic", "What was counted; `energy_assets.forecasts.learning` says how each is read"),
        text("subject", "Kind (`<commodity>|<direction>`), rung of the ladder, or `<level>|<kind>` of peaks"),
        integer("bin", "Class of the value, or place in the grid of what is tried"),
        integer("slots", "Slots counted", 0, "a count"),
        number("total", "Sum over these slots"),
    ),
    key=("issued_at_utc", "statistic", "subject", "bin"),
    window_column="issued_at_utc",
    sorted_by=("issued_at_utc", "statistic", "subject"),
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
            "time, `meters_nmae_06_12h` and `meters_coverage_80_06_12h`; of the day's peak `peak_nmae`, `peak_bias`, "
            "`peak_coverage_80`, `peak_hour_share`; of `forecasts.limits` `limit_brier`, of all `limits_brier` and by "
            "class of chance `limits_slots_05_20`, `limits_expected_05_20`, `limits_observed_05_20`",
        ),
        number("value", "Value of the metric; shares, not percent"),
    ),
    key=("model", "node_id", "window_start_utc", "metric"),
    window_column="window_start_utc",
    sorted_by=("model", "node_id", "window_start_utc"),
)

FORECASTS_OUTLOOK = Table(
    schema="forecasts",
    name="outlook",
    description="Energy of every meter over the next ninety local days, day by day and in all, each with its range.",
    columns=(
        text("meter_id", "Meter"),
        time("issued_at_utc", "Midnight that ends the readings it was made from"),
        day("local_date", "First local day"),
        integer("days", "How many days together: 1, or the first 7, 30, 60 or 90", 1, "a day at least"),
        *_quantiles("the energy", "kWh"),
        number("usual_kwh", "As many days like the mean one of the four weeks before: what it is measured against"),
    ),
    key=("meter_id", "issued_at_utc", "local_date", "days"),
    window_column="issued_at_utc",
    sorted_by=("meter_id", "issued_at_utc", "local_date"),
    row_rules=(_IN_ORDER,),
)

FORECASTS_AHEAD = Table(
    schema="forecasts",
    name="ahead",
    description="The next intervals of every meter and their sum over three hours, from readings up to a moment ago.",
    columns=(
        text("meter_id", "Meter"),
        time("issued_at_utc", "Everything that was used was known at this instant"),
        time("starts_at_utc", "Start of the interval, or of the sum"),
        integer("minutes", "Length: that of the meter's interval, or of all intervals together", 1, "a minute"),
        *_quantiles("the energy", "kWh"),
        text("method", "What made the interval; `sum` of all together", allowed=METHODS),
        text("reason", "Why no better rung served", nullable=True),
    ),
    key=("meter_id", "issued_at_utc", "starts_at_utc", "minutes"),
    window_column="issued_at_utc",
    partitioned_by=("year(issued_at_utc)", "month(issued_at_utc)"),
    sorted_by=("meter_id", "issued_at_utc", "starts_at_utc"),
    row_rules=(_IN_ORDER,),
)
