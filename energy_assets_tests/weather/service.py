"""A local server that answers as Open-Meteo's documentation says, and misbehaves on demand."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

UNITS = {
    "temperature_2m": "°C",
    "dew_point_2m": "°C",
    "relative_humidity_2m": "%",
    "wind_speed_10m": "m/s",
    "wind_direction_10m": "°",
    "cloud_cover": "%",
    "precipitation": "mm",
    "pressure_msl": "hPa",
    "shortwave_radiation": "W/m²",
    "direct_normal_irradiance": "W/m²",
    "diffuse_radiation": "W/m²",
}
REFUSALS = {
    "busy": (429, "Minutely API request limit exceeded. Please try again in one minute."),
    "down": (503, "maintenance"),
    "refused": (400, "Latitude must be in range of -90 to 90."),
}


def value_of(name: str, moment: datetime) -> float:
    """What the service says: temperature tells the hour, and what was said days ahead is warmer by the days."""
    variable, _, lead = name.partition("_previous_day")
    hours = moment.timestamp() / 3600
    plain = {
        "temperature_2m": 10 + 5 * math.sin((moment.hour - 9) / 24 * 2 * math.pi),
        "dew_point_2m": 4.0,
        "relative_humidity_2m": 50.0,
        "wind_speed_10m": 3.0,
        "wind_direction_10m": 270.0,
        "cloud_cover": 25.0,
        "precipitation": hours % 5,
        "pressure_msl": 1013.0,
        "shortwave_radiation": float(moment.hour * 10),
        "direct_normal_irradiance": 1.0,
        "diffuse_radiation": 2.0,
    }[variable]
    return plain + int(lead or 0)


class Service:
    """What was asked, and how the next answers shall be: `faults` are taken one a request, then all is well."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.faults: list[str] = []
        self.now = datetime(2026, 3, 20, 2, tzinfo=UTC)

    def answer(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        names = query["hourly"].split(",")
        if "start_date" in query:
            first, last = date.fromisoformat(query["start_date"]), date.fromisoformat(query["end_date"])
        else:
            first = self.now.date()
            last = first + timedelta(days=int(query["forecast_days"]) - 1)
        start = datetime(first.year, first.month, first.day, tzinfo=UTC)
        moments = [start + timedelta(hours=hour) for hour in range(24 * ((last - first).days + 1))]
        hourly: dict[str, list[Any]] = {"time": [int(moment.timestamp()) for moment in moments]}
        hourly |= {name: [value_of(name, moment) for moment in moments] for name in names}
        return {
            "latitude": float(query["latitude"]),
            "longitude": float(query["longitude"]),
            "generationtime_ms": 0.2,
            "utc_offset_seconds": 0,
            "timezone": "GMT",
            "elevation": 38.0,
            "hourly_units": {"time": "unixtime"} | {name: UNITS[name.partition("_previous")[0]] for name in names},
            "hourly": hourly,
        }


@contextmanager
def running() -> Iterator[Service]:
    """Serve on a free local port."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            service.asked.append((parts.path, query))
            fault = service.faults.pop(0) if service.faults else ""
            if fault in REFUSALS:
                status, reason = REFUSALS[fault]
                return self._send(status, {"error": True, "reason": reason}, {"Retry-After": "0"})
            if fault == "slow":
                time.sleep(0.3)
            content = service.answer(parts.path, query)
            if fault == "truncated":
                return self._write(200, json.dumps(content).encode()[:200], {})
            return self._send(200, spoilt(content, fault))

        def _send(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
            self._write(status, json.dumps(content).encode(), headers or {})

        def _write(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def spoilt(content: dict[str, Any], fault: str) -> dict[str, Any]:
    """An answer with one kind of nonsense in it."""
    hourly = content["hourly"]
    temperature = next(name for name in hourly if name.startswith("temperature"))
    if fault == "short":
        hourly[temperature] = hourly[temperature][:-3]
    if fault == "fahrenheit":
        content["hourly_units"][temperature] = "°F"
    if fault == "absurd":
        hourly[temperature][5] = 4000.0
    if fault == "nulls":
        hourly[temperature][3] = None
    if fault == "gappy":
        hourly["time"][4] += 1800
    if fault == "nothing":
        content["hourly"] = {
            name: values if name == "time" else [None] * len(values) for name, values in hourly.items()
        }
    if fault == "unitless":
        content["hourly_units"] = {}
    if fault in ("true", "word"):
        hourly[temperature][2] = {"true": True, "word": "mild"}[fault]
    if fault == "empty":
        del content["hourly"]
    return content
