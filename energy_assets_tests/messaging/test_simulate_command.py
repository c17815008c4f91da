"""`energy simulate` and `energy account` as processes: what the ledger calls acknowledged is in the lake."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from energy_assets.lake import Lake
from energy_assets.message_landing import land_segments
from energy_assets.messaging.ledger_file import read_ledger
from energy_assets.messaging.payloads import mapping_file
from energy_assets.readings.source import Source
from energy_assets.settings import Settings
from energy_assets_tests.messaging.embedded import Embedded
from energy_assets_tests.messaging.recording import COMMAND, RecorderProcess

METERS, ROUNDS = 40, 250


def test_what_simulated_meters_were_acknowledged_is_in_the_lake_though_the_broker_was_killed(tmp_path: Path) -> None:
    ledger, spool = tmp_path / "ledger.parquet", tmp_path / "spool"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENERGY_ASSETS")}
    environment["ENERGY_ASSETS_HOME"] = str(tmp_path)
    faults = [f"--fault={each}=0.02" for each in ("drop", "duplicate", "late", "reorder", "garbage", "reset", "skew")]
    size = ["--meters", str(METERS), "--rounds", str(ROUNDS), "--start", "2026-03-14", "--interval", "900"]
    with (
        Embedded(tmp_path / "broker") as broker,
        RecorderProcess(spool, broker.port, arguments=("--seal-after", "0.5"), version="3.1.1") as recorder,
    ):
        recorder.await_recording()
        environment |= {"ENERGY_ASSETS_MQTT_BROKER": str(broker.endpoint), "ENERGY_ASSETS_MQTT_VERSION": "3.1.1"}
        command = [COMMAND, "simulate", *size, "--as-fast", *faults, "--ledger", str(ledger)]
        sending = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        recorder.await_health(lambda health: health.counters.stored > 0, within_s=30)
        broker.stop(signal.SIGKILL)
        broker.start()
        told = " ".join(sending.communicate(timeout=60)[0].split())
        sent = int(read_ledger(ledger)["copies"].sum())
        assert f"{sent:,} messages of {METERS} meters" in told
        assert f"{sent:,} acknowledged" in told
        lake = Lake.from_settings(Settings(home=tmp_path))
        source = Source(name="live", kind="mqtt", path=spool, mapping=mapping_file(Path("system_003")))
        ends_at = time.monotonic() + 30  # what was under way at the kill comes again after the broker's 3 s
        while True:
            land_segments(lake, source, now=datetime.now(UTC))
            account = [COMMAND, "account", str(ledger), "--source", "live"]
            done = subprocess.run(account, env=environment, capture_output=True, text=True, check=False)
            if done.returncode == 0 or time.monotonic() > ends_at:
                break
            time.sleep(0.5)
    assert done.returncode == 0, done.stdout
    counts = {name: int(count.replace(",", "")) for name, count in map(str.split, done.stdout.splitlines())}
    assert counts["made"] == METERS * ROUNDS
    assert counts["sent"] == sent
    assert (counts["lost"], counts["extra"]) == (0, 0)
    assert counts["stored"] == counts["readings"] > 0.9 * METERS * ROUNDS
