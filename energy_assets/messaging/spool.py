"""The spool of one recorder: which segment is written, when it is sealed, and what happens when the disk says no.

A segment is only begun when the one before it is sealed, so that whoever reads by cursor never passes one that is
still to come. Waiting and retrying are the recorder's business: here a fault is an `OSError`, and the next call goes
on from it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from energy_assets.errors import ConfigError
from energy_assets.messaging import segments
from energy_assets.messaging.segments import SegmentWriter


@dataclass(frozen=True, kw_only=True)
class SealRule:
    """A segment is sealed at a size of its text or an age, whichever comes first."""

    text_bytes: int = 64 * 1024 * 1024
    after_s: float = 10.0


class Spool:
    """Appends batches to segments of one client in one folder, of which it is the only writer."""

    def __init__(self, folder: Path, *, client_id: str, rule: SealRule, monotonic: Callable[[], float]) -> None:
        self.next_sequence = 0
        self.sealed = 0
        self.stored_bytes = 0
        self._folder = folder
        self._client_id = client_id
        self._rule = rule
        self._monotonic = monotonic
        self._lock: int | None = None
        self._is_ready = False
        self._writer: SegmentWriter | None = None
        self._opened_s = 0.0
        self._unsettled: SegmentWriter | None = None

    def prepare(self, *, now: datetime) -> None:
        """Take the folder, repair what a killed writer or a failed append left behind, and find the next sequence.

        Does nothing where there is nothing to do. A spool without segments begins at the microseconds since 1970, so
        that one that was emptied does not repeat the sequences of its former life.

        Raises:
            OSError: the folder cannot be written.
            ConfigError: another process writes the same client's segments.
        """
        if self._lock is not None and not os.fstat(self._lock).st_nlink:  # somebody deleted the folder under us
            os.close(self._lock)
            self._lock = None
        if self._lock is None:
            self._take_folder()
        if self._unsettled is not None:
            self._settle(self._unsettled)
            self._unsettled = None
        if self._is_ready:
            return
        own = [segment for segment in segments.segments(self._folder) if segment.client == self._client_id]
        sealed = [segment if segment.is_sealed else segments.repair(segment.path) for segment in own]
        last = next((segment for segment in reversed(sealed) if segment is not None), None)
        following = None if last is None else segments.sequence_after(last)
        self.next_sequence = int(now.timestamp() * 1e6) if following is None else following
        self._is_ready = True

    def append(self, lines: bytes, *, records: int, now: datetime) -> None:
        """Store lines durably; they begin at `next_sequence`.

        Raises:
            OSError: they are not stored, or perhaps are: call again with the same lines later.
        """
        self.prepare(now=now)
        if self._writer is None:
            self._writer = SegmentWriter(
                self._folder, client=self._client_id, first_sequence=self.next_sequence, now=now
            )
            self._opened_s = self._monotonic()
        before = self._writer.durable_bytes
        try:
            self._writer.append(lines, records=records)
        except OSError:
            self._unsettled, self._writer = self._writer, None
            self._unsettled.close()
            raise
        self.stored_bytes += self._writer.durable_bytes - before
        self.next_sequence += records

    def seal_if_due(self) -> None:
        """Seal the open segment when it is large or old enough.

        Raises:
            OSError: the segment could not be renamed; `prepare` tries again.
        """
        writer = self._writer
        if writer is not None and (writer.text_bytes >= self._rule.text_bytes or self.seal_due_in_s() <= 0):
            self.seal()

    def seal_due_in_s(self) -> float:
        """Return the seconds until the open segment is old enough; infinity without one."""
        if self._writer is None:
            return float("inf")
        return self._opened_s + self._rule.after_s - self._monotonic()

    def seal(self) -> None:
        """Seal the open segment, if there is one."""
        if self._writer is not None:
            self._unsettled, self._writer = self._writer, None
            self._unsettled.close()
        if self._unsettled is not None:
            self._settle(self._unsettled)
            self._unsettled = None

    def close(self) -> None:
        """Seal what is open and let go of the folder."""
        try:
            self.seal()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _settle(self, writer: SegmentWriter) -> None:
        if not writer.path.exists():  # the rename came through, and only making it durable failed
            segments.sync_folder(self._folder)
            return
        if writer.path.stat().st_size > writer.durable_bytes:
            segments.cut(writer.path, size=writer.durable_bytes)
        if segments.seal(writer.path) is not None:
            self.sealed += 1

    def _take_folder(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._client_id}.lock"
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise ConfigError(
                f"Another recorder with the client identifier {self._client_id!r} writes to {self._folder}: "
                "stop it, or give this one an identifier of its own (--client-id)."
            ) from error
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
