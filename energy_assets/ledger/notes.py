"""Signed notes, checkpoints and cosignatures, in the forms of C2SP (signed-note, tlog-checkpoint, tlog-cosignature).

A key is known by its verifier text `name+hash+base64`, which Go's note package and other tools read as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from energy_assets.errors import LedgerError
from energy_assets.ledger.merkle import HASH_BYTES

NOTE = 1  # algorithm byte of plain Ed25519 notes
COSIGNATURE = 4  # algorithm byte of timestamped witness cosignatures
_SIGNATURE_START = "\u2014 "


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """The public half of a key: who signs, and how to check it."""

    name: str
    algorithm: int
    public: bytes

    @classmethod
    def from_text(cls, text: str) -> Verifier:
        """Return the verifier in `name+hash+base64`.

        Raises:
            LedgerError: the text is no Ed25519 verifier, or its hash is not that of its key.
        """
        name, key_hash, material = _key_parts(text.strip(), what="verifier key")
        verifier = cls(name=name, algorithm=material[0], public=material[1:])
        if len(verifier.public) != 32 or verifier.algorithm not in (NOTE, COSIGNATURE):
            raise LedgerError(f"The verifier key of {name!r} is not Ed25519; give the text that keygen printed.")
        if verifier.key_id.hex() != key_hash:
            raise LedgerError(f"The verifier key of {name!r} has hash {key_hash}, not {verifier.key_id.hex()}.")
        return verifier

    @property
    def key_id(self) -> bytes:
        """Return the first four bytes of the key's hash."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.algorithm]) + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """Return `name+hash+base64`."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes([self.algorithm]) + self.public)}"

    def verifies(self, message: bytes, *, signature: bytes) -> bool:
        """Judge an Ed25519 signature over a message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Signer:
    """The private half of a key; its text is a secret."""

    name: str
    algorithm: int
    seed: bytes

    def __repr__(self) -> str:
        return f"Signer(name={self.name!r})"

    @classmethod
    def generate(cls, name: str, *, algorithm: int = NOTE) -> Signer:
        """Return a fresh key. The name may hold neither white space nor a plus sign."""
        if not name or "+" in name or any(character.isspace() for character in name):
            raise LedgerError(f"{name!r} cannot name a key: use text without white space and plus signs.")
        return cls(name=name, algorithm=algorithm, seed=Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_text(cls, text: str) -> Signer:
        """Return the signer in `PRIVATE+KEY+name+hash+base64`."""
        prefix = "PRIVATE+KEY+"
        if not text.strip().startswith(prefix):
            raise LedgerError("This is no signing key: it must start with PRIVATE+KEY+, as keygen writes it.")
        name, key_hash, material = _key_parts(text.strip()[len(prefix) :], what="signing key")
        signer = cls(name=name, algorithm=material[0], seed=material[1:])
        if len(signer.seed) != 32 or signer.verifier.key_id.hex() != key_hash:
            raise LedgerError(f"The signing key of {name!r} is damaged; restore the file that keygen wrote.")
        return signer

    @property
    def verifier(self) -> Verifier:
        """Return the public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return Verifier(name=self.name, algorithm=self.algorithm, public=public)

    @property
    def text(self) -> str:
        """Return `PRIVATE+KEY+name+hash+base64`, a secret."""
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{_base64(bytes([self.algorithm]) + self.seed)}"

    def line(self, body: str) -> str:
        """Return the signature line of a note body."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(body.encode())
        return f"{_SIGNATURE_START}{self.name} {_base64(self.verifier.key_id + signature)}\n"

    def cosignature_line(self, body: str, *, time_s: int) -> str:
        """Return the witness's line: it vouches that it saw this body, consistent with all before, at a Unix time."""
        message = f"cosignature/v1\ntime {time_s}\n{body}".encode()
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)
        return (
            f"{_SIGNATURE_START}{self.name} {_base64(self.verifier.key_id + time_s.to_bytes(8, 'big') + signature)}\n"
        )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a log commits to: its name, its size and its root."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @classmethod
    def from_body(cls, body: str) -> Checkpoint:
        """Return the checkpoint in a note body; extension lines are allowed and ignored."""
        lines = body.split("\n")
        try:
            origin, size, root = lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
        except (IndexError, ValueError) as error:
            raise LedgerError(f"A checkpoint has origin, size and root on three lines; this is {body!r}.") from error
        if not origin or lines[1] != str(size) or size < 0 or len(root) != HASH_BYTES:
            raise LedgerError(f"A checkpoint has origin, size and root on three lines; this is {body!r}.")
        return cls(origin=origin, size=size, root=root)


def open_checkpoint(note: str, *, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint in a note that `verifier` signed.

    Raises:
        LedgerError: the note is malformed, or not signed by that key, or of another log.
    """
    body, lines = split_note(note)
    if not any(_line_holds(line, body=body, verifier=verifier) for line in lines):
        raise LedgerError(f"The checkpoint is not signed by {verifier.text}; it is another key's or was changed.")
    checkpoint = Checkpoint.from_body(body)
    if verifier.algorithm == NOTE and checkpoint.origin != verifier.name:
        raise LedgerError(f"The checkpoint is of the log {checkpoint.origin!r}, not of {verifier.name!r}.")
    return checkpoint


def split_note(note: str) -> tuple[str, list[str]]:
    """Return the body of a signed note, with its final newline, and its signature lines."""
    body, separator, signatures = note.rpartition("\n\n")
    lines = signatures.splitlines()
    if not separator or not lines or not all(line.startswith(_SIGNATURE_START) for line in lines):
        raise LedgerError("This is no signed note: it needs a body, an empty line and signature lines.")
    return body + "\n", lines


def _line_holds(line: str, *, body: str, verifier: Verifier) -> bool:
    name, _, encoded = line[len(_SIGNATURE_START) :].partition(" ")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return False
    if name != verifier.name or raw[:4] != verifier.key_id:
        return False
    if verifier.algorithm == COSIGNATURE:
        time_s = int.from_bytes(raw[4:12], "big")
        return verifier.verifies(f"cosignature/v1\ntime {time_s}\n{body}".encode(), signature=raw[12:])
    return verifier.verifies(body.encode(), signature=raw[4:])


def _key_parts(text: str, *, what: str) -> tuple[str, str, bytes]:
    parts = text.split("+", 2)
    try:
        name, key_hash, encoded = parts
        material = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise LedgerError(f"This is no {what}: it has the form name+hash+base64.") from error
    if not name or not material:
        raise LedgerError(f"This is no {what}: it has the form name+hash+base64.")
    return name, key_hash, material


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
