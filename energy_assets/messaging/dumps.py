"""Dumps of MQTT messages that others wrote: JSON lines and what `mosquitto_sub -v` or `-F` prints, also gzip and zstd.

Each line becomes a message or a refused line, with its number; what it means is the mapping's business. The mapping
helps in one place: `-v` puts a space between topic and payload, and topics may hold spaces.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import duckdb
import polars as pl
import zstandard

from energy_assets.errors import ConfigError, SourceError
from energy_assets.messaging.payloads import PayloadMapping
from energy_assets.messaging.staging import query

_BLOCK_BYTES = 1 << 24
_PACKED_BYTES = 1 << 20
_LONGEST_LINE_BYTES = 1 << 28  # which is what an MQTT message may have
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_MOST_SPACES = 8
_UNPACKED = pl.Schema({"line_number": pl.Int64, "line": pl.String, "is_text": pl.Boolean})

# What `mosquitto_sub -F` puts for each of its fields: a group's name and what it looks like.
_FIELDS = {
    "%t": ("topic", ".+?"),
    "%p": ("payload", ".*"),
    "%x": ("hexadecimal", "[0-9a-f]*"),
    "%X": ("hexadecimal", "[0-9A-F]*"),
    "%I": ("iso", r"\S+"),
    "%U": ("unix", r"\d+(?:\.\d+)?"),
    "@s": ("unix", r"\d+"),
    "%r": ("retained", "[01]"),
    "%m": ("packet_id", r"\d+"),
    "%q": (None, "[012]"),
    "%l": (None, r"\d+"),
    "%%": (None, "%"),
    "@@": (None, "@"),
    "@Y": ("year", r"\d{4}"),
    "@m": ("month", r"\d\d"),
    "@d": ("day", r"\d\d"),
    "@H": ("hour", r"\d\d"),
    "@M": ("minute", r"\d\d"),
    "@S": ("second", r"\d\d"),
    "@N": ("nanosecond", r"\d{9}"),
    "@z": ("offset", r"[+-]\d{4}"),
}
_FIELD = re.compile(r"[%@].|\\[nt]")


def read_dump(path: Path, *, mapping: PayloadMapping, form: str | None = None) -> Iterator[pl.DataFrame]:
    """Yield the messages of a dump as frames for `staging.add_frame`; empty lines are no messages.

    `form` is what `mosquitto_sub -F` was given; None: JSON lines where the first line is JSON, else `-v`.

    Raises:
        ConfigError: the format has a field that cannot be read back.
        SourceError: the file cannot be read or unpacked.
    """
    reader = None
    for lines in _frames(path):
        if lines.is_empty():
            continue
        if reader is None:
            reader = _reader_of(form, first=str(lines["line"][0]), mapping=mapping)
        yield reader(lines).with_columns(batch=pl.lit(0, dtype=pl.Int32))


class _JsonLines:
    """Reads lines of JSON."""

    def __call__(self, lines: pl.DataFrame) -> pl.DataFrame:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("incoming_lines", lines)
            found = connection.execute(query("dump_json").text).pl()
        return found.with_columns(pl.col("arrived_at_utc", "at_utc").cast(pl.Datetime("us", "UTC")))


class _Printed:
    """Reads lines that `mosquitto_sub` printed, by the expression that its format stands for."""

    def __init__(self, pattern: str, *, mapping: PayloadMapping) -> None:
        self._pattern = pattern
        self._topics = [re.compile(rule.pattern) for rule in (*mapping.messages, *mapping.ignored)]

    def __call__(self, lines: pl.DataFrame) -> pl.DataFrame:
        found = lines.with_columns(pl.col("line").str.extract_groups(self._pattern).alias("parts")).unnest("parts")
        for name in ("payload", "hexadecimal", "iso", "unix", "retained", "packet_id"):
            if name not in found.columns:
                found = found.with_columns(pl.lit(None, dtype=pl.String).alias(name))
        if "hexadecimal" in self._pattern:
            found = found.with_columns(
                payload=pl.col("hexadecimal").str.decode("hex", strict=False).cast(pl.String, strict=False)
            )
        known = self._with_whole_topics(found)
        is_bad = pl.col("topic").is_null()
        return known.select(
            "line_number",
            packet_id=pl.col("packet_id").cast(pl.UInt16, strict=False).replace(0, None),
            arrived_at_utc=_arrival(known.columns),
            at_utc=_arrival(known.columns),
            retained=(pl.col("retained") == "1").fill_null(value=False),
            duplicate=pl.lit(value=False),
            topic="topic",
            payload=pl.when(is_bad).then("line").otherwise(pl.col("payload").fill_null("").replace("(null)", "")),
            encoding=pl.when(~pl.col("is_text")).then(pl.lit("backslashes")),
            fault=pl.when(is_bad).then(pl.lit("bad_line")),
        )

    def _with_whole_topics(self, found: pl.DataFrame) -> pl.DataFrame:
        """Return the messages with the words of a payload that belong to a topic with spaces moved to it."""
        topics = found["topic"].drop_nulls().unique()
        strange = [topic for topic in topics if not self._is_known(topic)]
        if not strange:
            return found
        is_strange = pl.col("topic").is_in(strange)
        moved = [
            self._split(topic, payload)
            for topic, payload in found.filter(is_strange).select("topic", "payload").iter_rows()
        ]
        mended = found.filter(is_strange).with_columns(
            pl.Series("topic", [topic for topic, _ in moved], dtype=pl.String),
            pl.Series("payload", [payload for _, payload in moved], dtype=pl.String),
        )
        return pl.concat([found.filter(~is_strange.fill_null(value=False)), mended]).sort("line_number")

    def _split(self, topic: str, payload: str | None) -> tuple[str, str | None]:
        longer, rest = topic, payload or ""
        for _ in range(_MOST_SPACES):
            word, space, rest = rest.partition(" ")
            longer = f"{longer} {word}"
            if not space:
                break
            if self._is_known(longer):
                return longer, rest
        return topic, payload

    def _is_known(self, topic: str) -> bool:
        return any(pattern.match(topic) for pattern in self._topics)


def _reader_of(form: str | None, *, first: str, mapping: PayloadMapping) -> _JsonLines | _Printed:
    if form is None:
        return _JsonLines() if first.lstrip().startswith("{") else _Printed(pattern_of("%t %p"), mapping=mapping)
    if form.strip() in {"%j", "%J"}:
        return _JsonLines()
    return _Printed(pattern_of(form), mapping=mapping)


def pattern_of(form: str) -> str:
    """Return the expression, with named groups, of the lines that `mosquitto_sub -F form` prints.

    Raises:
        ConfigError: the format has a field that cannot be read back, or lacks topic or payload.
    """
    parts, position, named = [], 0, set()
    for field in _FIELD.finditer(form):
        parts.append(re.escape(form[position : field.start()]))
        position = field.end()
        text = field.group()
        if text in {r"\n", r"\t"}:
            parts.append(text)
            continue
        if text not in _FIELDS:
            raise ConfigError(
                f"The format {form!r} has {text}, which is not read back; what is: {', '.join(_FIELDS)}, %j, %J."
            )
        name, looks = _FIELDS[text]
        parts.append(f"(?:{looks})" if name is None or name in named else f"(?P<{name}>{looks})")
        named.add(name)
    if "topic" not in named or not named & {"payload", "hexadecimal"}:
        raise ConfigError(f"The format {form!r} has no topic (%t) or no payload (%p, %x); they are needed.")
    pattern = "".join([*parts, re.escape(form[position:])])
    return f"^{pattern.removesuffix(chr(92) + 'n')}$"


def _arrival(columns: Sequence[str]) -> pl.Expr:
    """Return the time of arrival; a clock without an offset is read as UTC."""
    utc = pl.Datetime("us", "UTC")
    iso = pl.col("iso").str.replace(r"([+-]\d\d)(\d\d)$", "$1:$2").str.replace("Z$", "+00:00")
    with_offset = (
        pl.when(pl.col("iso").str.contains(r"[+-]\d\d:?\d\d$|Z$")).then(iso).otherwise(pl.col("iso") + "+00:00")
    )
    stamps = [
        with_offset.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False),
        (pl.col("unix").cast(pl.Float64, strict=False) * 1e6).cast(pl.Int64).cast(utc),
    ]
    if {"year", "month", "day", "hour", "minute", "second"} <= set(columns):
        parts = [pl.col(name) for name in ("year", "month", "day", "hour", "minute", "second")]
        second = pl.col("nanosecond").str.slice(0, 6) if "nanosecond" in columns else pl.lit("000000")
        offset = pl.col("offset") if "offset" in columns else pl.lit("+0000")
        text = pl.concat_str([*parts, second, offset])
        stamps.append(text.str.to_datetime("%Y%m%d%H%M%S%6f%z", time_unit="us", strict=False).cast(utc))
    return pl.coalesce(stamps)


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, plain or packed, that are not empty.

    Raises:
        SourceError: the file cannot be read or unpacked.
    """
    for frame in _frames(path):
        yield from frame["line"]


