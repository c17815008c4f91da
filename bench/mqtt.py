"""What the recorder takes and survives, on a real broker; the parts of `python bench/mqtt.py PART`:

`throughput`: messages a second that are durable and acknowledged, CPU per message and memory, interleaved in one run
with subscribers that store nothing: a bare socket that only acknowledges, `mosquitto_sub` where it is found, and paho,
which acknowledges on receipt; and paho with manual acknowledgement over the same spool. `latency`: from publishing to
durable at a steady 10,000 messages a second. `faults`: 150,000 messages at 15,000 a second through kills, restarts, a
full disk, a network cut, QoS 0 devices; what is lost of what was acknowledged to the publisher, and of the unique keys
in `readings.raw` (`--broker embedded`: on the broker of `energy up`). The control, which acknowledges on receipt, must
lose. `arrival`: from publishing to the row in the lake, by Dagster's daemon and its sensor. `staging`: segment to rows.
`sending`: `energy simulate` beside other publishers. Exit code 1 when something is lost or out of its limits.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.mqtt_faults import BROKERS, faults, peak_mb, scratch
from energy_assets.messaging.batch import Batch
from energy_assets.messaging.codec import PacketReader, connect_packet, pubacks, subscribe_packet
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.recorder import Recorder, RecorderOptions
from energy_assets.messaging.segments import read_segment, segments
from energy_assets.messaging.spool import SealRule, Spool
from energy_assets_tests.messaging.brokers import Mosquitto
from energy_assets_tests.messaging.publishing import Publisher

MESSAGES = 200_000
LATENCY_PER_S, LATENCY_S = 10_000, 10
LIMITS = {"throughput": 1.0, "cpu_us": 6.0, "p99_ms": 60.0}
FILTER = "energy/#"


# --- Subscribers, each in a process of its own: say "ready", take the messages, report -------------------------------


def _null(port: int, wanted: int, _: Path) -> int:
    """Acknowledge on receipt and keep nothing: as fast as the broker lets a Python process be."""
    connection = socket.create_connection(("127.0.0.1", port))
    options = {"keep_alive_s": 0, "user_name": None, "password": None, "session_expiry_s": 3600}
    connection.sendall(connect_packet(version="5", client_id="bench", receive_maximum=10_000, **options))
    connection.sendall(subscribe_packet(1, [FILTER], version="5"))
    reader, received = PacketReader(version="5"), 0
    while received < wanted:
        packets = reader.feed(connection.recv(1 << 18))
        packet_ids = [packet[2] for packet in packets if packet[0] >> 4 == 3]
        received += len(packet_ids)
        connection.sendall(pubacks(packet_ids))
        if any(packet[0] >> 4 == 9 for packet in packets):
            _ready()
    return received


def _paho(port: int, wanted: int, _: Path) -> int:
    """Count in on_message; paho acknowledges after that, before anything could be stored."""
    import paho.mqtt.client as paho

    count = [0]
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="bench", clean_session=False)

    def on_message(*_: object) -> None:
        count[0] += 1

    client.on_message = on_message
    client.on_subscribe = lambda *_: _ready()
    client.connect("127.0.0.1", port)
    client.subscribe(FILTER, qos=1)
    while count[0] < wanted:
        client.loop(timeout=1.0)
    return count[0]


def _paho_durable(port: int, wanted: int, folder: Path) -> int:
    """paho with manual acknowledgement over our spool: what the recorder would be without a codec of its own."""
    from datetime import UTC, datetime

    import paho.mqtt.client as paho

    spool = Spool(folder, client_id="bench", rule=SealRule(), monotonic=time.monotonic)
    spool.prepare(now=datetime.now(UTC))
    batch, identifiers, stored = Batch(), [], 0
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="bench", clean_session=False, manual_ack=True)

    def on_message(_: object, __: object, message: paho.MQTTMessage) -> None:
        packet = (0x32, message.topic.encode(), b"", message.payload)
        batch.extend(
            [packet],
            sequence=spool.next_sequence + len(batch),
            arrived_at_utc=datetime.now(UTC),
            arrived_s=time.monotonic(),
        )
        identifiers.append(message.mid)

    client.on_message = on_message
    client.on_subscribe = lambda *_: _ready()
    client.connect("127.0.0.1", port)
    client.subscribe(FILTER, qos=1)
    while stored < wanted:
        client.loop(timeout=0.001 if batch else 1.0)
        if len(batch) >= 500 or (batch and time.monotonic() - batch.first_arrival_s > 0.005):
            spool.append(batch.text(), records=len(batch), now=datetime.now(UTC))
            stored += len(batch)
            for identifier in identifiers:
                client.ack(identifier, 1)
            identifiers.clear()
            batch.clear()
    spool.close()
    return stored


def _recorder(port: int, wanted: int, folder: Path) -> int:
    """The recorder itself; the time of each durable batch goes to a file."""
    import gc

    gc.freeze()
    gc.set_threshold(200_000)
    options = RecorderOptions(client_id="bench", filters=(FILTER,), folder=folder, seal=SealRule(after_s=3600))
    recorder = Recorder(Endpoint(host="127.0.0.1", port=port), options)
    spool, append, times = recorder._spool, recorder._spool.append, []
    stored = [0]

    def timed(lines: bytes, **arguments: object) -> None:
        append(lines, **arguments)
        times.append((time.monotonic(), spool.next_sequence))
        stored[0] += arguments["records"]
        if stored[0] >= wanted:
            recorder.stop()

    spool.append = timed
    subscribed = recorder._reporter.subscribed

    def reported(*arguments: object, **others: object) -> None:
        subscribed(*arguments, **others)
        _ready()

    recorder._reporter.subscribed = reported
    recorder.run()
    (folder / "times.json").write_text(json.dumps(times))
    return stored[0]


ROLES: dict[str, Callable[[int, int, Path], int]] = {
    "null": _null,
    "paho": _paho,
    "paho-durable": _paho_durable,
    "recorder": _recorder,
}


def _ready() -> None:
    global ready_cpu_s  # noqa: PLW0603
    ready_cpu_s = time.process_time()
    print("ready", flush=True)


ready_cpu_s = 0.0


def _play(role: str, port: int, wanted: int, folder: Path) -> None:
    received = ROLES[role](port, wanted, folder)
    ended = time.monotonic()
    print(
        json.dumps(
            {
                "received": received,
                "ended_s": ended,
                "cpu_s": time.process_time() - ready_cpu_s,
                "rss_mb": peak_mb("self"),
            }
        ),
        flush=True,
    )


# --- Throughput -----------------------------------------------------------------------------------------------------


def _take(
    role: str, folder: Path, *, messages: int, per_s: float | None, inflight: int = 10_000
) -> tuple[dict[str, float], Publisher]:
    """Let one subscriber take messages; give its report with `per_s` from the first publish to its end."""
    with Mosquitto(folder / "broker", inflight=inflight, store=False) as broker:
        if role == "mosquitto_sub":
            command = ["mosquitto_sub", "-p", str(broker.port), "-i", "bench", "-c", "-q", "1", "-t", FILTER]
            command += ["-C", str(messages), "-V", "5", "-D", "connect", "receive-maximum", "10000"]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            time.sleep(0.5)
        else:
            command = [sys.executable, __file__, "child", role, str(broker.port), str(messages), str(folder)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            while (line := child.stdout.readline().strip()) != "ready":
                assert line or child.poll() is None, f"{role} ended"
        publisher = Publisher(broker.port, per_s=per_s)
        started = time.monotonic()
        publisher.run(0, messages - 1, within_s=120)
        if role == "mosquitto_sub":
            _, _, usage = _waited(child)
            report = {
                "ended_s": time.monotonic(),
                "cpu_s": usage.ru_utime + usage.ru_stime,
                "rss_mb": float("nan"),
            }
        else:
            report = json.loads(child.communicate(timeout=120)[0])
        return report | {"per_s": messages / (report["ended_s"] - started)}, publisher


def _waited(child: subprocess.Popen[bytes]) -> tuple[int, int, resource.struct_rusage]:
    import os

    found = os.wait4(child.pid, 0)
    child.returncode = 0
    return found


def throughput(rounds: int, messages: int, inflight: int) -> bool:
    roles = ["null", "recorder", "paho", "paho-durable"]
    if shutil.which("mosquitto_sub"):
        roles.insert(1, "mosquitto_sub")
    reports: dict[str, list[dict[str, float]]] = {role: [] for role in roles}
    for _ in range(rounds):
        for role in roles:
            with scratch() as folder:
                reports[role].append(_take(role, folder, messages=messages, per_s=None, inflight=inflight)[0])
    bare = "mosquitto_sub" if "mosquitto_sub" in reports else "null"
    base = statistics.median(report["per_s"] for report in reports[bare])
    print(f"{messages:,} messages, {rounds} rounds interleaved, medians; ratio to {bare}")
    print(f"{'':<14}{'msg/s':>10}{'ratio':>8}{'CPU us/msg':>12}{'RSS MB':>9}")
    found = {}
    for role in roles:
        per_s, cpu_us, rss_mb = (
            statistics.median(values)
            for values in (
                [report["per_s"] for report in reports[role]],
                [report["cpu_s"] / messages * 1e6 for report in reports[role]],
                [report["rss_mb"] for report in reports[role]],
            )
        )
        found[role] = (per_s / base, cpu_us)
        print(f"{role:<14}{per_s:>10,.0f}{per_s / base:>8.2f}{cpu_us:>12.1f}{rss_mb:>9.0f}")
    ratio, cpu_us = found["recorder"]
    return ratio >= LIMITS["throughput"] and cpu_us <= LIMITS["cpu_us"]


def latency() -> bool:
    """From the publisher's send to the end of fdatasync, by the machine's one monotonic clock."""
    with scratch() as folder:
        report, publisher = _take("recorder", folder, messages=LATENCY_PER_S * LATENCY_S, per_s=LATENCY_PER_S)
        durable = iter(json.loads((folder / "times.json").read_text()))
        at_s, before, lags = 0.0, -1, []
        for segment in segments(folder):
            for record in read_segment(segment.path):
                while record.sequence >= before:
                    at_s, before = next(durable)
                lags.append((at_s - publisher.sent_at_s[json.loads(record.payload)["number"]]) * 1000)
        batches = len(json.loads((folder / "times.json").read_text()))
    p50, p99 = (statistics.quantiles(lags, n=100)[place] for place in (49, 98))
    print(
        f"publish to durable at {report['per_s']:,.0f} msg/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"max {max(lags):.1f} ms; "
        f"{len(lags) / batches:.0f} messages a batch, CPU {report['cpu_s'] / len(lags) * 1e6:.1f} us/msg, "
        f"RSS {report['rss_mb']:.0f} MB"
    )
    return p99 <= LIMITS["p99_ms"]


def main() -> int:
    if sys.argv[1:2] == ["child"]:
        _, _, role, port, wanted, folder = sys.argv
        _play(role, int(port), int(wanted), Path(folder))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["throughput", "latency", "faults", "arrival", "sending", "staging"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inflight", type=int, default=10_000, help="Mosquitto's max_inflight_messages")
    parser.add_argument("--broker", choices=list(BROKERS), default="mosquitto", help="of faults and sending")
    parser.add_argument("--messages", type=int, help="default: 200,000; staging: 1,000,000")
    arguments = parser.parse_args()
    if arguments.part == "throughput":
        return 0 if throughput(arguments.rounds, arguments.messages or MESSAGES, arguments.inflight) else 1
    if arguments.part == "staging":
        from bench.mqtt_staging import staging_speed

        return 0 if staging_speed(arguments.rounds, arguments.messages or 1_000_000) else 1
    if arguments.part == "sending":
        from bench.mqtt_sending import METERS, ROUNDS, sending

        messages = arguments.messages or METERS * ROUNDS
        return 0 if sending(arguments.rounds, messages, of=arguments.broker) else 1
    if arguments.part == "arrival":
        from bench.mqtt_arrival import arrival

        return 0 if arrival() else 1
    return 0 if (latency() if arguments.part == "latency" else faults(arguments.broker)) else 1


if __name__ == "__main__":
    sys.exit(main())
