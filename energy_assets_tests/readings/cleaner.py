"""What the tests of cleaning share: meters and readings in a few words, cleaned by the real statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl

from energy_assets.contracts import METERS, READINGS_INTERVAL, READINGS_RAW, Window
from energy_assets.readings.cleaning import interval_query
from energy_assets.readings.quality import REASONS

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
DAY = Window(starts_at_utc=datetime(2024, 3, 10, tzinfo=UTC), ends_at_utc=datetime(2024, 3, 11, tzinfo=UTC))
MIDNIGHT = DAY.starts_at_utc

Reading = tuple[datetime, float]


def meter(meter_id: str = "s.1.electricity", **facts: object) -> dict[str, object]:
    """An hourly electricity meter in kWh, but for `facts`."""
    return {
        "meter_id": meter_id,
        "premise_id": "s.1",
        "site_id": "s.main",
        "commodity": "electricity",
        "direction": "consumption",
        "measure": "interval_energy",
        "unit": "kWh",
        "interval_minutes": 60,
        "source": "s",
    } | facts


def raw(meter: dict[str, object], readings: Iterable[Reading], **facts: object) -> pl.DataFrame:
    """Raw rows of one meter; known an hour after their time unless `facts` say otherwise."""
    rows = [
        {
            "meter_id": meter["meter_id"],
            "starts_at_utc": at,
            "source": "s",
            "value": float(value),
            "unit": meter["unit"],
            "measure": meter["measure"],
            "available_at_utc": at + timedelta(hours=1),
            "batch_id": "b",
        }
        | facts
        for at, value in readings
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return READINGS_RAW.conform(frame.with_columns(payload_hash=frame["value"].hash(7)))


def every(minutes: float, values: Sequence[float], *, start: datetime = MIDNIGHT) -> list[Reading]:
    """Readings `minutes` apart."""
    return [(start + timedelta(minutes=minutes * at), value) for at, value in enumerate(values)]


class Cleaner:
    """A DuckDB with the two tables that cleaning reads."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("CREATE SCHEMA readings; CREATE SCHEMA metering")

    def fill(self, meters: Sequence[dict[str, object]], raw_rows: Iterable[pl.DataFrame]) -> None:
        frames = {
            "metering.meters": METERS.conform(pl.DataFrame(list(meters), infer_schema_length=None)),
            "readings.raw": pl.concat([READINGS_RAW.empty(), *raw_rows]),
        }
        for name, frame in frames.items():
            self.connection.register("incoming", frame)
            self.connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM incoming")
            self.connection.unregister("incoming")

    def clean(self, window: Window = DAY, **arguments: object) -> pl.DataFrame:
        query = interval_query(window, **arguments)  # type: ignore[arg-type]
        frame = self.connection.sql(query.text, params=dict(query.parameters)).pl()
        rows = READINGS_INTERVAL.conform(frame).sort("meter_id", "starts_at_utc")
        assert not rows.select(READINGS_INTERVAL.key).is_duplicated().any()
        assert set(rows["reason"].drop_nulls()) <= set(REASONS)
        assert rows.filter((pl.col("quality") == "missing") != pl.col("energy_kwh").is_null()).is_empty()
        return rows


def cleaned(meters: object, raw_rows: object, window: Window = DAY, **arguments: object) -> pl.DataFrame:
    """Clean the readings of one meter (or of several, given as lists)."""
    cleaner = Cleaner()
    cleaner.fill(
        meters if isinstance(meters, list) else [meters], raw_rows if isinstance(raw_rows, list) else [raw_rows]
    )
    return cleaner.clean(window, **arguments)


def hour(rows: pl.DataFrame, at: int, *, minutes: int = 60) -> tuple[float | None, str, str | None]:
    """Energy, quality and reason of the interval number `at` of the day."""
    start = MIDNIGHT + timedelta(minutes=minutes * at)
    row = rows.filter(pl.col("starts_at_utc") == start).row(0, named=True)
    energy = row["energy_kwh"]
    return (None if energy is None else round(energy, 9)), row["quality"], row["reason"]
