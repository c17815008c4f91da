"""The platform's own log in its home folder, what of the platform goes into it, and what is remembered of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from energy_assets.contracts import LEDGER_CHECKPOINTS, LEDGER_ENTRIES
from energy_assets.ledger.entries import Entry, price_entry, promotion_entry
from energy_assets.ledger.keys import SIGNING_FILE, generate_keys, load_signer
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.merkle import leaf_hash
from energy_assets.ledger.notes import NOTE
from energy_assets.models.versions import Promotion

_LOG = logging.getLogger(__name__)


def open_ledger(folder: Path, *, name: str) -> Ledger:
    """Return the log in `<folder>/log` with the key in `<folder>/keys`; both are made on first use.

    Raises:
        LedgerError: the key or the log is damaged.
    """
    keys = folder / "keys"
    if not (keys / SIGNING_FILE).exists():
        verifier = generate_keys(keys, name=name, algorithm=NOTE)
        _LOG.warning("a signing key was made in %s; keep a copy elsewhere. Public: %s", keys, verifier.text)
    return Ledger.create(folder / "log", signer=load_signer(keys))


def log_curves(ledger: Ledger, curves: pl.DataFrame) -> list[int]:
    """Append the curves (rows of PRICES_CURVES, any zones, dates and revisions) and return their places.

    A revision above 0 is a correction that names the place of the one before. What is in the log already keeps its
    place, so this can be repeated.

    Raises:
        LedgerError: a published revision would say something else now.
    """
    places: list[int] = []
    for (_,), of_revision in sorted(curves.group_by("revision"), key=lambda pair: pair[0]):
        days = of_revision.sort("delivery_date", "zone_id").group_by("delivery_date", "zone_id", maintain_order=True)
        places += ledger.append([curve_entry(ledger, curve) for _, curve in days])
    return places


def curve_entry(ledger: Ledger, curve: pl.DataFrame) -> Entry:
    """Return the entry of one revision of one day's curve, which names what it supersedes."""
    revision = int(curve["revision"][0])
    if revision == 0:
        return price_entry(curve)
    before = curve_identity(curve["zone_id"][0], curve["delivery_date"][0], revision - 1)
    return price_entry(curve, supersedes=ledger.find(before))


def curve_identity(zone_id: str, day: date, revision: int) -> dict[str, object]:
    """Return the identity of the entry of a day's curve."""
    kind = "price_curve" if revision == 0 else "price_correction"
    return {"type": kind, "zone": zone_id, "date": day.isoformat(), "revision": revision}


def log_promotions(ledger: Ledger, promotions: Sequence[Promotion]) -> list[int]:
    """Append the changes of champions, oldest first, and return their places; one that is there keeps its place."""
    return ledger.append(promotion_entries(promotions))


def promotion_entries(promotions: Sequence[Promotion]) -> list[Entry]:
    """Return the entries of changes of champions."""
    return [
        promotion_entry(
            model_name=each.name,
            promoted_at=each.at_utc,
            version=each.version,
            previous=each.previous,
            how=each.how,
            reason=each.reason,
            artifact_sha256=each.archive_sha256,
        )
        for each in promotions
    ]


def entry_rows(ledger: Ledger, *, start: int, now: datetime) -> pl.DataFrame:
    """Return the log's entries from `start` as rows of LEDGER_ENTRIES."""
    rows = []
    for place, line in enumerate(ledger.entries(start=start), start):
        entry = json.loads(line)
        rows.append(
            {
                "log_index": place,
                "entry_type": entry["type"],
                "zone_id": entry["zone"],
                "entry_date": date.fromisoformat(entry["date"]),
                "revision": entry["revision"],
                "entry": line.decode(),
                "leaf_sha256": leaf_hash(line).hex(),
                "indexed_at_utc": now,
            }
        )
    return LEDGER_ENTRIES.conform(pl.DataFrame(rows)) if rows else LEDGER_ENTRIES.empty()


def checkpoint_rows(ledger: Ledger, *, now: datetime) -> pl.DataFrame:
    """Return the present checkpoint as a row of LEDGER_CHECKPOINTS."""
    checkpoint = ledger.checkpoint()
    row = {
        "size": checkpoint.size,
        "root_sha256": checkpoint.root.hex(),
        "note": ledger.checkpoint_text(),
        "seen_at_utc": now,
    }
    return LEDGER_CHECKPOINTS.conform(pl.DataFrame([row]))
