"""One payload that does not fit its mapping is refused; its neighbours are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from energy_assets.lake import Lake
from energy_assets.message_landing import land_dumps
from energy_assets.readings.source import Source

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
LISTED = '[{"email":"a@example.org","datetime":"2026-01-01 00:00:00","consumption_kwh":1.0}]'
RULE = """topic = "m/{meter}"
meter = "{source}.{meter}"
value = "$.v"
measure = "power"
unit = "W"
interval_minutes = 15
"""
EACH = f'[[messages]]\n{RULE}each = "$.rows"\n'
UNIX = f'[[messages]]\n{RULE}time = "$.t"\nformat = "unix_s"\n'


@pytest.mark.parametrize(
    ("mapping", "good", "hostile"),
    [
        pytest.param(None, LISTED, '{"email":"a@example.org"}', id="object_for_list"),
        pytest.param(None, LISTED, "5", id="number_for_list"),
        pytest.param(None, LISTED, '"x"', id="text_for_list"),
        pytest.param(EACH, '{"rows":[{"v":1}]}', '{"rows":{"v":1}}', id="object_for_rows"),
        pytest.param(EACH, '{"rows":[{"v":1}]}', '{"v":1}', id="no_rows"),
        pytest.param(UNIX, '{"v":1,"t":1767225600}', '{"v":1,"t":-300000000000}', id="year_before_1"),
        pytest.param(UNIX, '{"v":1,"t":1767225600}', '{"v":1,"t":9000000000000}', id="year_after_9999"),
        pytest.param(UNIX, '{"v":1,"t":1767225600}', '{"v":1,"t":0}', id="clock_never_set"),
    ],
)
def test_a_hostile_payload_loses_no_neighbour(
    tmp_path: Path, lake: Lake, mapping: str | None, good: str, hostile: str
) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text(mapping or "")
    dump = tmp_path / "dump.jsonl"
    topic = "m/a" if mapping else "wattwise/consumption"
    lines = [
        {"topic": topic, "payload": payload, "arrived_at_utc": "2026-01-01T00:00:00Z"} for payload in (good, hostile)
    ]
    dump.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    source = Source(name="s", kind="mqtt", path=tmp_path, mapping=file if mapping else Path("system_004"))
    counts = land_dumps(lake, source, [dump], now=NOW)
    assert (counts.rows_in, counts.stored, counts.quarantined) == (2, 1, 1)
    assert land_dumps(lake, source, [dump], now=NOW).rows_in == 0
