"""Payload mappings: every message becomes readings or a refusal with its reason; wrong mappings are named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from energy_assets.errors import ConfigError
from energy_assets.messaging.payloads import load_payload_mapping
from energy_assets.messaging.staging import stage
from energy_assets.readings.source import Source

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)
AT = "2026-11-21T06:00:00Z"


def readings(folder: Path, mapping: str, *messages: tuple[str, object], **more: object) -> list[tuple[object, ...]]:
    """Return meter, time, value and reason of each row that messages give, in their order."""
    lines = []
    for number, (topic, payload) in enumerate(messages):
        text = payload if isinstance(payload, str) else json.dumps(payload)
        fields = {"sequence": number, "arrived_at_utc": AT, "topic": topic, "payload": text, **more}
        lines.append(json.dumps(fields))
    (folder / "dump.jsonl").write_text("\n".join(lines) + "\n")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = Source(name="s", kind="mqtt", path=folder / "dump.jsonl", mapping=Path(mapping))
        staged = stage(connection, source, window=None, now=NOW)
        assert staged.counts.is_balanced
        return connection.execute(
            "SELECT meter_id, strftime(starts_at_utc, '%m-%d %H:%M:%S'), value, reason FROM temp.staged_window "
            "ORDER BY line_number"
        ).fetchall()


PULSE = {"meterId": "household_1", "timestamp": "2026-11-21T07:00:02+01:00", "temperature": 9.1, "consumptionKwh": 1.25}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param("garbage{", "not_json", id="not JSON"),
        pytest.param(PULSE | {"consumptionKwh": None}, "missing_value", id="null"),
        pytest.param(PULSE | {"consumptionKwh": "much"}, "unreadable_number", id="no number"),
        pytest.param(PULSE | {"consumptionKwh": "inf"}, "not_finite", id="infinite"),
        pytest.param(PULSE | {"timestamp": "soon"}, "unreadable_time", id="no time"),
    ],
)
def test_a_message_that_does_not_fit_is_refused_with_its_reason(tmp_path: Path, payload: object, reason: str) -> None:
    rows = readings(tmp_path, "system_003", ("energy/meters/household_1", payload))
    assert [row[3] for row in rows] == [reason]


def test_a_topic_without_rule_is_refused(tmp_path: Path) -> None:
    assert readings(tmp_path, "system_003", ("other", "1"))[0][3] == "no_mapping"


@pytest.mark.parametrize(
    ("mapping", "topic", "payload", "expected"),
    [
        pytest.param(
            "system_003",
            "energy/meters/household_1",
            PULSE,
            [("s.household_1.electricity", "11-21 06:00:02", 1.25, None)],
            id="003, offset kept",
        ),
        pytest.param(
            "system_000",
            "energy/aggregate/consumption",
            [1.5, 2],
            [
                ("s.household1.consumption", "11-21 06:00:00", 1.5, None),
                ("s.household2.consumption", "11-21 06:00:00", 2.0, None),
            ],
            id="000, bare array at arrival",
        ),
        pytest.param(
            "system_000",
            "energy/household1/production",
            {"timestamps": ["2024-01-01 00:00:00", "2024-07-01 00:00:00.5"], "production": [3.0]},
            [("s.member1.production", "12-31 23:00:00", 3.0, None), (None, "06-30 22:00:00", None, "missing_value")],
            id="000, one stamp more than values",
        ),
        pytest.param(
            "system_000",
            "energy/household1/consumption",
            {"forecast": [1.0]},
            [(None, None, None, "missing_value")],
            id="000, a forecast on the topic of readings",
        ),
        pytest.param(
            "system_001",
            "energy_consumption_redis",
            {"building_id": 7, "timestamp": "2016-09-02T00:00:00", "meter_reading": 88.5},
            [("s.7.electricity", "09-02 00:00:00", 88.5, None)],
            id="001",
        ),
        pytest.param(
            "system_002",
            "hack/SMA_0174.3017198275/TotalActivePower",
            {"FeatureType": "EnergyMeter", "Power": -120, "EnergyIn": 7200, "EnergyOut": 3600},
            [
                ("s.house.grid_export", "11-21 06:00:00", 7200.0, None),
                ("s.house.grid_import", "11-21 06:00:00", 3600.0, None),
            ],
            id="002, the house connection both ways",
        ),
        pytest.param(
            "system_004",
            "wattwise",
            [{"email": "a@b.gr", "datetime": "2024-07-01 01:00:00", "consumption_kwh": 0.512}],
            [("s.a@b.gr.electricity", "06-30 22:00:00", 0.512, None)],
            id="004",
        ),
        pytest.param(
            "tasmota",
            "tele/plug/SENSOR",
            {"Time": "2026-11-21T05:59:58", "ENERGY": {"Total": 3.185, "Power": 42}},
            [("s.plug.electricity", "11-21 05:59:58", 3.185, None)],
            id="Tasmota",
        ),
        pytest.param(
            "shelly_gen1",
            "shellies/shellyem3-C8C9/emeter/0/total",
            "12345.6",
            [("s.shellyem3-C8C9.0", "11-21 06:00:00", 12345.6, None)],
            id="Shelly Gen1",
        ),
        pytest.param(
            "shelly_gen2",
            "shellyplus1pm-a8/status/switch:0",
            '{"id":0,"output":true,"apower":8.9,"aenergy":{"total":6.532,"by_minute":[45.1,47.1,88.4],"minute_ts":1626935779}}',
            [("s.shellyplus1pm-a8.0", "11-21 06:00:00", 6.532, None)],
            id="Shelly Gen2",
        ),
        pytest.param(
            "home_assistant",
            "homeassistant/sensor/washer_energy/state",
            "12.34",
            [("s.washer.electricity", "11-21 06:00:00", 12.34, None)],
            id="Home Assistant",
        ),
        pytest.param(
            "dsmr_reader",
            "dsmr/reading/electricity_delivered_1",
            "1234.567",
            [("s.house.grid_import_1", "11-21 06:00:00", 1234.567, None)],
            id="DSMR-reader",
        ),
        pytest.param(
            "zigbee2mqtt",
            "zigbee2mqtt/plug",
            '{"current":0.04,"energy":1.29,"linkquality":120,"power":7,"state":"ON","voltage":231}',
            [("s.plug.electricity", "11-21 06:00:00", 1.29, None)],
            id="Zigbee2MQTT",
        ),
    ],
)
def test_built_in_mappings(
    tmp_path: Path, mapping: str, topic: str, payload: object, expected: list[tuple[object, ...]]
) -> None:
    assert readings(tmp_path, mapping, (topic, payload)) == expected


def test_a_wrong_mapping_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[[messages]]\ntopic = "a/{b}"\nmeter = "{c}"\nvalue = "$"\nunit = "kWh"\n')
    with pytest.raises(ConfigError, match="lacks measure, interval_minutes"):
        load_payload_mapping(tmp_path / "m.toml")
