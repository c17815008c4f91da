"""A price curve as others read it: JSON, CSV, an OpenADR 3 event, and MQTT messages. Pure: nothing is sent here.

Prices leave as decimals of the currency made from the published integers, so that every form says the same.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY

PRESENT_PRICE_TOPIC = "energy/price"
_NO_OBJECT_ID = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, kw_only=True)
class Message:
    """An MQTT message to be published by whoever holds the connection."""

    topic: str
    payload: str
    retain: bool


def curve_document(rows: pl.DataFrame) -> dict[str, object]:
    """Return one revision of a day's curve as a JSON-ready document; prices in currency/kWh."""
    ordered = rows.sort("starts_at_utc")
    first = ordered.row(0, named=True)
    return {
        "zone_id": first["zone_id"],
        "delivery_date": first["delivery_date"].isoformat(),
        "revision": first["revision"],
        "currency_code": first["currency_code"],
        "interval_minutes": first["interval_minutes"],
        "published_at_utc": utc_text(first["published_at_utc"]),
        "rung": first["rung"],
        "solver_status": first["solver_status"],
        "inputs_hash": first["inputs_hash"],
        "slots": [
            {
                "starts_at_utc": utc_text(row["starts_at_utc"]),
                "price_per_kwh": row["price_units"] / PRICE_UNITS_PER_CURRENCY,
                "export_price_per_kwh": row["export_price_units"] / PRICE_UNITS_PER_CURRENCY,
                "greenhouse_gas_kg_per_kwh": row["greenhouse_gas_kg_per_kwh"],
            }
            for row in ordered.iter_rows(named=True)
        ],
    }


def curve_json(rows: pl.DataFrame) -> str:
    """Return `curve_document` as compact JSON text."""
    return json.dumps(curve_document(rows), separators=(",", ":"), ensure_ascii=False)


def curve_csv(rows: pl.DataFrame) -> str:
    """Return every column of the curve as CSV, times in ISO 8601 with Z."""
    times = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Datetime)]
    return rows.sort("starts_at_utc").with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv()


def openadr_event(rows: pl.DataFrame, *, program_id: str) -> dict[str, object]:
    """Return the curve as an OpenADR 3 event with PRICE, EXPORT_PRICE and GHG (g CO2e/kWh) per interval.

    Its programID is what a server of OpenADR takes for one: letters, digits, `_` and `-`, 128 at most; what else is in
    `program_id` becomes `_`.
    """
    ordered = rows.sort("starts_at_utc")
    first = ordered.row(0, named=True)
    currency = first["currency_code"]
    return {
        "objectType": "EVENT",
        "programID": _NO_OBJECT_ID.sub("_", program_id)[:128],
        "eventName": f"{first['zone_id']} {first['delivery_date'].isoformat()} r{first['revision']}",
        "payloadDescriptors": [
            _descriptor("PRICE", units="KWH", currency=currency),
            _descriptor("EXPORT_PRICE", units="KWH", currency=currency),
            _descriptor("GHG", units="GHG"),
        ],
        "intervalPeriod": {
            "start": utc_text(first["starts_at_utc"]),
            "duration": f"PT{first['interval_minutes']}M",
        },
        "intervals": [
            {
                "id": index,
                "payloads": [
                    {"type": "PRICE", "values": [row["price_units"] / PRICE_UNITS_PER_CURRENCY]},
                    {"type": "EXPORT_PRICE", "values": [row["export_price_units"] / PRICE_UNITS_PER_CURRENCY]},
                    *_greenhouse_gas(row["greenhouse_gas_kg_per_kwh"]),
                ],
            }
            for index, row in enumerate(ordered.iter_rows(named=True))
        ],
    }


def day_message(rows: pl.DataFrame) -> Message:
    """Return the retained message `energy/price/<zone>/<date>` with the whole curve."""
    first = rows.row(0, named=True)
    topic = f"{PRESENT_PRICE_TOPIC}/{first['zone_id']}/{first['delivery_date'].isoformat()}"
    return Message(topic=topic, payload=curve_json(rows), retain=True)


def present_message(rows: pl.DataFrame, *, now: datetime) -> Message | None:
    """Return the message `energy/price` with the bare price of the slot that `now` is in; None outside the curve."""
    length = pl.duration(minutes=pl.col("interval_minutes"))
    present = rows.filter(pl.col("starts_at_utc") <= now, pl.col("starts_at_utc") + length > now)
    if present.is_empty():
        return None
    latest = present.sort("revision").row(-1, named=True)
    price = latest["price_units"] / PRICE_UNITS_PER_CURRENCY
    return Message(topic=PRESENT_PRICE_TOPIC, payload=json.dumps(price), retain=False)


def utc_text(moment: datetime) -> str:
    """Return a time as ISO 8601 in UTC with Z, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _descriptor(payload_type: str, **more: str) -> dict[str, str]:
    return {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": payload_type, **more}


def _greenhouse_gas(kg_per_kwh: float | None) -> list[dict[str, object]]:
    return [] if kg_per_kwh is None else [{"type": "GHG", "values": [round(kg_per_kwh * 1000.0, 3)]}]
