"""What is on a broker right now, line by line: time, topic, and the reading that a mapping finds in each message.

A plain subscriber with a session that ends with it: it takes nothing away from the recorder, and keeps nothing.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from energy_assets.errors import SourceError
from energy_assets.messaging import staging
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.payloads import BUILT_IN, PayloadMapping, load_payload_mapping
from energy_assets.sql import Query

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

_LOOKED_EVERY_S = 0.3
_MOST_AT_ONCE = 2_000
_SHOWN_CHARACTERS = 120
_READ = Query(
    text="SELECT line_number, meter_id, starts_at_utc, value, unit, measure, reason FROM temp.staged_rows "
    "JOIN temp.staged_rules USING (rule) WHERE gone IS NULL ORDER BY line_number, rule, position"
)


def watch(
    endpoint: Endpoint,
    *,
    filters: Sequence[str],
    version: str,
    mapping: str | None,
    is_over: Callable[[], bool],
) -> Iterator[str]:
    """Yield a line for each reading in each message, or for the message where no mapping reads it, until it is over.

    Raises:
        ConfigError: the mapping is wrong.
        SourceError: the broker cannot be reached.
    """
    decoder = mapping_of(mapping)
    arrived: queue.Queue[tuple[datetime, MQTTMessage]] = queue.Queue()
    client = _client_of(endpoint, version=version)
    client.on_connect = lambda connected, *_: connected.subscribe([(each, 1) for each in filters])
    client.on_message = lambda _client, _data, message: arrived.put((datetime.now(UTC), message))
    try:
        client.connect(endpoint.host, endpoint.port)
    except OSError as error:
        raise SourceError(
            f"{endpoint} cannot be reached: {error}. Name another by ENERGY_ASSETS_MQTT_BROKER."
        ) from error
    client.loop_start()
    try:
        while not is_over():
            messages = list(_taken(arrived))
            if messages:
                yield from lines_of(messages, decoder)
    finally:
        client.disconnect()
        client.loop_stop()


def mapping_of(name: str | None) -> PayloadMapping:
    """Return the mapping of a name or file, or the rules of all built-in ones together."""
    if name is not None:
        return load_payload_mapping(Path(name))
    known = [load_payload_mapping(path) for path in sorted(BUILT_IN.glob("*.toml"))]
    rules = tuple(rule.model_copy(update={"absent": "ignore"}) for each in known for rule in each.messages)
    return PayloadMapping(messages=rules, others="ignore")


def lines_of(messages: Sequence[tuple[datetime, MQTTMessage]], mapping: PayloadMapping) -> Iterator[str]:
    """Yield the lines of messages, in their order.

    Args:
        messages: when each arrived, and what it was.
        mapping: says what topics and payloads mean.
    """
    read: dict[int, list[str]] = {}
    for row in _readings(messages, mapping).iter_rows(named=True):
        read.setdefault(row["line_number"], []).append(_told(row))
    for number, (at, message) in enumerate(messages, start=1):
        kept = " (retained)" if message.retain else ""
        for told in read.get(number) or [_shortened(bytes(message.payload))]:
            yield f"{at:%H:%M:%S}  {message.topic}{kept}  {told}"


def _readings(messages: Sequence[tuple[datetime, MQTTMessage]], mapping: PayloadMapping) -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "batch": [0] * len(messages),
            "line_number": range(1, len(messages) + 1),
            "packet_id": [None] * len(messages),
            "arrived_at_utc": [at for at, _ in messages],
            "at_utc": [at for at, _ in messages],
            "retained": [bool(message.retain) for _, message in messages],
            "duplicate": [False] * len(messages),
            "topic": [message.topic for _, message in messages],
            "payload": [bytes(message.payload).decode("utf-8", errors="replace") for _, message in messages],
            "encoding": [None] * len(messages),
            "fault": [None] * len(messages),
        },
        schema_overrides=staging.FRAME_COLUMNS,
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        staging.begin(connection, [staging.Batch(batch_id="now", name="now")])
        staging.add_frame(connection, rows)
        staging.judge(connection, mapping, source="")
        return _READ.frame(connection)


def _told(row: Mapping[str, Any]) -> str:
    if row["reason"]:
        return f"refused: {row['reason']}"
    measured = f"{row['value']:g} {row['unit']} ({row['measure'].replace('_', ' ')})"
    return f"{row['meter_id'].lstrip('.')}  {measured}  of {row['starts_at_utc']:%Y-%m-%d %H:%M:%S}Z"


def _shortened(payload: bytes) -> str:
    text = payload.decode("utf-8", errors="backslashreplace").replace("\n", " ")
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} … {len(payload):,} bytes"


def _taken(arrived: queue.Queue[tuple[datetime, MQTTMessage]]) -> Iterator[tuple[datetime, MQTTMessage]]:
    try:
        yield arrived.get(timeout=_LOOKED_EVERY_S)
        for _ in range(_MOST_AT_ONCE):
            yield arrived.get_nowait()
    except queue.Empty:
        return


def _client_of(endpoint: Endpoint, *, version: str) -> Client:
    """Return a client that shows the endpoint's user, password and certificates; it is not connected yet.

    Raises:
        ConfigError: password or certificates cannot be read.
    """
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    if endpoint.user_name is not None:
        client.username_pw_set(endpoint.user_name, endpoint.password())
    context = endpoint.tls_context()
    if context is not None:
        client.tls_set_context(context)
    return client
