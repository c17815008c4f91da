"""Built-in mappings, with payloads as the real systems send them; none here was made up to please a mapping.

The public formats were looked up in the projects' documentation and in payloads that people published.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from energy_assets_tests.messaging.judging import Row, judged

AT = "11-21 06:00:00"
IGNORED: Row = (None, None, None, "ignored")


def at(meter: str, value: float) -> Row:
    """Return a reading at arrival."""
    return (f"s.{meter}", AT, value, None)


SONOFF = {
    "Time": "2023-05-19T20:52:56",
    "ENERGY": {
        "TotalStartTime": "2022-03-20T15:20:48", "Total": 514.153, "Yesterday": 1.495, "Today": 0.537, "Period": 0,
        "Power": 56, "ApparentPower": 92, "ReactivePower": 73, "Factor": 0.61, "Voltage": 234, "Current": 0.392,
    },
}  # fmt: skip
DUAL = {
    "Time": "2026-09-18T11:19:21",
    "ENERGY": {"TotalStartTime": "2026-09-16T00:00:00", "Total": [2.813, 0.254], "Power": [52, 5], "Voltage": 235},
}
SWITCH = {
    "id": 0, "source": "MQTT", "output": True, "apower": 8.9, "voltage": 237.5,
    "aenergy": {"total": 6.532, "by_minute": [45.199, 47.141, 88.397], "minute_ts": 1626935779},
    "temperature": {"tC": 23.5, "tF": 74.4},
}  # fmt: skip
EMDATA = {
    "id": 0, "a_total_act_energy": 12345.67, "a_total_act_ret_energy": 6789.01, "b_total_act_energy": 0.0,
    "b_total_act_ret_energy": 0.0, "c_total_act_energy": 0.0, "c_total_act_ret_energy": 0.0,
    "total_act": 12345.67, "total_act_ret": 6789.01,
}  # fmt: skip
NOTIFIED = {
    "src": "shellyplus1pm-a8032ab12345", "dst": "shellyplus1pm-a8032ab12345/events", "method": "NotifyStatus",
    "params": {"ts": 1763704800.13, "switch:0": {"id": 0, "aenergy": {"by_minute": [0.0], "total": 11.5}}},
}  # fmt: skip
GLOW = {
    "electricitymeter": {
        "timestamp": "2022-06-24T13:02:29Z",
        "energy": {
            "export": {"cumulative": 0, "units": "kWh"},
            "import": {
                "cumulative": 4595.563, "day": 10.464, "week": 85.675, "month": 512.937, "units": "kWh",
                "mpan": "***********", "supplier": "Octopus Energy",
                "price": {"unitrate": 0.3, "standingcharge": 0.4457},
            },
        },
        "power": {"value": 0.623, "units": "kW"},
    }
}  # fmt: skip
GLOW_GAS = {
    "gasmeter": {
        "timestamp": "2022-06-24T13:13:30Z",
        "energy": {"import": {"cumulative": 6728.026, "day": 0, "units": "kWh", "mprn": "EMPTY"}},
        "power": {"value": 0, "units": "kW"},
    }
}
TELEGRAM = {
    "id": 7, "timestamp": "2017-06-13T15:28:38Z", "electricity_delivered_1": "1234.567",
    "electricity_returned_1": "0.000", "electricity_delivered_2": "2345.678", "electricity_returned_2": "0.001",
    "electricity_currently_delivered": "0.196", "extra_device_timestamp": None, "extra_device_delivered": None,
}  # fmt: skip
METER = {"FeatureType": "EnergyMeter", "Power": -120, "EnergyIn": 7200, "EnergyOut": 3600}
LEAP_STAMPS = [f"2024-01-{day:02d} 00:00:00" for day in range(1, 4)]
WATTWISE = {"email": "a@b.gr", "datetime": "2024-07-01 01:00:00", "consumption_kwh": 0.512}


CASES = [
    pytest.param(
        "system_000",
        "energy/aggregate/consumption",
        [1.5, 2],
        [at("household1.consumption", 1.5), at("household2.consumption", 2.0)],
        id="000, a bare array at arrival",
    ),
    pytest.param(
        "system_000", "energy/aggregate/consumption", [], [(None, AT, None, "empty_list")], id="000, an empty array"
    ),
    pytest.param(
        "system_000",
        "energy/household1/production",
        {"timestamps": ["2024-01-01 00:00:00", "2024-07-01 00:00:00.5"], "production": [3.0, 4.0]},
        [
            ("s.member1.production", "12-31 23:00:00", 3.0, None),
            ("s.member1.production", "06-30 22:00:00", 4.0, None),
        ],
        id="000, naive local times",
    ),
    pytest.param(
        "system_000",
        "energy/aggregate/consumption_history",
        {"timestamps": LEAP_STAMPS, "consumption": [1.0, 2.0]},
        [
            ("s.aggregate.consumption", "12-31 23:00:00", 1.0, None),
            ("s.aggregate.consumption", "01-01 23:00:00", 2.0, None),
        ],
        id="000, one stamp more than values",
    ),
    pytest.param(
        "system_000",
        "energy/household1/consumption",
        {"forecast": [1.0]},
        [IGNORED],
        id="000, a forecast on the topic of readings",
    ),
    pytest.param("system_000", "energy/price", "0.2", [IGNORED], id="000, a price"),
    pytest.param("system_000", "price", "4.1", [IGNORED], id="000, the price as the stored code sends it"),
    pytest.param("system_000", "energy/other", "4.1", [(None, None, None, "no_mapping")], id="000, another topic"),
    pytest.param(
        "system_001",
        "energy_consumption_redis",
        {"building_id": 7, "timestamp": "2016-09-02T00:00:00", "meter_reading": 88.5},
        [("s.7.electricity", "09-02 00:00:00", 88.5, None)],
        id="001",
    ),
    pytest.param(
        "system_001",
        "energy_consumption_postgre",
        {"timestamp": "2016-09-02T00:00:00", "meter_reading": 88.5},
        [(None, "09-02 00:00:00", 88.5, "missing_id")],
        id="001, of no building",
    ),
    pytest.param("system_001", "trento", {"7": 265.5}, [IGNORED], id="001, a prediction by area"),
    pytest.param(
        "system_001",
        "anything",
        {"building_id": 7, "timestamp": "2016-09-02T00:00:00", "meter_reading": 1},
        [(None, None, None, "no_mapping")],
        id="001 claims no other topic",
    ),
    pytest.param(
        "system_002",
        "hack/shellyem3-C8C9A3705CFC/TotalActivePower",
        METER,
        [at("shellyem3-C8C9A3705CFC.electricity", 7200.0)],
        id="002, a counter in Ws",
    ),
    pytest.param(
        "system_002",
        "hack/SMA_0174.3017198275/TotalActivePower",
        METER,
        [at("house.grid_export", 7200.0), at("house.grid_import", 3600.0)],
        id="002, at the house connection EnergyIn is exported",
    ),
    pytest.param(
        "system_002",
        "hack/SMA_017A.3017445303/TotalActivePower",
        METER | {"Power": 2500},
        [at("inverter_001.production", 2500.0)],
        id="002, an inverter",
    ),
    pytest.param(
        "system_002",
        "hack/SMA_01B8.3015653785/Battery",
        {"FeatureType": "Battery", "Soc": 55, "Power": -800},
        [at("inverter_002_battery.charge", 0.0), at("inverter_002_battery.discharge", 800.0)],
        id="002, a battery that gives",
    ),
    pytest.param(
        "system_002",
        "hack/SMA_01B8.3015653785/String A",
        {"FeatureType": "PvString", "Current": 5100, "Voltage": 320000},
        [IGNORED],
        id="002, a string: a topic with a space",
    ),
    pytest.param(
        "system_002",
        "hack/SMA_01B8.3015653785/Battery",
        {"FeatureType": "PvString", "Power": 1},
        [(None, None, None, "no_rule_fits")],
        id="002, another kind on a topic",
    ),
    pytest.param(
        "system_003",
        "energy/meters/household_1",
        {
            "meterId": "household_1",
            "timestamp": "2026-11-21T07:00:02+01:00",
            "temperature": 9.1,
            "consumptionKwh": 1.25,
        },
        [("s.household_1.electricity", "11-21 06:00:02", 1.25, None)],
        id="003, offset kept",
    ),
    pytest.param(
        "system_004",
        "add/consumer/consumption",
        [WATTWISE, WATTWISE | {"consumption_kwh": None}],
        [("s.a@b.gr.electricity", "06-30 22:00:00", 0.512, None), (None, "06-30 22:00:00", None, "missing_value")],
        id="004, a list in Athens' time",
    ),
    pytest.param(
        "system_004", "add/consumer/consumption", [], [(None, None, None, "empty_list")], id="004, an empty list"
    ),
    pytest.param(
        "system_004", "add/consumer/consumption", WATTWISE, [(None, None, None, "not_a_list")], id="004, no list"
    ),
    pytest.param("system_004", "add/consumer/forecasting", [WATTWISE], [IGNORED], id="004, what it calls a forecast"),
    pytest.param(
        "tasmota",
        "tele/sonoff_desk/SENSOR",
        SONOFF,
        [("s.sonoff_desk.1", "05-19 20:52:56", 514.153, None)],
        id="Tasmota",
    ),
    pytest.param(
        "tasmota",
        "tele/dual/SENSOR",
        DUAL,
        [("s.dual.1", "09-18 11:19:21", 2.813, None), ("s.dual.2", "09-18 11:19:21", 0.254, None)],
        id="Tasmota, two channels",
    ),
    pytest.param(
        "tasmota",
        "stat/plug/STATUS10",
        {"StatusSNS": SONOFF},
        [("s.plug.1", "05-19 20:52:56", 514.153, None)],
        id="Tasmota, asked",
    ),
    pytest.param(
        "tasmota",
        "tele/dht/SENSOR",
        {"Time": "2023-05-19T20:52:56", "AM2301": {"Temperature": 21.0}},
        [IGNORED],
        id="Tasmota, no meter",
    ),
    pytest.param("tasmota", "tele/plug/LWT", "Online", [IGNORED], id="Tasmota, last will"),
    pytest.param(
        "shelly_gen1",
        "shellies/shellyem3-C8C9/emeter/0/total",
        "12345.6",
        [at("shellyem3-C8C9.0", 12345.6)],
        id="Shelly Gen1",
    ),
    pytest.param(
        "shelly_gen1",
        "shellies/shellyem3-C8C9/emeter/0/total_returned",
        "0.4",
        [at("shellyem3-C8C9.0_returned", 0.4)],
        id="Shelly Gen1, returned",
    ),
    pytest.param(
        "shelly_gen1",
        "shellies/shelly1pm-B1/relay/0/energy",
        "1200",
        [at("shelly1pm-B1.relay_0", 20.0)],
        id="Shelly Gen1, watt-minutes",
    ),
    pytest.param("shelly_gen1", "shellies/shellyem3-C8C9/emeter/0/power", "950.2", [IGNORED], id="Shelly Gen1, power"),
    pytest.param(
        "shelly_gen2",
        "shellyplus1pm-a8/status/switch:0",
        SWITCH,
        [at("shellyplus1pm-a8.switch_0", 6.532)],
        id="Shelly Gen2, a switch",
    ),
    pytest.param(
        "shelly_gen2",
        "shellyplus1pm-a8/status/switch:0",
        {"id": 0, "output": False},
        [IGNORED],
        id="Shelly Gen2, a switch without meter",
    ),
    pytest.param(
        "shelly_gen2",
        "shellypmmini/status/pm1:0",
        {"id": 0, "apower": 1.0, "aenergy": {"total": 5.5}, "ret_aenergy": {"total": 0.5}},
        [at("shellypmmini.pm1_0", 5.5), at("shellypmmini.pm1_0_returned", 0.5)],
        id="Shelly Gen2, a pure meter",
    ),
    pytest.param(
        "shelly_gen2",
        "shellypro3em-a0/status/emdata:0",
        EMDATA,
        [at("shellypro3em-a0.em_0_import", 12345.67), at("shellypro3em-a0.em_0_export", 6789.01)],
        id="Shelly Gen2, three phases",
    ),
    pytest.param(
        "shelly_gen2",
        "shellyproem50-a0/status/em1data:1",
        {"id": 1, "total_act_energy": 1264.15, "total_act_ret_energy": 144792.28},
        [at("shellyproem50-a0.em1_1_import", 1264.15), at("shellyproem50-a0.em1_1_export", 144792.28)],
        id="Shelly Gen2, one phase",
    ),
    pytest.param(
        "shelly_gen2",
        "shellypro3em-a0/status/em:0",
        {"id": 0, "a_act_power": 951.2, "total_act_power": 951.2},
        [IGNORED],
        id="Shelly Gen2, power of three phases",
    ),
    pytest.param(
        "shelly_gen2",
        "shellyplus1pm-a8/events/rpc",
        NOTIFIED,
        [("s.shellyplus1pm-a8.switch_0", AT, 11.5, None)],
        id="Shelly Gen2, notified",
    ),
    pytest.param(
        "shelly_gen2",
        "shellyplus1pm-a8/events/rpc",
        NOTIFIED | {"method": "NotifyEvent"},
        [IGNORED],
        id="Shelly Gen2, an event",
    ),
    pytest.param("shelly_gen2", "shellyplus1pm-a8/online", "true", [IGNORED], id="Shelly Gen2, online"),
    pytest.param(
        "home_assistant",
        "homeassistant/sensor/washer_energy/state",
        "12.34",
        [at("washer.electricity", 12.34)],
        id="Home Assistant",
    ),
    pytest.param(
        "home_assistant",
        "homeassistant/sensor/washer_energy/state",
        '"12.34"',
        [at("washer.electricity", 12.34)],
        id="Home Assistant, in quotes as its page says",
    ),
    pytest.param(
        "home_assistant",
        "homeassistant/sensor/washer_energy/state",
        '"unknown"',
        [IGNORED],
        id="Home Assistant, unknown in quotes",
    ),
    pytest.param(
        "home_assistant",
        "homeassistant/sensor/washer_energy/last_changed",
        "2017-10-01T23:20:30.920969+00:00",
        [IGNORED],
        id="Home Assistant, when it changed",
    ),
    pytest.param(
        "home_assistant",
        "homeassistant/sensor/washer_energy/state",
        "unavailable",
        [IGNORED],
        id="Home Assistant, unavailable",
    ),
    pytest.param(
        "home_assistant",
        "homeassistant/sensor/washer_energy/unit_of_measurement",
        '"kWh"',
        [IGNORED],
        id="Home Assistant, an attribute",
    ),
    pytest.param(
        "home_assistant",
        "homeassistant/sensor/plug/energy/config",
        {"unit_of_meas": "kWh", "stat_t": "x"},
        [IGNORED],
        id="Home Assistant, discovery",
    ),
    pytest.param(
        "dsmr_reader",
        "dsmr/reading/electricity_delivered_1",
        "1234.567",
        [at("house.grid_import_1", 1234.567)],
        id="DSMR-reader, split",
    ),
    pytest.param(
        "dsmr_reader",
        "dsmr/reading/extra_device_delivered",
        "956.212",
        [at("house.gas", 956.212)],
        id="DSMR-reader, gas",
    ),
    pytest.param("dsmr_reader", "dsmr/reading/extra_device_delivered", "None", [IGNORED], id="DSMR-reader, no gas"),
    pytest.param(
        "dsmr_reader",
        "dsmr/json",
        TELEGRAM,
        [
            ("s.house.grid_import_1", "06-13 15:28:38", 1234.567, None),
            ("s.house.grid_export_1", "06-13 15:28:38", 0.0, None),
            ("s.house.grid_import_2", "06-13 15:28:38", 2345.678, None),
            ("s.house.grid_export_2", "06-13 15:28:38", 0.001, None),
        ],
        id="DSMR-reader, a telegram",
    ),
    pytest.param(
        "dsmr_reader", "dsmr/reading/electricity_currently_delivered", "0.196", [IGNORED], id="DSMR-reader, power"
    ),
    pytest.param(
        "zigbee2mqtt",
        "zigbee2mqtt/plug",
        r'{"energy":"\u005b1]"}',
        [(None, AT, None, "unreadable_number")],
        id="Zigbee2MQTT, a bracket that is escaped",
    ),
    pytest.param(
        "zigbee2mqtt",
        "zigbee2mqtt/plug",
        {"current": 0.04, "energy": 1.29, "linkquality": 120, "power": 7, "state": "ON", "voltage": 231},
        [at("plug.electricity", 1.29)],
        id="Zigbee2MQTT",
    ),
    pytest.param(
        "zigbee2mqtt", "zigbee2mqtt/door", {"contact": True, "battery": 97}, [IGNORED], id="Zigbee2MQTT, no meter"
    ),
    pytest.param(
        "zigbee2mqtt",
        "zigbee2mqtt/kitchen/oven",
        {"energy": 3.5, "produced_energy": 0.25},
        [at("kitchen_oven.electricity", 3.5), at("kitchen_oven.returned", 0.25)],
        id="Zigbee2MQTT, a name with a slash",
    ),
    pytest.param(
        "zigbee2mqtt",
        "zigbee2mqtt/home/kitchen/oven",
        {"energy": 3.5},
        [at("home_kitchen_oven.electricity", 3.5)],
        id="Zigbee2MQTT, a name with two",
    ),
    pytest.param("zigbee2mqtt", "zigbee2mqtt/plug/availability", "online", [IGNORED], id="Zigbee2MQTT, availability"),
    pytest.param("zigbee2mqtt", "zigbee2mqtt/kitchen/oven/set", "ON", [IGNORED], id="Zigbee2MQTT, what is set"),
    pytest.param("zigbee2mqtt", "zigbee2mqtt/plug/set/state", "ON", [IGNORED], id="Zigbee2MQTT, one thing is set"),
    pytest.param("zigbee2mqtt", "zigbee2mqtt/bridge/state", "online", [IGNORED], id="Zigbee2MQTT, the bridge"),
    pytest.param("emoncms", "emon/emontx/P1", "105", [at("emontx.P1", 105.0)], id="emoncms, power"),
    pytest.param("emoncms", "emon/emonpi/power1", "-20", [at("emonpi.power1", 0.0)], id="emoncms, power the other way"),
    pytest.param("emoncms", "emon/emontx/E2", "12345", [at("emontx.E2", 12345.0)], id="emoncms, a counter"),
    pytest.param(
        "emoncms",
        "emon/emontx",
        {"P1": 105, "E1": 12345, "Vrms": 240.1, "time": 1763704800},
        [("s.emontx.P1", AT, 105.0, None), ("s.emontx.E1", AT, 12345.0, None)],
        id="emoncms, JSON with time",
    ),
    pytest.param("emoncms", "emon/emontx", {"P1": 105}, [at("emontx.P1", 105.0)], id="emoncms, JSON without"),
    pytest.param("emoncms", "emon/emontx/Vrms", "240.1", [IGNORED], id="emoncms, voltage"),
    pytest.param("emoncms", "emon/5", "100,200", [(None, AT, None, "not_json")], id="emoncms, CSV without a rule"),
    pytest.param(
        "glow",
        "glow/4C97A1000000/SENSOR/electricitymeter",
        GLOW,
        [
            ("s.4C97A1000000.grid_import", "06-24 13:02:29", 4595.563, None),
            ("s.4C97A1000000.grid_export", "06-24 13:02:29", 0.0, None),
        ],
        id="Glow",
    ),
    pytest.param(
        "glow",
        "glow/4C97A1000000/SENSOR/gasmeter",
        GLOW_GAS,
        [("s.4C97A1000000.gas", "06-24 13:13:30", 6728.026, None)],
        id="Glow, gas",
    ),
    pytest.param(
        "glow",
        "glow/4C97A1000000/SENSOR/gasmeter",
        json.loads(json.dumps(GLOW_GAS).replace("kWh", "m3")),
        [IGNORED],
        id="Glow, gas in m3",
    ),
    pytest.param("glow", "glow/4C97A1000000/STATE", {"software": "v1.8.12"}, [IGNORED], id="Glow, state"),
    pytest.param(
        "opendtu",
        "solar/116180400000/0/yieldtotal",
        "1234.567",
        [at("116180400000.production", 1234.567)],
        id="OpenDTU",
    ),
    pytest.param("opendtu", "solar/116180400000/0/yieldday", "512", [IGNORED], id="OpenDTU, the day"),
    pytest.param("opendtu", "solar/ac/yieldtotal", "2345.6", [IGNORED], id="OpenDTU, the sum"),
    pytest.param("opendtu", "solar/dtu/status", "online", [IGNORED], id="OpenDTU, status"),
    pytest.param(
        "esphome", "meter/sensor/total_energy/state", "None", [IGNORED], id="ESPHome, no value by publish_nan_as_none"
    ),
    pytest.param("esphome", "esphome/discover/meter", {"name": "meter"}, [IGNORED], id="ESPHome, discovery"),
    pytest.param(
        "esphome",
        "p1/sensor/energy_delivered_tariff1/state",
        "1234.567",
        [at("p1.grid_import_1", 1234.567)],
        id="ESPHome, DSMR",
    ),
    pytest.param(
        "esphome",
        "plug/sensor/total_daily_energy/state",
        "1.25",
        [at("plug.total_daily_energy", 1.25)],
        id="ESPHome",
    ),
    pytest.param("esphome", "plug/sensor/total_daily_energy/state", "nan", [IGNORED], id="ESPHome, not known yet"),
    pytest.param("esphome", "plug/sensor/wifi_signal/state", "-61", [IGNORED], id="ESPHome, another sensor"),
]


@pytest.mark.parametrize(("mapping", "topic", "payload", "expected"), CASES)
def test_what_built_in_mappings_make_of_real_payloads(
    tmp_path: Path, mapping: str, topic: str, payload: object, expected: list[Row]
) -> None:
    assert judged(tmp_path, mapping, (topic, payload))[0] == expected


def test_a_history_that_is_sent_whole_again_and_again_is_stored_once(tmp_path: Path) -> None:
    """System 000 sends all it knows every five seconds: days first, then values five seconds apart."""
    stamps = [f"2023-{month:02d}-{day:02d} 00:00:00" for month in range(1, 13) for day in range(1, 29)]
    stamps += [f"2023-12-28 00:00:{second:02d}" for second in range(5, 60, 5)]
    whole = [
        ("energy/household1/consumption", {"timestamps": stamps[:length], "consumption": list(range(length))})
        for length in range(len(stamps) - 10, len(stamps) + 1)
    ]
    _, counts = judged(tmp_path, "system_000", *whole)
    assert counts.stored == len(stamps)
    assert counts.duplicate == sum(range(len(stamps) - 10, len(stamps) + 1)) - len(stamps)
    assert (counts.quarantined, counts.ignored) == (0, 0)


def test_a_year_of_367_stamps_refuses_nothing(tmp_path: Path) -> None:
    payload = {
        "timestamps": [f"2024-01-01 00:{n // 60:02d}:{n % 60:02d}" for n in range(367)],
        "production": [1.0] * 366,
    }
    _, counts = judged(tmp_path, "system_000", ("energy/aggregate/production_history", payload))
    assert (counts.stored, counts.quarantined) == (366, 0)
