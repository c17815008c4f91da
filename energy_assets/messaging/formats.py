"""How devices word what they measured: the payloads of the built-in mappings, written instead of read.

A format takes the state of one meter and gives its messages, with what a reader must make of each: that is what loss is
counted by. Values are rounded as the devices round them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo


class State(NamedTuple):
    """What a meter shows at an instant: its number, power, what it used since its message before, and its register."""

    number: int
    at: datetime
    power_kw: float
    energy_kwh: float
    register_kwh: float
    temperature_c: float = 15.0


class Worded(NamedTuple):
    """A message, and the reading that is in it: the meter without its source, and the value in the message's unit.

    `at` is the device's own clock; None where the format has none and the arrival counts.
    """

    topic: str
    payload: bytes
    meter: str
    value: float
    at: datetime | None


Format = Callable[[State], list[Worded]]


_ENCODED = json.JSONEncoder(separators=(",", ":")).encode
_ROME = ZoneInfo("Europe/Rome")


def _json(content: object) -> bytes:
    return _ENCODED(content).encode()


@lru_cache(maxsize=512)  # a round's meters show the same instant, but for those whose clock is off
def _in_rome(at: datetime) -> tuple[datetime, str]:
    local = at.astimezone(_ROME).replace(microsecond=0)
    return local, local.isoformat()


def _system_003(state: State) -> list[Worded]:
    meter = f"household_{state.number}"
    value = round(state.power_kw, 2)
    at, timestamp = _in_rome(state.at)
    content = {
        "meterId": meter,
        "timestamp": timestamp,
        "temperature": round(state.temperature_c, 1),
        "consumptionKwh": value,
    }
    topic = f"energy/meters/{meter}"
    return [Worded(topic=topic, payload=_json(content), meter=f"{meter}.electricity", value=value, at=at)]


def _tasmota(state: State) -> list[Worded]:
    device = f"tasmota_{state.number:06X}"
    total = round(state.register_kwh, 3)
    at = state.at.replace(microsecond=0)
    watts = round(state.power_kw * 1000)
    energy = {
        "TotalStartTime": f"{at - timedelta(days=200):%Y-%m-%dT%H:%M:%S}",
        "Total": total,
        "Power": watts,
        "ApparentPower": round(watts * 1.04),
        "ReactivePower": round(watts * 0.28),
        "Factor": 0.96,
        "Voltage": 231,
        "Current": round(watts / 231, 3),
    }
    content = {"Time": f"{at:%Y-%m-%dT%H:%M:%S}", "ENERGY": energy}
    topic = f"tele/{device}/SENSOR"
    return [Worded(topic=topic, payload=_json(content), meter=f"{device}.1", value=total, at=at)]


def _shelly_gen1(state: State) -> list[Worded]:
    device = f"shellyem-{state.number:012X}"
    total = round(state.register_kwh * 1000, 1)
    topic = f"shellies/{device}/emeter/0/total"
    return [Worded(topic=topic, payload=str(total).encode(), meter=f"{device}.0", value=total, at=None)]


def _zigbee2mqtt(state: State) -> list[Worded]:
    device = f"plug_{state.number:05d}"
    total = round(state.register_kwh, 2)
    content = {"energy": total, "linkquality": 97, "power": round(state.power_kw * 1000, 1), "state": "ON"}
    topic = f"zigbee2mqtt/{device}"
    return [Worded(topic=topic, payload=_json(content), meter=f"{device}.electricity", value=total, at=None)]


def _home_assistant(state: State) -> list[Worded]:
    device = f"house_{state.number}"
    total = round(state.register_kwh, 2)
    topic = f"homeassistant/sensor/{device}_energy/state"
    return [Worded(topic=topic, payload=str(total).encode(), meter=f"{device}.electricity", value=total, at=None)]


def _shelly_gen2(state: State) -> list[Worded]:
    device = f"shellyplus1pm-{state.number:012x}"
    total = round(state.register_kwh * 1000, 3)
    watts = round(state.power_kw * 1000, 1)
    content = {
        "id": 0,
        "source": "init",
        "output": True,
        "apower": watts,
        "voltage": 231.4,
        "current": round(watts / 231.4, 3),
        "aenergy": {"total": total, "by_minute": [0.0, 0.0, 0.0], "minute_ts": int(state.at.timestamp()) // 60 * 60},
        "temperature": {"tC": 41.2, "tF": 106.2},
    }
    topic = f"{device}/status/switch:0"
    return [Worded(topic=topic, payload=_json(content), meter=f"{device}.switch_0", value=total, at=None)]


def _emoncms(state: State) -> list[Worded]:
    node = f"emonpi{state.number}"
    total = round(state.register_kwh * 1000)
    topic = f"emon/{node}/E1"
    return [Worded(topic=topic, payload=str(total).encode(), meter=f"{node}.E1", value=float(total), at=None)]


def _glow(state: State) -> list[Worded]:
    device = f"{state.number:012X}"
    at, total = state.at.replace(microsecond=0), round(state.register_kwh, 3)
    meter = {
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "energy": {
            "import": {"cumulative": total, "day": 0.0, "week": 0.0, "month": 0.0, "units": "kWh"},
        },
        "power": {"value": round(state.power_kw, 3), "units": "kW"},
    }
    topic = f"glow/{device}/SENSOR/electricitymeter"
    payload = _json({"electricitymeter": meter})
    return [Worded(topic=topic, payload=payload, meter=f"{device}.grid_import", value=total, at=at)]


def _esphome(state: State) -> list[Worded]:
    device = f"meter-{state.number}"
    total = round(state.register_kwh, 3)
    topic = f"{device}/sensor/energy/state"
    return [Worded(topic=topic, payload=f"{total:.3f}".encode(), meter=f"{device}.energy", value=total, at=None)]


def _system_000(state: State) -> list[Worded]:
    """Word the newest point alone; the system itself sends all that went before again with each."""
    value, at = round(state.energy_kwh, 4), state.at.replace(microsecond=0)
    local = at.astimezone(ZoneInfo("Europe/Rome"))
    content = {"timestamps": [f"{local:%Y-%m-%d %H:%M:%S}"], "consumption": [value]}
    topic = f"energy/household{state.number}/consumption"
    meter = f"member{state.number}.consumption"
    return [Worded(topic=topic, payload=_json(content), meter=meter, value=value, at=at)]


def _system_001(state: State) -> list[Worded]:
    value, at = round(state.energy_kwh, 4), state.at.replace(microsecond=0)
    content = {"building_id": state.number, "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}", "meter_reading": value}
    meter = f"{state.number}.electricity"
    return [Worded(topic="energy_consumption_redis", payload=_json(content), meter=meter, value=value, at=at)]


_METERS_OF_002 = ("shellyem3-C8C9A3705CFC", "shellyem3-E89F6D84968A", "SMA_015D.1901407994")


def _system_002(state: State) -> list[Worded]:
    device = _METERS_OF_002[state.number - 1]
    value = round(state.register_kwh * 3_600_000)
    content = {"FeatureType": "EnergyMeter", "Power": round(state.power_kw * 1000), "EnergyIn": value, "EnergyOut": 0}
    meter = f"{device.replace('.', '-')}.electricity"
    topic = f"hack/{device}/TotalActivePower"
    return [Worded(topic=topic, payload=_json(content), meter=meter, value=float(value), at=None)]


def _system_002_influx(state: State) -> list[Worded]:
    """Word the register as a point of the export, which `energy ingest influx` reads."""
    value = round(state.register_kwh, 4)
    topic = "influx/stromzaehler/zählername=Hausanschluss/counter"
    return [Worded(topic=topic, payload=str(value).encode(), meter="house.grid_import", value=value, at=None)]


def _system_004(state: State) -> list[Worded]:
    email = f"home_{state.number}@example.org"
    value, at = round(state.energy_kwh, 4), state.at.replace(microsecond=0)
    local = at.astimezone(ZoneInfo("Europe/Athens"))
    content = [{"email": email, "datetime": f"{local:%Y-%m-%d %H:%M:%S}", "consumption_kwh": value}]
    topic = "add/consumer/consumption"
    return [Worded(topic=topic, payload=_json(content), meter=f"{email}.electricity", value=value, at=at)]


_NIGHT_SHARE = 0.45


def _dsmr_reader(state: State) -> list[Worded]:
    """Word the registers of both tariffs, of which the first holds a fixed share."""
    said = []
    for tariff, share in ((1, _NIGHT_SHARE), (2, 1 - _NIGHT_SHARE)):
        value = round(state.register_kwh * share, 3)
        topic, meter = f"dsmr/reading/electricity_delivered_{tariff}", f"house.grid_import_{tariff}"
        said.append(Worded(topic=topic, payload=f"{value:.3f}".encode(), meter=meter, value=value, at=None))
    return said


def _opendtu(state: State) -> list[Worded]:
    serial = 116_180_000_000 + state.number
    value = round(state.register_kwh, 3)
    topic = f"solar/{serial}/0/yieldtotal"
    return [Worded(topic=topic, payload=f"{value:.3f}".encode(), meter=f"{serial}.production", value=value, at=None)]


FORMATS: Mapping[str, Format] = {
    "system_003": _system_003,
    "system_000": _system_000,
    "system_001": _system_001,
    "system_002": _system_002,
    "system_002_influx": _system_002_influx,
    "system_004": _system_004,
    "tasmota": _tasmota,
    "shelly_gen1": _shelly_gen1,
    "shelly_gen2": _shelly_gen2,
    "zigbee2mqtt": _zigbee2mqtt,
    "home_assistant": _home_assistant,
    "dsmr_reader": _dsmr_reader,
    "emoncms": _emoncms,
    "glow": _glow,
    "opendtu": _opendtu,
    "esphome": _esphome,
}
"""By the name of the built-in mapping that reads it: all of them."""

MOST_METERS: Mapping[str, int] = {"system_002": len(_METERS_OF_002), "system_002_influx": 1, "dsmr_reader": 1}
"""How many meters a format can tell apart, where its topics name those of one house."""
