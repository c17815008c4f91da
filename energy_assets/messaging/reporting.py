"""Turns what happens to a recorder into log lines, counters and the health file: each trouble once, not each second."""

from __future__ import annotations

import logging
import os
from datetime import datetime
from pathlib import Path

from energy_assets.messaging.batch import Batch
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.health import Counters, Health, State, health_path, write_health
from energy_assets.messaging.session import ConnectionLostError, Session
from energy_assets.messaging.spool import Spool

_LOG = logging.getLogger(__name__)
_JUMP_S = 2.0


class Reporter:
    """Keeps the health of one recorder and writes it every so many seconds."""

    def __init__(
        self, endpoint: Endpoint, folder: Path, *, client_id: str, filters: tuple[str, ...], every_s: float
    ) -> None:
        self.counters = Counters()
        self._health = Health(
            client_id=client_id,
            broker=str(endpoint),
            filters=filters,
            process_id=os.getpid(),
            started_at_utc="",
            counters=self.counters,
        )
        self._path = health_path(folder, client_id)
        self._every_s = every_s
        self._due_at_s = 0.0
        self._reported_s: float | None = None
        self._reported_stored = 0
        self._wall_ahead_s: float | None = None
        self._longest_lag_ms = 0.0
        self._is_mute = False

    def connecting(self) -> None:
        """Note an attempt to connect; the trouble of the last one stays until it succeeds."""
        if self._health.state != "refused":
            self._set("connecting", self._health.trouble)

    def subscribed(self, session: Session, *, had_session: bool) -> None:
        """Note that messages flow, whether the broker had forgotten us, and what it denies."""
        self.counters.connections += 1
        trouble = None
        if session.refused_filters or session.weak_filters:
            denied = f"denies the filters {', '.join(session.refused_filters)}" if session.refused_filters else ""
            weak = f"serves {', '.join(session.weak_filters)} without acknowledgements" if session.weak_filters else ""
            trouble = f"The broker {' and '.join(filter(None, (denied, weak)))}."
            _LOG.error("%s", trouble)
        elif self._health.state != "recording":
            _LOG.info("Recording %s from %s.", " ".join(self._health.filters), self._health.broker)
        if had_session and not session.was_resumed:
            self.counters.sessions_lost += 1
            _LOG.error("The broker has forgotten our session: what it had queued for us is lost.")
        self._set("recording", trouble)

    def left(self, error: Exception) -> None:
        """Note that the connection is gone, and why."""
        state: State = "connecting" if isinstance(error, ConnectionLostError) else "refused"
        if (state, str(error)) != (self._health.state, self._health.trouble):
            _LOG.warning("%s Trying again.", error)
        if self._health.state != "spool failing":
            self._set(state, str(error))

    def blocked(self, error: OSError, folder: Path) -> None:
        """Note that the spool cannot be written."""
        trouble = f"{folder} cannot be written: {error.strerror or error}; nothing is acknowledged until it can."
        if self._health.state != "spool failing":
            self.counters.spool_failures += 1
            _LOG.error("%s", trouble)
        self._set("spool failing", trouble)

    def unblocked(self, *, is_recording: bool) -> None:
        """Note that the spool can be written again."""
        _LOG.warning("The spool can be written again.")
        self._set("recording" if is_recording else "connecting", None)

    def stored(self, batch: Batch, spool: Spool, *, now_s: float, now: datetime) -> None:
        """Count a batch that is durable."""
        counters = self.counters
        counters.stored += len(batch)
        counters.batches += 1
        counters.duplicates_flagged += batch.duplicates_flagged
        counters.payload_bytes += batch.payload_bytes
        counters.stored_bytes = spool.stored_bytes
        counters.segments_sealed = spool.sealed
        self._longest_lag_ms = max(self._longest_lag_ms, (now_s - batch.first_arrival_s) * 1000)
        self._health.last_stored_at_utc = now.isoformat()

    def due_in_s(self, now_s: float) -> float:
        """Return the seconds until the next report."""
        return self._due_at_s - now_s

    def report_if_due(self, now_s: float, *, now: datetime, pending: int) -> None:
        """Write the health file when it is time, and note when the wall clock moved against the monotonic one."""
        if now_s < self._due_at_s:
            return
        self._due_at_s = now_s + self._every_s
        self._watch_clock(now.timestamp() - now_s)
        health = self._health
        if self._reported_s is not None:
            health.messages_per_s = round(
                (self.counters.stored - self._reported_stored) / max(now_s - self._reported_s, 1e-3), 1
            )
        self._reported_s, self._reported_stored = now_s, self.counters.stored
        health.lag_ms, self._longest_lag_ms = round(self._longest_lag_ms, 2), 0.0
        health.lag_max_ms = max(health.lag_max_ms, health.lag_ms)
        self._write(now, pending)

    def stopped(self, *, now: datetime, pending: int, sealed: int) -> None:
        """Write the last report."""
        self.counters.segments_sealed = sealed
        self._health.messages_per_s = 0.0
        self._set("stopped", None if not pending else f"{pending} messages were not stored and not acknowledged.")
        self._write(now, pending)

    def _set(self, state: State, trouble: str | None) -> None:
        health = self._health
        if (state, trouble) != (health.state, health.trouble):
            health.state, health.trouble, health.since_utc = state, trouble, ""
            self._due_at_s = 0.0

    def _write(self, now: datetime, pending: int) -> None:
        health = self._health
        health.pending = pending
        health.written_at_utc = now.isoformat()
        health.since_utc = health.since_utc or health.written_at_utc
        health.started_at_utc = health.started_at_utc or health.written_at_utc
        try:
            write_health(self._path, health)
            self._is_mute = False
        except OSError as error:
            if not self._is_mute:
                _LOG.error("The health file %s cannot be written: %s", self._path, error)
            self._is_mute = True

    def _watch_clock(self, wall_ahead_s: float) -> None:
        if self._wall_ahead_s is not None and abs(jump_s := wall_ahead_s - self._wall_ahead_s) > _JUMP_S:
            self.counters.clock_jumps += 1
            _LOG.warning("The clock jumped by %+.1f s; the order of what is stored does not depend on it.", jump_s)
        self._wall_ahead_s = wall_ahead_s