def _frames(path: Path) -> Iterator[pl.DataFrame]:
    number, rest = 1, b""
    try:
        for block in _as_utf8(_blocks(path)):
            *lines, rest = (rest + block).split(b"\n")
            if len(rest) > _LONGEST_LINE_BYTES:
                raise SourceError(
                    f"{path}: line {number + len(lines)} is longer than any MQTT message, so it is no dump of them. "
                    "Nothing of it was stored."
                )
            yield _frame(lines, number)
            number += len(lines)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise SourceError(
            f"{path} cannot be read to its end: {error}. Nothing of it was stored; restore it."
        ) from error
    if rest:
        yield _frame([rest], number)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start == _ZSTD:
            yield from _unpacked(file)
            return
        with gzip.open(file) if start.startswith(_GZIP) else nullcontext(file) as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block


def _as_utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield text without its byte order mark, and what Windows wrote as UTF-16 as UTF-8."""
    for number, block in enumerate(blocks):
        if number == 0 and block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            texts = codecs.iterdecode(chain([block], blocks), "utf-16", errors="replace")
            yield from (text.encode() for text in texts)
            return
        yield block.removeprefix(codecs.BOM_UTF8) if number == 0 else block


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of zstd frames one after the other; the library itself does not mind where the last ends."""
    decompressor = zstandard.ZstdDecompressor()
    rest = b""
    while chunk := rest or file.read(_PACKED_BYTES):
        frame, rest = decompressor.decompressobj(read_across_frames=False), b""
        while chunk:
            yield frame.decompress(chunk)
            if frame.eof:
                rest = frame.unused_data
                break
            chunk = file.read(_PACKED_BYTES)
        if not frame.eof:
            raise EOFError("its last frame is not whole")


def _frame(lines: Sequence[bytes], number: int) -> pl.DataFrame:
    rows = []
    for place, line in enumerate(lines, start=number):
        stripped = line.removesuffix(b"\r")
        if not stripped.strip():
            continue
        try:
            rows.append((place, stripped.decode(), True))
        except UnicodeDecodeError:
            rows.append((place, stripped.decode(errors="backslashreplace"), False))
    return pl.DataFrame(rows, schema=_UNPACKED, orient="row")
