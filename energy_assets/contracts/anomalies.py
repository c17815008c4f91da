"""Contracts of anomalies: flags on single intervals."""

from energy_assets.contracts.table import Table, number, text, time

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
    ),
    key=("meter_id", "starts_at_utc", "rule"),
    window_column="starts_at_utc",
    partitioned_by=("year(starts_at_utc)", "month(starts_at_utc)"),
    sorted_by=("meter_id", "starts_at_utc"),
)
