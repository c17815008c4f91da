"""Contract of the ranking: how likely each event is a real fault, in the words of a model that people taught."""

from energy_assets.contracts.table import Table, integer, number, text, time

ANOMALIES_RANKING = Table(
    schema="anomalies",
    name="ranking",
    description="How likely each event is a fault, by the supervised ranker; empty until labels suffice to train one.",
    columns=(
        text("event_id", "Event, as in anomalies.events"),
        text("meter_id", "Meter"),
        time("starts_at_utc", "Start of the event"),
        number("probability", "Highest probability of a fault among its flagged slots", 0, 1, "a probability"),
        integer("place", "Place among the events that begin on the same day, 1 is the likeliest", 1, "a place"),
        text("model_version", "Registered model and version"),
    ),
    key=("event_id",),
    window_column="starts_at_utc",
    sorted_by=("starts_at_utc", "place"),
)
