"""The recorder: takes messages from the broker, stores them durably, and only then acknowledges them.

One thread and one loop: read until the socket is idle (or the batch is large or old enough), write, fdatasync,
acknowledge. While the disk cannot take more nothing is read either, so that the broker keeps what we cannot; every
fault is named in the log and the health file, and ends by itself once its cause does.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from energy_assets.errors import ConfigError
from energy_assets.messaging.batch import Batch
from energy_assets.messaging.codec import Version
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.filters import FilterMemory
from energy_assets.messaging.pacing import Pace
from energy_assets.messaging.reporting import Reporter
from energy_assets.messaging.session import ConnectionLostError, RefusedError, Session, SessionOptions
from energy_assets.messaging.spool import SealRule, Spool

_LOG = logging.getLogger(__name__)
_SPOOL_RETRY_S = 1.0
_DENIED_RETRY_S = 60.0


@dataclass(frozen=True)
class Clock:
    """Where the recorder has its time from; all waiting goes by the monotonic one."""

    now_utc: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic_s: Callable[[], float] = time.monotonic


@dataclass(frozen=True, kw_only=True)
class RecorderOptions:
    """What is recorded and when it is flushed: at a count, a size, an age, or when the socket goes idle."""

    client_id: str
    filters: tuple[str, ...]
    folder: Path
    version: Version = "5"
    receive_maximum: int = 10_000
    keep_alive_s: int = 30
    session_expiry_s: int = 30 * 86_400
    batch_messages: int = 5_000
    batch_bytes: int = 16 * 1024 * 1024
    linger_s: float = 0.02
    report_every_s: float = 1.0
    seal: SealRule = field(default_factory=SealRule)


class Recorder:
    """Records until it is stopped; `stop` may be called from a signal handler or another thread."""

    def __init__(self, endpoint: Endpoint, options: RecorderOptions, *, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._endpoint = endpoint
        self._options = options
        self._spool = Spool(
            options.folder, client_id=options.client_id, rule=options.seal, monotonic=self._clock.monotonic_s
        )
        self._filters = FilterMemory(options.folder, client_id=options.client_id)
        self._batch = Batch()
        self._reporter = Reporter(
            endpoint,
            options.folder,
            client_id=options.client_id,
            filters=options.filters,
            every_s=options.report_every_s,
        )
        self._session: Session | None = None
        self._has_more = False
        self._is_stopping = False
        self._is_blocked = False
        self._is_recording = False
        self._had_session = False
        self._pace = Pace()
        self._unblock_at_s = 0.0
        self._renew_at_s = float("inf")
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(self) -> None:
        """Make `run` store and acknowledge what has arrived, and return."""
        self._is_stopping = True
        os.write(self._wake_writer, b"\0")

    def run(self) -> None:
        """Record until stopped.

        Raises:
            ConfigError: another recorder holds this client's spool.
        """
        self._prepare_spool()
        try:
            while not self._is_stopping:
                self._ensure_session()
                if self._wait():
                    self._receive()
                self._keep_up()
        finally:
            self._finish()

    def _ensure_session(self) -> None:
        if self._session is not None or self._is_blocked or self._clock.monotonic_s() < self._pace.due_at_s:
            return
        options = self._options
        self._reporter.connecting()
        try:
            former = self._filters.remembered()
            self._had_session = bool(former)
            self._session = Session(
                self._endpoint,
                SessionOptions(
                    client_id=options.client_id,
                    filters=options.filters,
                    former_filters=former,
                    version=options.version,
                    keep_alive_s=options.keep_alive_s,
                    session_expiry_s=options.session_expiry_s,
                    receive_maximum=options.receive_maximum,
                ),
                monotonic=self._clock.monotonic_s,
            )
        except (ConnectionLostError, RefusedError, ConfigError) as error:
            self._leave(error)
        except OSError as error:
            self._block(error)

    def _wait(self) -> bool:
        """Wait for the socket, a deadline or a stop; tell whether there may be something to read."""
        session = self._session
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        if session is not None:
            reading = 0 if self._is_blocked else select.POLLIN
            poll.register(session.fileno(), reading | (select.POLLOUT if session.has_unsent else 0))
        ready = dict(poll.poll(0 if self._has_more else self._patience_s() * 1000))
        if session is None or self._is_stopping:
            return False
        events = ready.get(session.fileno(), 0)
        try:
            if events & select.POLLOUT:
                session.flush()
        except ConnectionLostError as error:
            self._leave(error)
            return False
        if self._is_blocked and events & (select.POLLHUP | select.POLLERR):
            self._leave(ConnectionLostError(f"{self._endpoint} closed the connection while the spool was failing."))
        return not self._is_blocked and (self._has_more or bool(events & ~select.POLLOUT))

    def _patience_s(self) -> float:
        now = self._clock.monotonic_s()
        deadlines = [self._reporter.due_in_s(now)]
        if self._is_blocked:
            deadlines.append(self._unblock_at_s - now)
        else:
            deadlines.append(self._spool.seal_due_in_s())
            if self._session is None:
                deadlines.append(self._pace.due_at_s - now)
        return max(min(deadlines), 0.0)

    def _receive(self) -> None:
        """Take what has arrived and store it; what came before the connection broke is stored too."""
        session, batch, options = self._session, self._batch, self._options
        if session is None:
            return
        self._has_more = False
        try:
            while (packets := session.receive()) is not None:
                now_s = self._clock.monotonic_s()
                if packets:
                    batch.extend(
                        packets,
                        sequence=self._spool.next_sequence + len(batch),
                        arrived_at_utc=self._clock.now_utc(),
                        arrived_s=now_s,
                    )
                    self._reporter.counters.received += len(packets)
                is_full = len(batch) >= options.batch_messages or batch.payload_bytes >= options.batch_bytes
                if is_full or (batch and now_s - batch.first_arrival_s >= options.linger_s):
                    self._has_more = True
                    break
            self._store()
        except (ConnectionLostError, RefusedError) as error:
            self._leave(error)
            self._store()

    def _store(self) -> None:
        batch = self._batch
        if not batch:
            return
        text = batch.text()
        try:
            self._spool.append(text, records=len(batch), now=self._clock.now_utc())
        except OSError as error:
            self._block(error)
            return
        packet_ids = tuple(batch.packet_ids)
        self._reporter.stored(batch, self._spool, now_s=self._clock.monotonic_s(), now=self._clock.now_utc())
        batch.clear()
        if self._session is None:
            return
        try:
            self._session.acknowledge(packet_ids)
            self._reporter.counters.acknowledged += len(packet_ids)
        except ConnectionLostError as error:
            self._leave(error)

    def _keep_up(self) -> None:
        """Do what falls due with time: unblock the spool, seal, keep the connection alive, report."""
        now_s = self._clock.monotonic_s()
        if self._is_blocked and now_s >= self._unblock_at_s:
            self._prepare_spool()
        if not self._is_blocked:
            try:
                self._spool.seal_if_due()
            except OSError as error:
                self._block(error)
        if self._session is not None:
            try:
                self._attend(self._session, now_s)
            except ConnectionLostError as error:
                self._leave(error)
            except OSError as error:
                self._block(error)
        self._reporter.report_if_due(now_s, now=self._clock.now_utc(), pending=len(self._batch))

    def _attend(self, session: Session, now_s: float) -> None:
        session.keep_alive(is_reading=not self._is_blocked)
        if now_s >= self._renew_at_s:
            raise ConnectionLostError(f"Asking {self._endpoint} again for the filters that it denied.")
        if session.is_subscribed and not self._is_recording:
            self._is_recording = True
            self._pace.connected(now_s)
            self._reporter.subscribed(session, had_session=self._had_session)
            self._renew_at_s = now_s + _DENIED_RETRY_S if session.refused_filters else float("inf")
            self._filters.remember(self._options.filters)

    def _prepare_spool(self) -> None:
        try:
            self._spool.prepare(now=self._clock.now_utc())
            was_blocked, self._is_blocked = self._is_blocked, False
            self._store()
        except OSError as error:
            self._block(error)
            return
        if was_blocked and not self._is_blocked:
            if self._session is not None:
                self._session.wake()
            self._has_more = self._session is not None
            self._reporter.unblocked(is_recording=self._is_recording)

    def _block(self, error: OSError) -> None:
        self._is_blocked = True
        self._unblock_at_s = self._clock.monotonic_s() + _SPOOL_RETRY_S
        self._reporter.blocked(error, self._options.folder)

    def _leave(self, error: ConnectionLostError | RefusedError | ConfigError) -> None:
        """Drop the connection; the broker delivers again what was not acknowledged on it."""
        if self._session is not None:
            self._session.close(is_polite=False)
            self._session = None
        self._has_more = self._is_recording = False
        self._batch.packet_ids.clear()
        self._renew_at_s = float("inf")
        self._pace.failed(self._clock.monotonic_s(), is_refusal=not isinstance(error, ConnectionLostError))
        self._reporter.left(error)

    def _finish(self) -> None:
        self._store()
        if self._session is not None:
            self._session.close(is_polite=True)
            self._session = None
        try:
            self._spool.close()
        except OSError as error:
            _LOG.error("The last segment stays open until the next start: %s", error)
        if self._batch:
            _LOG.error("%d messages are not stored; they were not acknowledged either.", len(self._batch))
        self._reporter.stopped(now=self._clock.now_utc(), pending=len(self._batch), sealed=self._spool.sealed)
        os.close(self._wake_reader)
        os.close(self._wake_writer)
