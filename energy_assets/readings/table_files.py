"""The files of a table: which parts there are, their fingerprints, and their rows as they stand in them.

Nothing is judged here but the file itself: it must be there, whole, and a table; lines with too few or too many fields
are returned beside the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from energy_assets.errors import SourceError
from energy_assets.parsing.lines import confirm_unchanged, identity_of
from energy_assets.readings.landing import fingerprint
from energy_assets.readings.mapping import CsvFormat

_FORMATS = (".parquet", ".csv", ".csv.gz", ".csv.zst", ".tsv", ".txt")
_BLOCK_BYTES = 1 << 22
_FIRST_LINE = 2
_MALFORMED = pl.Schema({"line_number": pl.Int64(), "reason": pl.String(), "payload": pl.String()})


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of a table; `batch_id` is the fingerprint of its (unpacked, where gzip or zstd) content."""

    path: Path
    batch_id: str
    identity: tuple[int, ...]

    def confirm(self) -> None:
        """Check that the file is still the one that was fingerprinted.

        Raises:
            SourceError: it was replaced or written to since.
        """
        confirm_unchanged(self.path, self.identity)


def find_parts(path: Path) -> Iterator[Part]:
    """Yield the parts of a file, a glob, or a folder (its files named `readings*`), in the order of their names.

    Raises:
        SourceError: there are none, or one is empty, truncated or not readable.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.startswith("readings") and _is_table(file))
    elif path.is_file():
        files = [path]
    else:
        files = sorted(path.parent.glob(path.name)) if path.parent.is_dir() else []
    if not files:
        raise SourceError(f"{path} holds no table: give a file, a glob, or a folder with readings*.parquet or .csv.")
    for file in files:
        identity = identity_of(file)
        if file.stat().st_size == 0:
            raise SourceError(f"{file} is empty. Export it again.")
        yield Part(path=file, batch_id=_fingerprint(file), identity=identity)


def read_part(
    connection: duckdb.DuckDBPyConnection, path: Path, *, csv: CsvFormat
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a file's rows with their `line_number`, and its malformed lines (line_number, reason, payload).

    The header of a CSV is line 1, and blank lines are not counted; the first row of Parquet is 1. Cells of a CSV are
    text, and null only where the line ends early.

    Raises:
        SourceError: the file is not readable as what its name says.
    """
    if path.suffix == ".parquet":
        try:
            rows = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceError(f"{path} cannot be read as Parquet: {error}. Export it again.") from error
        return rows.with_row_index("line_number", offset=1), _MALFORMED.to_frame()
    try:
        found = connection.execute(
            "FROM read_csv($path, all_varchar = true, header = true, skip = 0, delim = $delimiter, quote = '\"', "
            "escape = '\"', comment = '', store_rejects = true, rejects_limit = 0, parallel = false, "
            "null_padding = false)",
            {"path": str(path), "delimiter": csv.delimiter},
        ).pl()
        rejected = connection.execute(
            "SELECT line::BIGINT AS line_number, 'malformed_line' AS reason, any_value(csv_line) AS payload "
            "FROM reject_errors GROUP BY line ORDER BY line"
        ).pl()
        connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    except duckdb.Error as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}. Check delimiter and end of file.") from error
    malformed = pl.concat([_MALFORMED.to_frame(), rejected.cast(_MALFORMED)])
    return _numbered(found, malformed["line_number"]), malformed


def _numbered(rows: pl.DataFrame, malformed: pl.Series) -> pl.DataFrame:
    # The rows are the lines that were not refused.
    lines = pl.DataFrame(
        {"line_number": pl.int_range(_FIRST_LINE, _FIRST_LINE + rows.height + malformed.len(), eager=True)}
    )
    kept = lines.filter(~pl.col("line_number").is_in(malformed.implode())).head(rows.height)
    return kept.hstack(rows)


def _is_table(file: Path) -> bool:
    return file.is_file() and file.name.lower().endswith(_FORMATS)


def _fingerprint(file: Path) -> str:
    if file.suffix == ".gz":
        return fingerprint(file).batch_id
    if file.suffix == ".zst":
        return _zstd_digest(file)
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}. Check its rights.") from error


def _zstd_digest(file: Path) -> str:
    # DuckDB reads a torn zstd frame without complaint; Arrow says that it is torn.
    import pyarrow

    digest = hashlib.sha256()
    try:
        with pyarrow.OSFile(str(file)) as packed, pyarrow.CompressedInputStream(packed, "zstd") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise SourceError(f"{file} is a truncated or damaged zstd file: {error}. Export it again.") from error
    return digest.hexdigest()[:32]
