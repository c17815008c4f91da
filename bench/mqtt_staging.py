"""How fast messages become rows: `python bench/mqtt.py staging [--messages N]`.

Two spools are written: typed (system 003) and mixed (built-in formats in turn; some messages give several rows, some
are ignored). Each is read in interleaved rounds by two peers and by us: a bare scan, which is DuckDB parsing the lines
of the segments and counting their payloads; for the typed ones a statement by hand, which reads meter, time and value
into a table without repeats, and neither refuses nor accounts for anything; the staging (parse, match, judge, find
repeats, account); and a whole landing in a lake. Printed are rows a second, the ratio to the limit, and the ratios of
time to the peers, by wall clock and by processor time, since the machine may be busy: rows a second of two cores is
what two idle ones would give.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from energy_assets.lake import Lake
from energy_assets.message_landing import land_segments
from energy_assets.messaging import staging
from energy_assets.messaging.payloads import BUILT_IN, load_payload_mapping
from energy_assets.messaging.segments import Record, SegmentWriter, record_line, seal, sealed_segments
from energy_assets.readings.source import Source

START = datetime(2026, 11, 21, 6, tzinfo=UTC)
METERS = 10_000
PER_SEGMENT, PER_FRAME = 250_000, 500
WANTED = {"typed": 1_000_000, "mixed": 400_000}
THREADS = 2


def typed(messages: int) -> Iterator[tuple[str, bytes]]:
    chance = random.Random(1)
    for number in range(messages):
        meter = number % METERS
        at = (START + timedelta(seconds=2 * (number // METERS))).isoformat()
        yield (
            f"energy/meters/household_{meter}",
            b'{"meterId":"household_%d","timestamp":"%s","temperature":%.1f,"consumptionKwh":%.2f}'
            % (meter, at.encode(), chance.uniform(0, 30), chance.uniform(0.2, 2.5)),
        )


# One message of each format: topic and payload, with the device, its value and the time put in.
FORMATS = (
    ("tele/plug%(n)d/SENSOR", '{"Time":"%(t)s","ENERGY":{"Total":%(v).3f,"Yesterday":1.2,"Power":42}}'),
    ("shellies/shellyem3-%(n)d/emeter/0/total", "%(v).1f"),
    ("shellies/shellyem3-%(n)d/emeter/0/power", "%(v).1f"),
    ("shellypro3em-%(n)d/status/emdata:0", '{"id":0,"total_act":%(v).2f,"total_act_ret":%(v).1f}'),
    ("shellyplus1pm-%(n)d/status/switch:0", '{"id":0,"apower":8.9,"aenergy":{"total":%(v).3f}}'),
    ("homeassistant/sensor/washer%(n)d_energy/state", "%(v).2f"),
    ("zigbee2mqtt/plug%(n)d", '{"current":0.04,"energy":%(v).2f,"linkquality":120,"power":7}'),
    ("emon/emontx%(n)d", '{"P1":%(v).1f,"E1":%(v).0f,"Vrms":240.1,"time":%(u)d}'),
    (
        "glow/%(n)d/SENSOR/electricitymeter",
        '{"electricitymeter":{"timestamp":"%(t)sZ","energy":{"export":{"cumulative":0,"units":"kWh"},'
        '"import":{"cumulative":%(v).3f,"day":10.464,"units":"kWh"}},"power":{"value":0.623,"units":"kW"}}}',
    ),
    ("solar/%(n)d/0/yieldtotal", "%(v).3f"),
    ("plug%(n)d/sensor/total_energy/state", "%(v).3f"),
    ("energy/meters/household_%(n)d", '{"timestamp":"%(t)s+00:00","consumptionKwh":%(v).2f}'),
    ("add/consumer/consumption", '[{"email":"%(n)d@b.gr","datetime":"%(t)s","consumption_kwh":%(v).3f}]'),
    ("energy/aggregate/consumption", "[%(v).1f,%(v).2f,%(v).3f]"),
)


def mixed(messages: int) -> Iterator[tuple[str, bytes]]:
    """Formats in turn; each device counts up, so that few of its messages are equal."""
    chance = random.Random(2)
    for number in range(messages):
        topic, payload = FORMATS[number % len(FORMATS)]
        at = START + timedelta(seconds=number // 1000)
        filled = {
            "n": number // len(FORMATS) % 500,
            "v": number / 10 + chance.random(),
            "t": at.strftime("%Y-%m-%dT%H:%M:%S"),
            "u": at.timestamp(),
        }
        yield topic % filled, (payload % filled).encode()


def write_spool(folder: Path, messages: Iterator[tuple[str, bytes]]) -> None:
    folder.mkdir()
    writer: SegmentWriter | None = None
    lines: list[str] = []

    def flush() -> None:
        if writer is not None and lines:
            writer.append("".join(lines).encode(), records=len(lines))
            lines.clear()

    for number, (topic, payload) in enumerate(messages):
        if number % PER_SEGMENT == 0:
            flush()
            if writer is not None:
                writer.close()
                seal(writer.path)
            writer = SegmentWriter(folder, client="bench", first_sequence=number, now=START + timedelta(seconds=number))
        at = START + timedelta(microseconds=100 * number)
        lines.append(
            record_line(
                Record(number, at, topic, payload, 1, retained=False, duplicate=False, packet_id=number % 65_535 + 1)
            )
        )
        if len(lines) == PER_FRAME:
            flush()
    flush()
    assert writer is not None
    writer.close()
    seal(writer.path)


def _connected() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": THREADS, "preserve_insertion_order": False})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _bare(spool: Path, _: str) -> int:
    with _connected() as connection:
        found = connection.execute(
            "SELECT count(topic), count(payload) FROM read_json($files, format = 'newline_delimited', "
            "columns = {topic: 'VARCHAR', payload: 'VARCHAR'})",
            {"files": [str(each.path) for each in sealed_segments(spool)]},
        ).fetchone()
    assert found is not None
    return int(found[0])


def _by_hand(spool: Path, _: str) -> int:
    with _connected() as connection:
        connection.execute(
            "CREATE TEMP TABLE readings AS SELECT DISTINCT topic AS meter, "
            "try_cast(payload ->> '$.timestamp' AS TIMESTAMPTZ) AS at_utc, "
            "try_cast(payload ->> '$.consumptionKwh' AS DOUBLE) AS kw, max(arrived_at_utc) AS arrived_at_utc "
            "FROM read_json($files, format = 'newline_delimited', columns = {topic: 'VARCHAR', payload: 'VARCHAR', "
            "arrived_at_utc: 'TIMESTAMPTZ'}) GROUP BY ALL",
            {"files": [str(each.path) for each in sealed_segments(spool)]},
        )
        found = connection.execute("SELECT count(*) FROM readings").fetchone()
    assert found is not None
    return int(found[0])


def _staged(spool: Path, mapping: str) -> int:
    loaded = load_payload_mapping(Path(mapping))
    with _connected() as connection:
        batches = [staging.Batch.of_segment(each) for each in sealed_segments(spool)]
        staging.begin(connection, batches)
        staging.add_segments(connection, batches)
        staging.judge(connection, loaded, source="bench")
        _, counts = staging.landings(connection, source="bench", now=START)
    return counts.rows_in


def _landed(spool: Path, mapping: str) -> int:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        lake = Lake(catalog=f"sqlite:{home}/catalog.sqlite", data_path=f"{home}/data", work_folder=Path(home) / "work")
        source = Source(name="bench", kind="mqtt", path=spool, mapping=Path(mapping))
        counts = land_segments(lake, source, now=START)
        lake.close()
    return counts.rows_in


def staging_speed(rounds: int, messages: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="bench-staging-", dir="/var/tmp") as name:
        folder = Path(name)
        (folder / "mixed.toml").write_text(
            f"include = {json.dumps(sorted(file.stem for file in BUILT_IN.glob('*.toml')))}\n"
        )
        mappings = {"typed": "system_003", "mixed": str(folder / "mixed.toml")}
        write_spool(folder / "typed", typed(messages))
        write_spool(folder / "mixed", mixed(messages // 2))
        ways = {"bare scan": _bare, "by hand": _by_hand, "staged": _staged, "landed": _landed}
        found: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
        for _ in range(rounds):
            for spool, mapping in mappings.items():
                for way, read in ways.items():
                    if (spool, way) == ("mixed", "by hand"):
                        continue
                    wall, cpu = time.monotonic(), time.process_time()
                    rows = read(folder / spool, mapping)
                    taken = (time.monotonic() - wall, time.process_time() - cpu, rows)
                    found.setdefault((spool, way), []).append(taken)
    print(
        f"{'':<18}{'rows':>10}{'rows/s':>11}{'x limit':>9}{'rows/s, 2 cores':>17}{'time x bare':>13}"
        f"{'CPU x bare':>12}{'x by hand':>11}   medians of {rounds}"
    )
    kept = True
    for (spool, way), taken in found.items():
        wall, cpu = _medians(taken)
        bare_wall, bare_cpu = _medians(found[spool, "bare scan"])
        rows = taken[0][2]
        limit = f"{rows / wall / WANTED[spool]:.2f}" if way == "staged" else ""
        hand = f"{cpu / _medians(found[spool, 'by hand'])[1]:.1f}" if (spool, "by hand") in found else ""
        print(
            f"{spool + ', ' + way:<18}{rows:>10,}{rows / wall:>11,.0f}{limit:>9}{THREADS * rows / cpu:>17,.0f}"
            f"{wall / bare_wall:>13.1f}{cpu / bare_cpu:>12.1f}{hand:>11}"
        )
        if way == "staged":
            kept = kept and rows / wall >= WANTED[spool]
    return kept


def _medians(taken: Sequence[tuple[float, float, int]]) -> tuple[float, float]:
    """Return seconds by the wall clock and of the processor."""
    return statistics.median(each[0] for each in taken), statistics.median(each[1] for each in taken)
