"""The quarantine is read again once a mapping is mended; every row that leaves it is accounted for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from energy_assets.contracts import READINGS_QUARANTINE, READINGS_RAW, READINGS_SEGMENTS
from energy_assets.lake import Lake
from energy_assets.message_landing import land_segments, replay_quarantine
from energy_assets_tests.messaging.spooling import record, spool_source, write_segment
from energy_assets_tests.messaging.test_message_landing import assert_accounted

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
RULE = """[[messages]]
topic = "m/{meter}"
meter = "{source}.{meter}{index}"
value = "$.v"
measure = "power"
unit = "W"
interval_minutes = 15
"""
OTHER = RULE.replace("m/{meter}", "n/{meter}").replace("{index}", "")
OUT = RULE.replace("$.v", "$.w").replace("{index}", "_out")


@pytest.mark.parametrize(
    ("mappings", "messages", "expected"),
    [
        pytest.param(
            (RULE, RULE + OTHER),
            [("m/a", {"v": 1}), ("n/b", {"v": 2}), ("n/c", "junk"), ("o/d", "1")],
            ((1, 3), (3, 1, 0, 2, 0), ["no_mapping", "not_json"]),
            id="a topic gets its rule",
        ),
        pytest.param(
            (RULE, RULE.replace("$.v", "$.value")),
            [("m/a", {"value": 1}), ("m/a", {"value": 1})],
            ((0, 2), (2, 2, 0, 0, 0), []),
            id="the value stood elsewhere",
        ),
        pytest.param(
            (RULE, RULE + 'absent = "ignore"\n'),
            [("m/a", {"v": None}), ("m/b", {"v": "x"})],
            ((0, 2), (2, 0, 0, 1, 1), ["unreadable_number"]),
            id="what is absent is ignored",
        ),
        pytest.param(
            (RULE, RULE + 'nulls = ["off"]\nabsent = "ignore"\n'),
            [("m/a", {"v": [1, "off", 3, "x"]})],
            ((2, 2), (2, 0, 0, 1, 0), ["unreadable_number"]),
            id="only the refused values of an array are read again",
        ),
        pytest.param(
            (RULE + OUT, RULE + OUT.replace("$.w", "$.u")),
            [("m/a", {"v": 1, "u": 2}), ("m/b", {"v": 1})],
            ((2, 2), (2, 1, 0, 1, 0), ["missing_value"]),
            id="what another rule stored is not counted again",
        ),
        pytest.param(
            (RULE + OUT, RULE), [("m/a", {"v": 1})], ((1, 1), (1, 0, 0, 0, 1), []), id="the rule that refused is gone"
        ),
        pytest.param(
            (RULE + OUT, RULE + OUT.replace("$.w", "$.u")),
            [("m/a", "junk"), ("m/a", [])],
            ((0, 3), (3, 0, 0, 3, 0), ["missing_value", "missing_value", "not_json"]),
            id="nothing is mended",
        ),
    ],
)
def test_a_replay_after_the_mapping_is_mended(
    tmp_path: Path,
    shared_lake: Lake,
    mappings: tuple[str, str],
    messages: list[tuple[str, object]],
    expected: tuple[tuple[int, int], tuple[int, ...], list[str]],
) -> None:
    (before, after), (first, replayed, left) = mappings, expected
    mapping, spool = tmp_path / "m.toml", tmp_path / "spool"
    mapping.write_text(before)
    write_segment(spool, [record(number, topic, payload) for number, (topic, payload) in enumerate(messages)])
    source = spool_source(spool, mapping).model_copy(update={"name": f"s{abs(hash(str(spool)))}"})
    where = {"source": source.name}
    counts = land_segments(shared_lake, source, now=NOW)
    assert (counts.stored, counts.quarantined) == first
    mapping.write_text(after)
    done = replay_quarantine(shared_lake, source, now=NOW)
    assert (done.rows, done.stored, done.duplicate, done.quarantined, done.ignored) == replayed
    assert sorted(shared_lake.read(READINGS_QUARANTINE, where=where)["reason"]) == left
    assert shared_lake.count(READINGS_RAW, where=where) == first[0] + replayed[1]
    assert_accounted(shared_lake, source.name)
    again = replay_quarantine(shared_lake, source, now=NOW)
    assert (again.rows, again.stored, again.quarantined) == (len(left), 0, len(left))
    assert_accounted(shared_lake, source.name)
    account = shared_lake.read(READINGS_SEGMENTS, where=where)
    assert account["messages"].sum() == len(messages)


def test_a_redelivery_that_is_refused_is_a_repeat_once_it_is_read(tmp_path: Path, lake: Lake) -> None:
    mapping, spool = tmp_path / "m.toml", tmp_path / "spool"
    mapping.write_text(OTHER)
    write_segment(
        spool,
        [record(0, "m/a", {"v": 1}, packet_id=5), record(1, "m/a", {"v": 1}, packet_id=5, at_s=900, duplicate=True)],
    )
    source = spool_source(spool, mapping)
    assert land_segments(lake, source, now=NOW).quarantined == 2
    mapping.write_text(RULE)
    done = replay_quarantine(lake, source, reason="no_mapping", now=NOW)
    assert (done.stored, done.duplicate) == (1, 1)
    assert_accounted(lake)


def test_the_commands(tmp_path: Path) -> None:
    command = str(Path(sys.executable).with_name("energy"))
    environment = os.environ | {"ENERGY_ASSETS_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    mapping, dump = tmp_path / "m.toml", tmp_path / "dump.jsonl"
    mapping.write_text(RULE)
    lines = [("m/a", {"v": 1}), ("n/b", {"v": 2}), ("n/b", {"v": 3})]
    dump.write_text(
        "".join(
            json.dumps({"tst": f"2026-11-21T06:0{n}:00.0+0000", "topic": t, "payload": p}) + "\n"
            for n, (t, p) in enumerate(lines)
        )
    )

    def told(*arguments: str) -> str:
        return subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, check=True).stdout

    assert "3 rows in = 1 stored + 0 duplicate + 2 quarantined + 0 ignored" in told(
        "ingest", "mqtt-dump", str(dump), "--mapping", str(mapping), "--name", "home"
    )
    assert "no message that was not landed already" in told(
        "ingest", "mqtt-dump", str(dump), "--mapping", str(mapping), "--name", "home"
    )
    shown = told("quarantine", "list")
    assert "no_mapping" in shown
    assert '{"v":2}' in shown
    mapping.write_text(RULE + OTHER)
    assert "2 rows read again; of their messages 2 readings stored" in told("quarantine", "replay", "--source", "home")
    assert "Nothing is in quarantine" in told("quarantine", "list")
