"""From a file to an account: its fingerprint, its lines, and the SQL that all parsers of hourly files share.

A parser fills `temp.staged_meters` and `temp.staged_cells` (meter, local time, value); this module removes exact
repeats, keeps a window, and says where every row went. It does not know what any file means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from energy_assets.contracts import Window
from energy_assets.errors import SourceError
from energy_assets.parsing.lines import confirm_unchanged, header_of, identity_of, unpacked_blocks
from energy_assets.readings.source import Counts, Registry, Source, Staged
from energy_assets.sql import Query

PACKAGE = "energy_assets.readings"
_NEWLINE = ord("\n")
_LONGEST_HEADER_BYTES = 1 << 23
_MICROSECONDS_PER_MINUTE = 60_000_000
INTERVAL_MINUTES = 60

STAGED_METERS = pl.Schema(
    {
        "meter_key": pl.Int64,
        "meter_id": pl.String,
        "unit": pl.String,
        "offset_us": pl.Int64,
        "batch_id": pl.String,
    }
)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a file held when it was read whole: `batch_id` is the SHA-256 of its (unpacked) content."""

    path: Path
    batch_id: str
    header: tuple[str, ...]
    data_lines: int
    identity: tuple[int, ...]

    def confirm(self) -> None:
        """Check that the file is still the one that was fingerprinted.

        Raises:
            SourceError: it was replaced or written to since.
        """
        confirm_unchanged(self.path, self.identity)


def find_file(folder: Path, name: str) -> Path:
    """Return `<folder>/<name>` or its `.gz`.

    Raises:
        SourceError: neither is there.
    """
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise SourceError(f"{folder / name} (or {name}.gz) does not exist. Check the folder, or download the source again.")


def fingerprint(path: Path, *, identity: tuple[int, ...] | None = None) -> Fingerprint:
    """Read a CSV file to its end and return its fingerprint; gzip is unpacked and so checked to its last byte.

    `identity` is what `identity_of` said before another reading began, which the fingerprint shall vouch for.

    Raises:
        SourceError: the file is missing, empty, not readable, or its gzip stream is broken.
    """
    identity = identity or identity_of(path)
    digest = hashlib.sha256()
    newlines, last, first = 0, b"\n", b""
    for block in unpacked_blocks(path):
        digest.update(block)
        newlines += int(np.count_nonzero(np.frombuffer(block, np.uint8) == _NEWLINE))  # three times bytes.count
        if b"\n" not in first and len(first) < _LONGEST_HEADER_BYTES:
            first += block
        last = block[-1:]
    if not first.strip():
        raise SourceError(f"{path} is empty. Download or export it again.")
    mark = Fingerprint(
        path=path,
        batch_id=digest.hexdigest()[:32],
        header=_fields_of(first),
        data_lines=newlines + (last != b"\n") - 1,
        identity=identity,
    )
    mark.confirm()
    return mark


def require_columns(mark: Fingerprint, names: Sequence[str]) -> None:
    """Check that a file has columns of these names and at least one line after its header.

    Raises:
        SourceError: it has not.
    """
    missing = [name for name in names if name not in mark.header]
    if missing:
        raise SourceError(
            f"{mark.path} lacks the columns {', '.join(missing)}; it has {', '.join(mark.header)}. "
            f"Check that it is the right file and that its header is the first line."
        )
    if mark.data_lines < 1:
        raise SourceError(f"{mark.path} has a header and no rows. Download or export it again.")


def account(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    marks: Sequence[Fingerprint],
    *,
    window: Window | None,
    now: datetime,
    registry: Registry | None,
) -> Staged:
    """Remove exact repeats from the staged cells, keep the window, and return what is staged with its account.

    Expects `temp.staged_meters`, `temp.staged_cells` and `temp.staged_quarantine`; cells that belong to no meter or
    have no plausible time must be in quarantine already.

    Raises:
        SourceError: a file changed while it was read.
    """
    if window is not None:
        bounds = {"starts_at_utc": window.starts_at_utc, "ends_at_utc": window.ends_at_utc}
        run(connection, "landing_window_cells", **bounds)
        run(connection, "landing_window_quarantine", **bounds)
        run(connection, "landing_days")
    run(connection, "landing_repeats")
    if scalar(connection, "landing_count_repeats"):
        run(connection, "landing_drop_repeats")
        run(connection, "landing_days")
    landings = query("landing_account", source=source.name, now=now)
    for mark in marks:
        mark.confirm()
    return Staged(
        source=source,
        batch_ids=tuple(mark.batch_id for mark in marks),
        raw=query(
            "landing_raw",
            source=source.name,
            known_after_us=(INTERVAL_MINUTES + source.reporting_delay_minutes) * _MICROSECONDS_PER_MINUTE,
        ),
        quarantine=query("landing_quarantine", source=source.name, now=now),
        landings=landings,
        counts=_counts(connection, landings),
        registry=registry,
    )


def stage_meters(connection: duckdb.DuckDBPyConnection, meters: pl.DataFrame) -> None:
    """Fill `temp.staged_meters`; an offset of null marks meters whose clock is unknown."""
    incoming = meters.select(pl.col(name).cast(dtype) for name, dtype in STAGED_METERS.items())
    connection.register("incoming_meters", incoming)
    try:
        run(connection, "landing_meters")
    finally:
        connection.unregister("incoming_meters")


def query(name: str, **parameters: object) -> Query:
    """Return a query of this package's sql folder."""
    return Query.from_file(PACKAGE, name, **parameters)


def run(connection: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> None:
    """Run a statement of this package's sql folder."""
    connection.execute(query(name).text, parameters)


def scalar(connection: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> int:
    """Return the one number that a query of this package's sql folder gives."""
    row = connection.execute(query(name).text, parameters).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def _counts(connection: duckdb.DuckDBPyConnection, landings: Query) -> Counts:
    totals = landings.frame(connection).select(pl.col("rows_in", "stored", "duplicate", "quarantined").sum())
    return Counts(**totals.row(0, named=True))


def _fields_of(start: bytes) -> tuple[str, ...]:
    return tuple(field.strip().strip('"') for field in header_of(start).split(","))
