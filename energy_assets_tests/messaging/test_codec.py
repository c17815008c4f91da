"""MQTT packets: vectors by hand, and any way to cut a stream gives the same packets."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.messaging.codec import (
    PacketReader,
    ProtocolError,
    acknowledged_codes,
    connack,
    connect_packet,
    pubacks,
    server_keep_alive_s,
)
from energy_assets_tests.messaging.publishing import publish_packet


@pytest.mark.parametrize(
    ("version", "stream", "packets"),
    [
        pytest.param("3.1.1", b"\x30\x06\x00\x01tabc", [(0x30, b"t", b"", b"abc")], id="qos-0"),
        pytest.param("3.1.1", b"\x32\x06\x00\x01t\x01\x02x", [(0x32, b"t", b"\x01\x02", b"x")], id="qos-1"),
        pytest.param("3.1.1", b"\x3b\x05\x00\x01t\x01\x02", [(0x3B, b"t", b"\x01\x02", b"")], id="flags-empty-payload"),
        pytest.param("3.1.1", b"\x30\x02\x00\x00", [(0x30, b"", b"", b"")], id="nothing-at-all"),
        pytest.param("5", b"\x32\x07\x00\x01t\x00\x09\x00x", [(0x32, b"t", b"\x00\x09", b"x")], id="no-properties"),
        pytest.param(
            "5", b"\x32\x09\x00\x01t\x00\x09\x02\x01\x01x", [(0x32, b"t", b"\x00\x09", b"x")], id="properties-skipped"
        ),
        pytest.param(
            "3.1.1",
            b"\x30\x83\x01\x00\x01t" + b"y" * 128,
            [(0x30, b"t", b"", b"y" * 128)],
            id="length-of-two-bytes",  # 0x83 0x01 = 3 + 128
        ),
        pytest.param("3.1.1", b"\xd0\x00\x20\x01\x07", [(0xD0, b"", b"", b""), (0x20, b"", b"", b"\x07")], id="two"),
        pytest.param("3.1.1", b"\x30", [], id="one-byte"),
        pytest.param("3.1.1", b"\x30\x80", [], id="half-a-length"),
    ],
)
def test_packets_of_a_stream(version: str, stream: bytes, packets: list[object]) -> None:
    assert PacketReader(version=version).feed(stream) == packets  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "stream"),
    [
        pytest.param("3.1.1", b"\x30\x80\x80\x80\x80\x01", id="length-of-five-bytes"),
        pytest.param("3.1.1", b"\x30\x01\x00", id="no-room-for-a-topic-length"),
        pytest.param("3.1.1", b"\x30\x03\x00\x05t", id="topic-beyond-the-packet"),
        pytest.param("3.1.1", b"\x32\x03\x00\x01t", id="no-packet-identifier"),
        pytest.param("5", b"\x32\x05\x00\x01t\x00\x09", id="no-property-length"),
        pytest.param("5", b"\x32\x07\x00\x01t\x00\x09\x05x", id="properties-beyond-the-packet"),
        pytest.param("3.1.1", b"\x34\x06\x00\x01t\x01\x02x", id="qos-2"),
    ],
)
def test_contradictions_are_found(version: str, stream: bytes) -> None:
    with pytest.raises(ProtocolError):
        PacketReader(version=version).feed(stream)  # type: ignore[arg-type]


@given(
    messages=st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=300), st.booleans()), max_size=12),
    cuts=st.lists(st.integers(min_value=1, max_value=400), min_size=1, max_size=40),
)
@settings(max_examples=150, deadline=None)
def test_any_cut_gives_the_same_packets(messages: list[tuple[str, bytes, bool]], cuts: list[int]) -> None:
    stream = b"".join(
        publish_packet(topic, payload, packet_id=number + 1 if is_qos_1 else None)
        for number, (topic, payload, is_qos_1) in enumerate(messages)
    )
    whole = PacketReader(version="3.1.1").feed(stream)
    assert [(topic.decode(), payload) for _, topic, _, payload in whole] == [message[:2] for message in messages]
    reader, found, start = PacketReader(version="3.1.1"), [], 0
    for turn in range(len(stream) + 1):
        size = cuts[turn % len(cuts)]
        found += reader.feed(stream[start : start + size])
        start += size
        if start >= len(stream):
            break
    assert found == whole
    assert reader.held_bytes == 0


@given(stream=st.binary(max_size=60), version=st.sampled_from(["3.1.1", "5"]))
@settings(max_examples=500, deadline=None)
def test_garbage_is_packets_or_a_protocol_error_and_nothing_else(stream: bytes, version: str) -> None:
    with suppress(ProtocolError):
        for header, topic, packet_id, payload in PacketReader(version=version).feed(stream):  # type: ignore[arg-type]
            assert len(topic) + len(packet_id) + len(payload) <= len(stream) - 2
            assert header == stream[0] or header in stream
    with suppress(ProtocolError):
        connack(stream)
    with suppress(ProtocolError):
        acknowledged_codes(stream, version="5")
    with suppress(ProtocolError):
        assert server_keep_alive_s(stream) in {None, *range(65_536)}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        pytest.param(b"", None, id="none"),
        pytest.param(b"\x13\x00\x05", 5, id="alone"),
        # receive maximum 20, assigned client identifier "ab", user property "k" = "v", then 300 s
        pytest.param(b"\x21\x00\x14\x12\x00\x02ab\x26\x00\x01k\x00\x01v\x13\x01\x2c", 300, id="behind-others"),
        pytest.param(b"\x7f\x13\x00\x05", None, id="behind-an-unknown-one"),
        pytest.param(b"\x13\x00", None, id="cut-short"),
    ],
)
def test_keep_alive_that_the_broker_wants(properties: bytes, expected: int | None) -> None:
    assert server_keep_alive_s(b"\x00\x00" + bytes((len(properties),)) + properties) == expected


def test_codes_and_acknowledgements() -> None:
    assert connack(b"\x01\x00") == (True, 0)
    assert connack(b"\x00\x87\x00") == (False, 0x87)
    with pytest.raises(ProtocolError):
        connack(b"\x00")
    assert acknowledged_codes(b"\x00\x01\x01\x80", version="3.1.1") == (1, 0x80)
    assert acknowledged_codes(b"\x00\x01\x03\x1f\x00\x00\x01\x87", version="5") == (1, 0x87)
    assert pubacks([b"\x00\x07", b"\xff\xff"]) == b"\x40\x02\x00\x07\x40\x02\xff\xff"
    assert pubacks([]) == b""
    # flags: user name 0x80 and password 0x40
    assert connect_packet(
        version="3.1.1",
        client_id="é",
        keep_alive_s=60,
        user_name="u",
        password="p",
        session_expiry_s=0,
        receive_maximum=1,
    ) == (b"\x10\x14\x00\x04MQTT\x04\xc0\x00\x3c\x00\x02\xc3\xa9\x00\x01u\x00\x01p")
