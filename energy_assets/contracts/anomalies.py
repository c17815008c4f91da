"""Contracts of anomalies: flags on single intervals, events that people act on, and what people said about them."""

from energy_assets.contracts.table import Table, flag, integer, number, text, time

FAMILIES = ("data_fault", "over", "under")
SEVERITIES = ("low", "medium", "high", "critical")
STATES = ("open", "closed", "acknowledged", "false", "expected")
VERDICTS = ("acknowledged", "false", "expected", "closed", "reopened")

ANOMALIES_FLAGS = Table(
    schema="anomalies",
    name="flags",
    description="What is wrong or odd about one interval of one meter, by which rule, and why.",
    columns=(
        text("meter_id", "Meter"),
        time("starts_at_utc", "Start of the interval"),
        text("rule", "Rule that flagged it, snake_case"),
        number("score", "How sure, comparable across meters and rules", 0, 1, "a probability-like score"),
        text("reason", "One sentence with the evidence, in numbers"),
        number("actual_kwh", "What was reported", nullable=True),
        number("expected_kwh", "What was expected, where the rule expects something", nullable=True),
        number("noise_kwh", "Scale of what the expectation leaves over on good days", 0, nullable=True),
    ),
    key=("meter_id", "starts_at_utc", "rule"),
    window_column="starts_at_utc",
    partitioned_by=("year(starts_at_utc)", "month(starts_at_utc)"),
    sorted_by=("meter_id", "starts_at_utc"),
)

ANOMALIES_DAYS = Table(
    schema="anomalies",
    name="days",
    description="How odd the meters of a kind were on a day at their worst: what an alert must stand out from.",
    columns=(
        time("starts_at_utc", "UTC day"),
        text("commodity", "What the meters measure; empty where that is not known"),
        integer("interval_minutes", "Cadence of the meters", 1, "the finest cadence we keep"),
        integer("meters", "Meters that were judged", 1, "a count"),
        number("median_strength", "Median of the meters' strongest slot of the day", 0, 100, "a sum of bounded parts"),
        number("upper_strength", "95th percentile of the same", 0, 100, "a sum of bounded parts"),
    ),
    key=("starts_at_utc", "commodity", "interval_minutes"),
    window_column="starts_at_utc",
    sorted_by=("starts_at_utc",),
)

ANOMALIES_EVENTS = Table(
    schema="anomalies",
    name="events",
    description="What happened to one meter, or to many of a site at once: cause, evidence, cost and state.",
    columns=(
        text("event_id", "Stable identifier: of meter or site, family and first slot"),
        text("incident_id", "Site-wide incident that the event is part of", nullable=True),
        text("site_id", "Site", nullable=True),
        text("meter_id", "Meter; null on a site-wide incident", nullable=True),
        integer("meters", "Meters concerned", 1, "a count"),
        text("family", "Data fault, or consumption above or below", allowed=FAMILIES),
        text("cause", "Cause class: the rule that explains most of the event"),
        number("confidence", "Share of the evidence that speaks for the cause", 0, 1, "a share"),
        time("starts_at_utc", "Start of the first slot"),
        time("ends_at_utc", "End of the last slot that was seen"),
        integer("slots", "Slots that are flagged", 1, "a count"),
        number("score", "Largest score of its slots, less where nothing but odd", 0, 1, "a probability-like score"),
        number("actual_kwh", "Reported energy of the flagged slots; null where nothing was reported", nullable=True),
        number("expected_kwh", "Expected energy of the flagged slots; of a data fault, what it hides", nullable=True),
        number("excess_kwh", "Actual minus expected; null on data faults", nullable=True),
        number("excess_low_kwh", "Lower end of the 90 % interval of the excess", nullable=True),
        number("excess_high_kwh", "Upper end of the 90 % interval of the excess", nullable=True),
        number("cost", "Excess at the published price, currency; null without a price", nullable=True),
        number("greenhouse_gas_kg", "Excess at the published intensity; null without one", nullable=True),
        text("severity", "By cost, or by energy without a price; of data faults also by duration", allowed=SEVERITIES),
        time("first_seen_utc", "End of the day that showed it first", nullable=True),
        time("last_seen_utc", "End of the last day that showed it", nullable=True),
        time("alerted_at_utc", "End of the day on which it first deserved a person's attention", nullable=True),
        flag("is_alert", "Whether it asks for a person's attention: it did, and nobody has dismissed it or its like"),
        text(
            "state", "Where it stands: open while it may still grow, else closed, or what people said", allowed=STATES
        ),
        text("evidence", "The sentence of the strongest slot that speaks for the cause"),
    ),
    key=("event_id",),
    window_column="starts_at_utc",
    sorted_by=("starts_at_utc", "event_id"),
)

ANOMALIES_FEEDBACK = Table(
    schema="anomalies",
    name="feedback",
    description="What people said about events; the last word counts.",
    columns=(
        text("event_id", "Event"),
        time("recorded_at_utc", "When it was said"),
        text("author", "Who said it"),
        text("verdict", "What was said", allowed=VERDICTS),
        text("note", "In their own words", nullable=True),
    ),
    key=("event_id", "recorded_at_utc", "author"),
    window_column="recorded_at_utc",
    sorted_by=("event_id", "recorded_at_utc"),
)
