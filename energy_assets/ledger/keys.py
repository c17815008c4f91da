"""Keys on disk: a secret that only its owner can read, and beside it the text that everybody may have."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from energy_assets.errors import LedgerError
from energy_assets.ledger.commitments import SALT_BYTES
from energy_assets.ledger.notes import Signer, Verifier

SIGNING_FILE = "signing.key"
SALT_FILE = "salts.key"
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
    if not _write_secret(path, signer.text):
        raise LedgerError(f"{path} exists; a log keeps its key. Choose another folder for another key.")
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


def salt_secret(folder: Path) -> bytes:
    """Return the secret that salts the commitments of statements; it is made on first use and never replaced.

    Raises:
        LedgerError: the file cannot be read, or is damaged.
    """
    path = folder / SALT_FILE
    folder.mkdir(parents=True, exist_ok=True)
    _write_secret(path, secrets.token_hex(SALT_BYTES))
    try:
        secret = bytes.fromhex(_read(path))
    except ValueError as error:
        raise LedgerError(f"{path} is damaged; restore it from a copy, or no old bill can be proven.") from error
    if len(secret) != SALT_BYTES:
        raise LedgerError(f"{path} is damaged; restore it from a copy, or no old bill can be proven.")
    return secret


def _write_secret(path: Path, text: str) -> bool:
    """Write a secret for its owner's eyes only, whole or not at all; tell whether it was not there before."""
    if path.exists():
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # fails where another was faster, which a rename would not
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"The key {path} cannot be read: {error}. Make one with `energy ledger keygen`.") from error
