"""What people see in the morning: new before old, grave before small, each event and each incident once."""

from __future__ import annotations

import io
from datetime import timedelta

import polars as pl
from rich.console import Console

from energy_assets.anomalies.vocabulary import RULES
from energy_assets.attention import attention_page, by_urgency, next_step
from energy_assets.contracts import ANOMALIES_EVENTS, ANOMALIES_RANKING
from energy_assets_tests.anomalies.meters import MONDAY


def events(*rows: dict[str, object]) -> pl.DataFrame:
    usual: dict[str, object] = {
        "meter_id": "m", "site_id": "s", "meters": 1, "family": "over", "cause": "level_change", "confidence": 0.8,
        "starts_at_utc": MONDAY, "ends_at_utc": MONDAY + timedelta(hours=30), "slots": 30, "score": 0.8,
        "actual_kwh": 150.0, "expected_kwh": 100.0, "excess_kwh": 50.0, "cost": 12.5, "severity": "medium",
        "alerted_at_utc": MONDAY + timedelta(days=2), "is_alert": True, "state": "open", "evidence": "It rose: [b].",
    }  # fmt: skip
    frame = pl.DataFrame([usual | row for row in rows], infer_schema_length=None)
    absent = [name for name in ANOMALIES_EVENTS.column_names if name not in frame.columns]
    return ANOMALIES_EVENTS.conform(frame.with_columns(pl.lit(None).alias(name) for name in absent))


OLD = {"alerted_at_utc": MONDAY + timedelta(days=1)}
MORNING = events(
    {"event_id": "over", "meter_id": "a", "severity": "critical", "state": "closed", **OLD},
    {"event_id": "goes-on", "meter_id": "b", "severity": "high", **OLD},
    {"event_id": "new-small", "meter_id": "c", "severity": "low"},
    {"event_id": "new-likely", "meter_id": "d", "cost": 1.0},
    {"event_id": "new-dear", "meter_id": "e", "cost": -900.0},
    {"event_id": "new-cheap", "meter_id": "f", "cost": None},
    {"event_id": "again", "meter_id": "e", "cost": 3.0},
    {"event_id": "site", "meter_id": None, "meters": 6, "cause": "gap", "excess_kwh": None, "cost": None,
     "family": "data_fault", "severity": "high", **OLD},
)  # fmt: skip


def test_the_most_urgent_comes_first() -> None:
    assert by_urgency(MORNING)["event_id"].to_list() == [
        "new-dear", "new-likely", "new-cheap", "new-small", "goes-on", "site", "over",
    ]  # fmt: skip
    rank = {"event_id": "new-likely", "meter_id": "d", "starts_at_utc": MONDAY, "probability": 0.9, "place": 1}
    ranking = ANOMALIES_RANKING.conform(pl.DataFrame([rank | {"model_version": "ranker/1"}]))
    assert by_urgency(MORNING, ranking=ranking)["event_id"][0] == "new-likely"


def test_the_page_says_what_where_how_much_and_how_sure() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(attention_page(MORNING, currency="EUR", limit=6))
    text = console.export_text()
    # 4 x 12.5 (a, b, c; e again costs 3) + 1 - 900 + 3: 12.5 * 3 + 1 - 900 + 3 = -858.5.
    assert "8 events ask for attention: 5 new, 2 still going on, 1 over." in text
    assert "they cost -858.50 EUR" in text
    assert "since Mon 01 Jan 00:00 UTC, 30 h · goes on · +50 kWh (+50%) · -900.00 EUR · cause 80% sure" in text
    assert "It rose: [b]." in text
    assert "1 more like it there: again" in text
    assert "s, 6 meters together: gap" in text
    assert "100 kWh expected meanwhile" in text
    assert text.index("New") < text.index("Still going on")
    assert "critical" not in text  # the seventh, beyond the limit


def test_every_cause_has_a_next_step_that_is_a_sentence() -> None:
    assert all(next_step(cause).endswith(".") for cause in RULES)
