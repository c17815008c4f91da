"""What goes into the ledger: price curves, corrections, settlement roots and model promotions, in whole numbers.

Every entry has an identity of type, zone, date and revision; a correction names the place of what it supersedes.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

Entry = dict[str, object]

_SECONDS = "%Y-%m-%dT%H:%M:%SZ"


def price_entry(rows: pl.DataFrame, *, supersedes: int | None = None) -> Entry:
    """Return the entry of one revision of a day's curve (rows of PRICES_CURVES); prices in 1e-5 currency/kWh.

    A curve that supersedes an earlier one is of type `price_correction` and names its place in the log.
    """
    ordered = rows.sort("starts_at_utc")
    first = ordered.row(0, named=True)
    entry: Entry = {
        "type": "price_curve" if supersedes is None else "price_correction",
        "zone": first["zone_id"],
        "date": first["delivery_date"].isoformat(),
        "revision": first["revision"],
        "currency": first["currency_code"],
        "interval_minutes": first["interval_minutes"],
        "first_slot": _text(first["starts_at_utc"]),
        "price_units": ordered["price_units"].to_list(),
        "export_price_units": ordered["export_price_units"].to_list(),
        "rung": first["rung"],
        "inputs_sha256": first["inputs_hash"],
        "published_at": _text(first["published_at_utc"]),
    }
    return entry if supersedes is None else {**entry, "supersedes": supersedes}


def settlement_entry(
    *, zone_id: str, period: date, revision: int, statements: int, root: bytes, supersedes: int | None = None
) -> Entry:
    """Return the entry of a period's statements: how many, and the root over their salted commitments."""
    entry: Entry = {
        "type": "settlement_root",
        "zone": zone_id,
        "date": period.isoformat(),
        "revision": revision,
        "statements": statements,
        "root_sha256": root.hex(),
    }
    return entry if supersedes is None else {**entry, "supersedes": supersedes}


def promotion_entry(
    *,
    model_name: str,
    promoted_at: datetime,
    version: int,
    previous: int | None,
    how: str,
    reason: str,
    artifact_sha256: str,
) -> Entry:
    """Return the entry of a model that became champion: its name is the zone, the second of the day the revision."""
    moment = promoted_at.astimezone(UTC)
    return {
        "type": "model_promotion",
        "zone": model_name,
        "date": moment.date().isoformat(),
        "revision": moment.hour * 3600 + moment.minute * 60 + moment.second,
        "promoted_at": _text(promoted_at),
        "version": version,
        "previous_version": previous,
        "how": how,
        "reason": reason,
        "artifact_sha256": artifact_sha256,
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_SECONDS)
