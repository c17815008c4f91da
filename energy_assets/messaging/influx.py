"""InfluxDB exports as messages: annotated CSV of a query, and line protocol; plain, gzip or zstd.

Every value becomes a message whose topic is `influx/<measurement>/<tag>=<value>/…/<field>`, tags by name, and whose
time of arrival is the point's, so that mappings, repeats, the quarantine and its replay are those of MQTT.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from energy_assets.messaging.dumps import lines_of
from energy_assets.messaging.staging import FRAME_COLUMNS

_ROWS_AT_ONCE = 100_000
_NO_TAGS = frozenset({"", "result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement"})
# Line protocol: a part ends at the first comma, blank or equals sign without a backslash; strings of fields are quoted.
_PART = re.compile(r'((?:\\.|[^,= \\])+)=("(?:\\.|[^"\\])*"|(?:\\.|[^, \\])+)')
_LINE = re.compile(r'((?:\\.|[^, \\])+)((?:,(?:\\.|[^ \\])+)?) ((?:"(?:\\.|[^"\\])*"|\\.|[^ \\"])+)(?: (-?\d+))?$')
_ESCAPED = re.compile(r"\\(.)")
_UNITS_PER_S = {"ns": 1_000_000_000, "us": 1_000_000, "ms": 1_000, "s": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Message = tuple[str | None, str, datetime | None, str | None]


def read_influx(path: Path, *, precision: str = "ns") -> Iterator[pl.DataFrame]:
    """Yield the values of an export as frames for `staging.add_frame`.

    The first line tells annotated CSV (it begins with # or a comma) from line protocol, whose times are in `precision`
    (ns, us, ms or s). A line that cannot be read is a refused message.

    Raises:
        SourceError: the file cannot be read or unpacked.
    """
    rows: list[tuple[object, ...]] = []
    number = 0
    messages: _Csv | _Protocol | None = None
    for line in lines_of(path):
        if messages is None:
            messages = _Csv() if line.startswith(("#", ",")) else _Protocol(_UNITS_PER_S[precision])
        for topic, payload, at_utc, fault in messages(line):
            number += 1
            rows.append((0, number, None, at_utc, at_utc, False, False, topic, payload, None, fault))
        if len(rows) >= _ROWS_AT_ONCE:
            yield pl.DataFrame(rows, schema=FRAME_COLUMNS, orient="row")
            rows = []
    if rows:
        yield pl.DataFrame(rows, schema=FRAME_COLUMNS, orient="row")


class _Csv:
    """Reads annotated CSV line by line: annotations begin a table, the line after them names its columns."""

    def __init__(self) -> None:
        self._names: Sequence[str] | None = None
        self._topics: dict[tuple[str, ...], str] = {}

    def __call__(self, line: str) -> Iterator[Message]:
        if line.startswith("#"):
            self._names = None
            return
        cells = next(csv.reader(io.StringIO(line)))
        if self._names is None or cells == self._names:
            self._names = cells
            return
        at_utc = _instant(dict(zip(self._names, cells, strict=False)).get("_time", ""))
        if len(cells) != len(self._names) or at_utc is None or "_value" not in self._names:
            yield None, line, None, "bad_line"
            return
        row = dict(zip(self._names, cells, strict=True))
        tags = {name: value for name, value in row.items() if name not in _NO_TAGS and value}
        yield _topic(row.get("_measurement", ""), tags, row.get("_field", "")), row["_value"], at_utc, None


class _Protocol:
    """Reads line protocol; comments are no values."""

    def __init__(self, units_per_s: int) -> None:
        self._units_per_s = units_per_s

    def __call__(self, line: str) -> Iterator[Message]:
        if line.startswith("#"):
            return
        found = _LINE.match(line.rstrip())
        fields = _PART.findall(found[3]) if found else []
        if found is None or not fields:
            yield None, line, None, "bad_line"
            return
        tags = {_plain(name): _plain(value) for name, value in _PART.findall(found[2])}
        try:
            at_utc = None if found[4] is None else _EPOCH + timedelta(microseconds=self._microseconds(int(found[4])))
        except OverflowError:
            yield None, line, None, "bad_line"
            return
        for name, value in fields:
            yield _topic(_plain(found[1]), tags, _plain(name)), _number(value), at_utc, None

    def _microseconds(self, count: int) -> int:
        return count * 1_000_000 // self._units_per_s


def _topic(measurement: str, tags: Mapping[str, str], field: str) -> str:
    return "/".join(["influx", measurement, *(f"{name}={tags[name]}" for name in sorted(tags)), field])


def _number(value: str) -> str:
    """Return a field's value as JSON: integers without the letter of their type, strings in quotes."""
    return value[:-1] if re.fullmatch(r"-?\d+[iu]", value) else value


def _plain(part: str) -> str:
    return _ESCAPED.sub(r"\1", part)


def _instant(text: str) -> datetime | None:
    try:
        # Nanoseconds are more than a datetime holds.
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
