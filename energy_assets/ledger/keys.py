"""Keys on disk: a secret that only its owner can read, and beside it the text that everybody may have."""

from __future__ import annotations

import os
from pathlib import Path

from energy_assets.errors import LedgerError
from energy_assets.ledger.notes import Signer, Verifier

SIGNING_FILE = "signing.key"
VERIFIER_FILE = "verifier.key"


def generate_keys(folder: Path, *, name: str, algorithm: int) -> Verifier:
    """Write a fresh key pair and return its public half.

    Args:
        folder: Where signing.key (readable by its owner only) and verifier.key go.
        name: Name of the log or witness, such as `example.org/energy`; it is part of the key.
        algorithm: notes.NOTE for a log, notes.COSIGNATURE for a witness.

    Raises:
        LedgerError: a signing key is there already; it is never replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    signer = Signer.generate(name, algorithm=algorithm)
    path = folder / SIGNING_FILE
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise LedgerError(f"{path} exists; a log keeps its key. Choose another folder for another key.") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(signer.text + "\n")
    (folder / VERIFIER_FILE).write_text(signer.verifier.text + "\n", encoding="utf-8")
    return signer.verifier


def load_signer(folder: Path) -> Signer:
    """Return the signing key of a key folder.

    Raises:
        LedgerError: there is none, or it is damaged.
    """
    return Signer.from_text(_read(folder / SIGNING_FILE))


def load_verifier(folder: Path) -> Verifier:
    """Return the verifier key of a key folder."""
    return Verifier.from_text(_read(folder / VERIFIER_FILE))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"The key {path} cannot be read: {error}. Make one with `energy ledger keygen`.") from error
