"""What a recorder says about itself: the health file, written whole or not at all, and its rendering for a person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from energy_assets.errors import SourceError

State = Literal["starting", "connecting", "refused", "recording", "spool failing", "stopped"]
SILENT_AFTER_S = 15.0


@dataclass(kw_only=True)
class Counters:
    """Counts since the recorder started; messages unless the name says otherwise."""

    received: int = 0
    stored: int = 0
    acknowledged: int = 0
    duplicates_flagged: int = 0
    batches: int = 0
    segments_sealed: int = 0
    payload_bytes: int = 0
    stored_bytes: int = 0
    connections: int = 0
    sessions_lost: int = 0
    spool_failures: int = 0
    clock_jumps: int = 0


@dataclass(kw_only=True)
class Health:
    """The state of a recorder at one instant.

    `pending` are messages received and not yet stored; `lag_ms` is the longest that a message of the last report waited
    from its arrival until it was durable, `lag_max_ms` of all.
    """

    client_id: str
    broker: str
    filters: tuple[str, ...]
    process_id: int
    started_at_utc: str
    written_at_utc: str = ""
    state: State = "starting"
    trouble: str | None = None
    since_utc: str = ""
    pending: int = 0
    messages_per_s: float = 0.0
    lag_ms: float = 0.0
    lag_max_ms: float = 0.0
    last_stored_at_utc: str | None = None
    counters: Counters = field(default_factory=Counters)


def health_path(folder: Path, client_id: str) -> Path:
    """Return where a recorder of a spool folder keeps its health."""
    return folder / f"{client_id}.health.json"


def write_health(path: Path, health: Health) -> None:
    """Replace the health file; on a full disk overwrite it in place, which takes no new block.

    Raises:
        OSError: neither is possible.
    """
    text = json.dumps(asdict(health), indent=1)
    fresh = path.with_suffix(".tmp")
    try:
        fresh.write_text(text + "\n", encoding="utf-8")
        fresh.rename(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        old = path.stat().st_size
        with path.open("r+b") as file:
            file.write(text.encode().ljust(old - 1) + b"\n")
            file.truncate()


def read_health(path: Path) -> Health:
    """Return what a recorder last said.

    Raises:
        SourceError: there is no such file, or it is not a health file.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Health(**(fields | {"counters": Counters(**fields["counters"]), "filters": tuple(fields["filters"])}))
    except FileNotFoundError as error:
        raise SourceError(f"No recorder has written {path} yet; start one with `energy record`.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"The health file {path} cannot be read: {error}.") from error


def is_well(health: Health, *, now: datetime) -> bool:
    """Tell whether the recorder records: it says so, and said so just now."""
    return health.state == "recording" and health.trouble is None and not is_silent(health, now=now)


def is_silent(health: Health, *, now: datetime) -> bool:
    """Tell whether a recorder that did not stop has not reported for longer than it should."""
    return health.state != "stopped" and _age_s(health.written_at_utc, now) > SILENT_AFTER_S


def rendered(health: Health, *, now: datetime) -> str:
    """Return a recorder's health as a person reads it."""
    counters = health.counters
    state = health.state if not is_silent(health, now=now) else f"silent (process {health.process_id} was last seen)"
    rows = [
        ("recorder", f"{health.client_id}, process {health.process_id}, since {health.started_at_utc[:19]}Z"),
        ("broker", f"{health.broker}  {' '.join(health.filters)}"),
        ("state", f"{state}, reported {_age_s(health.written_at_utc, now):.0f} s ago"),
        *([("trouble", f"{health.trouble} (since {health.since_utc[:19]}Z)")] if health.trouble else []),
        ("messages", f"{counters.received:,} received, {counters.stored:,} stored, {health.pending:,} pending"),
        ("", f"{counters.acknowledged:,} acknowledged, {counters.duplicates_flagged:,} flagged as redelivered"),
        ("rate", f"{health.messages_per_s:,.0f} messages/s"),
        ("lag", f"{health.lag_ms:.1f} ms from arrival to disk, at most {health.lag_max_ms:.1f} ms"),
        ("spool", f"{counters.stored_bytes:,} bytes from {counters.payload_bytes:,} of payload, in"),
        ("", f"{counters.batches:,} batches and {counters.segments_sealed:,} sealed segments"),
        ("connections", f"{counters.connections:,}, of which {counters.sessions_lost:,} found their session gone"),
        ("faults", f"{counters.spool_failures:,} of the spool, {counters.clock_jumps:,} clock jumps"),
    ]
    return "\n".join(f"{name:<12} {text}" for name, text in rows)


def _age_s(written_at_utc: str, now: datetime) -> float:
    return max((now - datetime.fromisoformat(written_at_utc)).total_seconds(), 0.0)


def recorders_of(folder: Path) -> list[Health]:
    """Return what the recorders of a spool folder say, by their names; one whose file cannot be read is left out."""
    found = []
    for path in sorted(folder.glob("*.health.json")):
        with suppress(SourceError):
            found.append(read_health(path))
    return found


def recorder_figures(recorders: Sequence[Health]) -> dict[str, int | float]:
    """Return what the recorders of a spool counted together since they started: messages, batches, bytes; worst lag."""
    counters = [each.counters for each in recorders]
    return {
        "recorder_received": sum(each.received for each in counters),
        "recorder_stored": sum(each.stored for each in counters),
        "recorder_duplicates_flagged": sum(each.duplicates_flagged for each in counters),
        "recorder_batches": sum(each.batches for each in counters),
        "recorder_payload_bytes": sum(each.payload_bytes for each in counters),
        "recorder_stored_bytes": sum(each.stored_bytes for each in counters),
        "recorder_pending": sum(each.pending for each in recorders),
        "recorder_lag_ms": max((each.lag_ms for each in recorders), default=0.0),
        "recorder_lag_max_ms": max((each.lag_max_ms for each in recorders), default=0.0),
    }
