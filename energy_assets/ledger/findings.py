"""What does not hold of a log, in plain words: in itself, against what is remembered of it, against what was published.

What is remembered lies outside of the log's files, so that who changes the files cannot change it with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from energy_assets.errors import LedgerError
from energy_assets.ledger.canonical import canonical_json
from energy_assets.ledger.entries import Entry
from energy_assets.ledger.index import identity_of
from energy_assets.ledger.keeping import curve_entry, curve_identity
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.merkle import tree_root

_PROMOTION = "model_promotion"


def memory_problems(ledger: Ledger, *, checkpoints: pl.DataFrame, entries: pl.DataFrame) -> list[str]:
    """Return where the log is not the one that was seen before.

    `checkpoints` are rows of LEDGER_CHECKPOINTS, `entries` rows of LEDGER_ENTRIES: log_index and leaf_sha256.
    """
    try:
        size = ledger.checkpoint().size
        problems = [
            _since(ledger, size=size, before=before, root=root)
            for before, root in checkpoints.sort("size").select("size", "root_sha256").iter_rows()
        ]
        leaves = entries.sort("log_index")
        if leaves["log_index"].to_list() != list(range(leaves.height)):
            problems.append("The index lacks entries or has some twice; delete ledger.entries and materialise it.")
        elif leaves.height > size:
            problems.append(f"The log has {size} entries; the index remembers {leaves.height}: it was cut.")
        else:
            remembered = [bytes.fromhex(leaf) for leaf in leaves["leaf_sha256"]]
            if tree_root(remembered) != ledger.root_at(len(remembered)):
                problems.append(f"The first {len(remembered)} entries are not those that were indexed.")
    except LedgerError as error:
        return [str(error)]
    return [problem for problem in problems if problem]


def entry_problems(ledger: Ledger, expected: Iterable[Entry]) -> list[str]:
    """Return which of the entries that should be there are not, or say something else."""
    wanted = list(expected)
    try:
        places = ledger.find_all(wanted)
        return [
            f"{_named(entry)} is not in the log as published."
            for entry, place in zip(wanted, places, strict=True)
            if place is None or ledger.entry(place) != canonical_json(entry)
        ]
    except LedgerError as error:
        return [str(error)]


def curve_problems(ledger: Ledger, curves: pl.DataFrame) -> list[str]:
    """Return which published curves (rows of PRICES_CURVES) the log does not hold as they are."""
    groups = curves.partition_by("zone_id", "delivery_date", "revision", maintain_order=True)
    try:
        return entry_problems(ledger, [curve_entry(ledger, curve) for curve in groups])
    except LedgerError as error:
        return [str(error)]


def unknown_promotions(logged: Iterable[str], known: Iterable[Entry]) -> list[str]:
    """Return which changes of champions, of the identities in the log, are not among those that the registry knows."""
    registered = {identity_of(entry) for entry in known}
    unknown = [identity.split("\n") for identity in logged if identity not in registered]
    return [
        f"{', '.join(parts)} is in the log; the registry does not know it."
        for parts in unknown
        if parts[0] == _PROMOTION
    ]


def gap_problems(ledger: Ledger, published: Sequence[Mapping[str, object]]) -> list[str]:
    """Return which published identities (type, zone, date, revision) have no entry."""
    try:
        places = ledger.find_all(published)
    except LedgerError as error:
        return [str(error)]
    return [
        f"{_named(identity)} was published and never logged."
        for identity, place in zip(published, places, strict=True)
        if place is None
    ]


def published_curves(revisions: pl.DataFrame) -> list[dict[str, object]]:
    """Return the identities of curves from zone_id, delivery_date, revision."""
    return [
        curve_identity(zone, day, revision)
        for zone, day, revision in revisions.select("zone_id", "delivery_date", "revision").iter_rows()
    ]


def _since(ledger: Ledger, *, size: int, before: int, root: str) -> str:
    if before > size:
        return f"The log was cut to {size} entries; a checkpoint of {before} was seen."
    if ledger.root_at(before).hex() != root:
        return f"The first {before} entries are not those of the checkpoint that was seen: the log was rewritten."
    return ""


def _named(entry: Mapping[str, object]) -> str:
    named = json.dumps([entry[name] for name in ("type", "zone", "date", "revision")])
    return named.strip("[]").replace('"', "")
