"""Files of text as bytes and as numbered lines: plain or gzip, read to the last byte, and not changed meanwhile."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

from energy_assets.errors import SourceError

BLOCK_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 24


def identity_of(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to.

    Raises:
        SourceError: the file cannot be seen.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Check that it exists and its rights.") from error
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def confirm_unchanged(path: Path, identity: tuple[int, ...]) -> None:
    """Check that a file is still the one that had an identity.

    Raises:
        SourceError: it was replaced or written to since.
    """
    if identity_of(path) != identity:
        raise SourceError(
            f"{path} changed while it was read; nothing of it was stored. "
            f"Wait until its writer has finished, then ingest again."
        )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as they lie on the disk.

    Raises:
        SourceError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with _opened(path) as stream:
        for block in _blocks(path, stream, BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def unpacked_blocks(path: Path, *, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield a file's content, unpacked where it is gzip and so checked to its last byte.

    Raises:
        SourceError: the file cannot be read, or its gzip stream is broken.
    """
    with _unpacked(path) as stream:
        yield from _blocks(path, stream, size)


def header_of(start: bytes) -> str:
    """Return the first line of what a file begins with, without a byte order mark."""
    return start.split(b"\n", 1)[0].decode("utf-8-sig", errors="backslashreplace").rstrip("\r")


def numbered_lines(path: Path) -> Iterator[pl.DataFrame]:
    """Yield the lines after the header as frames of line_number (the header is line 1) and line, without line ends.

    Bytes that are not UTF-8 are shown as backslash escapes, so that a line can be kept as it came.

    Raises:
        SourceError: as `unpacked_blocks`.
    """
    line_number, rest = 1, b""
    for block in unpacked_blocks(path, size=_CHUNK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield _frame_of(lines, line_number)
        line_number += len(lines)
    yield _frame_of([rest] if rest else [], line_number)


def _frame_of(lines: list[bytes], line_number: int) -> pl.DataFrame:
    if line_number == 1:
        lines = lines[1:]
        line_number = 2
    texts = [line.decode("utf-8", errors="backslashreplace").rstrip("\r") for line in lines]
    return pl.DataFrame(
        {"line_number": pl.int_range(line_number, line_number + len(texts), eager=True), "line": texts},
        schema={"line_number": pl.Int64, "line": pl.String},
    )


def _unpacked(path: Path) -> BinaryIO:
    if path.suffix != ".gz":
        return _opened(path)
    try:
        return cast(BinaryIO, gzip.open(path, "rb"))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Check that it exists and its rights.") from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Check that it exists and its rights.") from error


def _blocks(path: Path, stream: BinaryIO, size: int) -> Iterator[bytes]:
    try:
        while block := stream.read(size):
            yield block
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path} is a truncated or damaged gzip file: {error}. Download it again.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {os.strerror(error.errno or 0)}. Check the disk.") from error
