"""How devices word what they measured: the payloads of the built-in mappings, written instead of read.

A format takes the state of one meter and gives its messages, with what a reader must make of each: that is what loss is
counted by. Values are rounded as the devices round them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, kw_only=True)
class State:
    """What a meter shows at an instant: its number, mean power since the message before, and its register."""

    number: int
    at: datetime
    power_kw: float
    register_kwh: float
    temperature_c: float = 15.0


@dataclass(frozen=True, kw_only=True)
class Worded:
    """A message, and the reading that is in it: the meter without its source, and the value in the message's unit.

    `at` is the device's own clock; None where the format has none and the arrival counts.
    """

    topic: str
    payload: bytes
    meter: str
    value: float
    at: datetime | None


Format = Callable[[State], list[Worded]]


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _system_003(state: State) -> list[Worded]:
    meter = f"household_{state.number}"
    value = round(state.power_kw, 2)
    at = state.at.astimezone(ZoneInfo("Europe/Rome")).replace(microsecond=0)
    content = {
        "meterId": meter,
        "timestamp": at.isoformat(),
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


FORMATS: Mapping[str, Format] = {
    "system_003": _system_003,
    "tasmota": _tasmota,
    "shelly_gen1": _shelly_gen1,
    "shelly_gen2": _shelly_gen2,
    "zigbee2mqtt": _zigbee2mqtt,
    "home_assistant": _home_assistant,
    "emoncms": _emoncms,
    "glow": _glow,
    "esphome": _esphome,
}
"""By the name of the built-in mapping that reads it."""
