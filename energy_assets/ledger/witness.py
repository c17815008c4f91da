"""A witness: it remembers the last checkpoint it saw of a log, and cosigns a newer one only if that extends it.

It has its own key and state and should run where the log's owner has no access; then a rewritten log has no
cosignature, whatever its owner signs.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from energy_assets.errors import LedgerError
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.merkle import consistency_holds
from energy_assets.ledger.notes import COSIGNATURE, Checkpoint, Signer, Verifier, open_checkpoint
from energy_assets.ledger.tiles import TileFolder


class Witness:
    """The memory and the key of a witness, in a folder of its own."""

    def __init__(self, folder: Path, *, signer: Signer) -> None:
        if signer.algorithm != COSIGNATURE:
            raise LedgerError("A witness needs a cosignature key; make one with keygen for witnesses.")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._signer = signer

    def last_seen(self, log: Verifier) -> Checkpoint | None:
        """Return the newest checkpoint of a log that the witness has cosigned."""
        path = self.folder / self._state_name(log)
        if not path.exists():
            return None
        note = path.read_text(encoding="utf-8")
        open_checkpoint(note, verifier=log)
        return open_checkpoint(note, verifier=self._signer.verifier)

    def cosign(self, note: str, *, log: Verifier, proof: Sequence[bytes], now: datetime) -> str:
        """Return the note with the witness's line, after checking that it extends what the witness saw before.

        Args:
            note: Signed checkpoint of the log.
            log: Key of the log.
            proof: Consistency proof from `last_seen` to the checkpoint; empty at first sight.
            now: Time that the cosignature bears.

        Raises:
            LedgerError: the log was cut, rewritten or forked, or the note is not the log's.
        """
        with (self.folder / ".lock").open("a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            checkpoint = open_checkpoint(note, verifier=log)
            seen = self.last_seen(log)
            if seen is not None:
                self._check(seen, checkpoint, proof=proof)
            cosigned = note + self._signer.cosignature_line(checkpoint.body, time_s=int(now.timestamp()))
            TileFolder(self.folder).replace({self._state_name(log): cosigned.encode()})
        return cosigned

    def cosign_log(self, ledger: Ledger, *, now: datetime) -> str:
        """Return the cosigned checkpoint of a log whose files are at hand; the witness asks for the proof itself."""
        note = ledger.checkpoint_text()
        checkpoint = open_checkpoint(note, verifier=ledger.verifier)
        seen = self.last_seen(ledger.verifier)
        if seen is not None and seen.size > checkpoint.size:
            raise LedgerError(_cut(seen, checkpoint))
        proof = [] if seen is None else ledger.consistency(seen.size, checkpoint.size)
        return self.cosign(note, log=ledger.verifier, proof=proof, now=now)

    def _check(self, seen: Checkpoint, checkpoint: Checkpoint, *, proof: Sequence[bytes]) -> None:
        if checkpoint.size < seen.size:
            raise LedgerError(_cut(seen, checkpoint))
        if not consistency_holds(
            old=seen.size, new=checkpoint.size, old_root=seen.root, new_root=checkpoint.root, proof=proof
        ):
            raise LedgerError(
                f"The log {checkpoint.origin!r} of {checkpoint.size} entries does not extend the {seen.size} that were "
                f"witnessed: it was rewritten or forked. Keep both checkpoints as evidence."
            )

    @staticmethod
    def _state_name(log: Verifier) -> str:
        return hashlib.sha256(log.text.encode()).hexdigest()


def _cut(seen: Checkpoint, checkpoint: Checkpoint) -> str:
    return (
        f"The log {checkpoint.origin!r} has {checkpoint.size} entries, but {seen.size} were witnessed: it was cut. "
        f"Keep both checkpoints as evidence."
    )
