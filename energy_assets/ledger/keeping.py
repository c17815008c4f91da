"""The platform's own log in its home folder, and what of the lake goes into it, in order."""

from __future__ import annotations

import json
import logging
from datetime import date, datetime
from pathlib import Path

import polars as pl

from energy_assets.contracts import LEDGER_ENTRIES
from energy_assets.ledger.canonical import canonical_json
from energy_assets.ledger.entries import Entry, price_entry
from energy_assets.ledger.keys import SIGNING_FILE, generate_keys, load_signer
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.merkle import leaf_hash
from energy_assets.ledger.notes import NOTE

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
    before = {
        "type": "price_curve" if revision == 1 else "price_correction",
        "zone": curve["zone_id"][0],
        "date": curve["delivery_date"][0].isoformat(),
        "revision": revision - 1,
    }
    return price_entry(curve, supersedes=ledger.find(before))


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


def problems_of(ledger: Ledger, *, index: pl.DataFrame, curves: pl.DataFrame) -> list[str]:
    """Return everything that does not hold: the log in itself, against the index, and against published curves.

    `index` are rows of LEDGER_ENTRIES, a copy that the log's files cannot change; `curves` rows of PRICES_CURVES.
    """
    problems = list(ledger.verify().problems)
    if problems:
        return problems
    leaves = [leaf_hash(line).hex() for line in ledger.entries()]
    if index.height > len(leaves):
        problems.append(f"The log has {len(leaves)} entries; the index remembers {index.height}: it was cut.")
    for place, leaf in index.sort("log_index").select("log_index", "leaf_sha256").iter_rows():
        if place < len(leaves) and leaves[place] != leaf:
            problems.append(f"Entry {place} is not the one that was indexed.")
    present = set(leaves)
    for (zone, day, revision), curve in curves.group_by("zone_id", "delivery_date", "revision", maintain_order=True):
        if leaf_hash(canonical_json(curve_entry(ledger, curve))).hex() not in present:
            problems.append(f"The curve of {zone} for {day}, revision {revision}, is not in the log as published.")
    return problems
