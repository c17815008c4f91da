"""One fingerprint of everything that a price curve was made from.

Floats enter by their exact bits, so that a curve and its fingerprint change together.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date

from energy_assets.prices.days import DayForecast, Floats
from energy_assets.prices.zones import ZoneConfig


def inputs_hash(zone: ZoneConfig, *, day: DayForecast, delivery_date: date, true_up: float) -> str:
    """Return the SHA-256, in hex, of the zone, the forecast of the day, its date and the revenue carried in."""
    declared = {
        # Not how bills are made: a curve does not hang on it.
        "zone": zone.model_dump(mode="json", exclude={"bill", "community"}),
        "delivery_date": delivery_date.isoformat(),
        "true_up": float(true_up).hex(),
        "starts_at_utc": [start.isoformat() for start in day.starts_at_utc],
        "net_load_kwh": [_exact(row) for row in day.net_load_kwh],
        "consumption_kwh": _exact(day.consumption_kwh),
        "wholesale_price": _exact(day.wholesale_price),
        "wholesale_carbon": _exact(day.wholesale_carbon),
        "temperature_c": _exact(day.temperature_c),
    }
    text = json.dumps(declared, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _declared(zone: ZoneConfig) -> dict[str, object]:
    """Return the zone's fields; sources of its supply that it does not have leave no trace."""
    absent = {name for name in ("market", "supply_history") if getattr(zone, name) is None}
    return zone.model_dump(mode="json", exclude=absent)


def _exact(values: Floats | None) -> list[str] | None:
    return None if values is None else [float(value).hex() for value in values]
