"""From broker to readings: recorded, sealed, landed and counted exactly, redelivered duplicates included."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from energy_assets.contracts import METERS, READINGS_QUARANTINE, READINGS_RAW, READINGS_SEGMENTS
from energy_assets.errors import SourceError
from energy_assets.ingestion import land
from energy_assets.lake import Lake
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.health import health_path, read_health
from energy_assets.messaging.recorder import Recorder, RecorderOptions
from energy_assets.messaging.segments import segments
from energy_assets.readings.source import Source
from energy_assets_tests.messaging.brokers import Mosquitto, needs_mosquitto
from energy_assets_tests.messaging.publishing import Publisher
from energy_assets_tests.messaging.recording import stored_records

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
MESSAGES = 600


def message(number: int) -> tuple[str, bytes]:
    """Return a meter's message; the last hundred are the hundred before them again, and one has no value."""
    unique = number if number < MESSAGES - 100 else number - 100
    fields = {
        "meterId": f"household_{unique % 7}",
        "timestamp": f"2026-11-21T06:{unique // 60 % 60:02d}:{unique % 60:02d}+00:00",
        "consumptionKwh": None if number == 7 else 1.5,
        "number": unique,
    }
    return f"energy/meters/household_{unique % 7}", json.dumps(fields).encode()


def await_stored(spool: Path, messages: int) -> None:
    deadline = time.monotonic() + 20
    while len(stored_records(spool)) < messages and time.monotonic() < deadline:
        time.sleep(0.1)


def await_recording(spool: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(SourceError):
            if read_health(health_path(spool, "recorder")).state == "recording":
                return
        time.sleep(0.05)
    raise AssertionError("the recorder does not record within 10 s")


@needs_mosquitto
def test_what_was_published_is_counted_exactly(tmp_path: Path, lake: Lake) -> None:
    spool = tmp_path / "spool"
    with Mosquitto(tmp_path / "broker") as broker:
        recorder = Recorder(
            Endpoint(host="127.0.0.1", port=broker.port),
            RecorderOptions(client_id="recorder", filters=("#",), folder=spool),
        )
        thread = threading.Thread(target=recorder.run)
        thread.start()
        try:
            await_recording(spool)
            Publisher(broker.port, message=message).run(0, MESSAGES - 1)
            await_stored(spool, MESSAGES)
        finally:
            recorder.stop()
            thread.join(20)
    assert any(segment.is_sealed for segment in segments(spool))
    source = Source(name="pulse", kind="mqtt", path=spool, mapping=Path("system_003"))
    counts = land(lake, source, window=None, now=NOW)
    assert (counts.rows_in, counts.stored, counts.duplicate, counts.quarantined) == (MESSAGES, MESSAGES - 101, 100, 1)
    assert lake.read(READINGS_RAW).height == counts.stored
    assert lake.read(READINGS_QUARANTINE)["reason"].to_list() == ["missing_value"]
    assert lake.read(METERS).height == 7
    assert land(lake, source, window=None, now=NOW).rows_in == 0
    account = lake.read(READINGS_SEGMENTS)
    assert account["messages"].sum() == account["rows_in"].sum() == MESSAGES


def test_a_mapping_is_tried_on_samples() -> None:
    topic, payload = message(3)
    line = json.dumps({"topic": topic, "payload": payload.decode()})
    command = [str(Path(sys.executable).with_name("energy")), "mapping", "test", "system_003"]
    told = subprocess.run(command, input=line, capture_output=True, text=True, check=True).stdout
    assert "preview.household_3.electricity  2026-11-21 06:00:03Z  1.5 kW" in told
    assert "1 readings, 0 duplicate, 0 refused, 0 ignored" in told
