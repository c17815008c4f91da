"""A signer and a log of plain entries that the ledger tests share."""

from __future__ import annotations

from pathlib import Path

from energy_assets.ledger.log import Ledger
from energy_assets.ledger.notes import Signer

SIGNER = Signer(name="example.org/log", algorithm=1, seed=bytes(range(32)))


def entry(number: int, *, revision: int = 0, text: str = "") -> dict[str, object]:
    return {"type": "price_curve", "zone": f"z{number}", "date": "2026-06-01", "revision": revision, "text": text}


def filled(folder: Path, *, size: int, batch: int = 97) -> Ledger:
    ledger = Ledger.create(folder, signer=SIGNER)
    for start in range(0, size, batch):
        ledger.append([entry(i) for i in range(start, min(start + batch, size))])
    return ledger
