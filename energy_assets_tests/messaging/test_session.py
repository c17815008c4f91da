"""Sessions against a broker that follows a script: what comes in one TCP segment, refusals, silence, takeovers."""

from __future__ import annotations

import time

import pytest

from energy_assets.messaging.session import ConnectionLostError, RefusedError
from energy_assets_tests.messaging.scripted import (
    CONNACK_NEW,
    CONNACK_RESUMED,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    SUBSCRIBE,
    UNSUBSCRIBE,
    ScriptedBroker,
    opened_session,
    publish,
    received_until,
    suback,
)

VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


@VERSIONS
def test_connack_and_redelivered_publish_share_a_tcp_segment(version: str) -> None:
    with ScriptedBroker(version) as broker:
        session, _ = opened_session(broker)
        broker.send(
            CONNACK_RESUMED[version]
            + publish(7, b"first", version=version, header=0x3A)
            + publish(8, b"second", version=version, header=0x3A)
        )
        found = received_until(session, lambda packets: len(packets) == 2)
        assert found == [(0x3A, b"a/b", b"\x00\x07", b"first"), (0x3A, b"a/b", b"\x00\x08", b"second")]
        assert session.was_resumed
        assert broker.received(PUBACK, within_s=0.1) == [], "nothing is acknowledged unasked"
        session.acknowledge([packet_id for _, _, packet_id, _ in found])
        assert broker.received(PUBACK, within_s=0.1) == [b"\x00\x07", b"\x00\x08"]
        session.close(is_polite=True)
        assert len(broker.received(DISCONNECT, within_s=0.1)) == 1


@VERSIONS
@pytest.mark.parametrize("pause_after", [1, 3, 5, 9, 14])
def test_handshake_may_be_cut_anywhere(version: str, pause_after: int) -> None:
    stream = CONNACK_RESUMED[version] + publish(7, b"whole", version=version) + suback(version, 1)
    with ScriptedBroker(version) as broker:
        session, _ = opened_session(broker)
        broker.send(stream[:pause_after])
        found = received_until(session, bool, within_s=0.02)
        broker.send(stream[pause_after:])
        found += received_until(session, lambda _: session.is_subscribed)
        assert [payload for *_, payload in found] == [b"whole"]
        session.close(is_polite=False)


def test_connect_asks_for_a_session_that_outlives_the_connection() -> None:
    # 3.1.1: protocol name, level 4, flags without clean session (bit 1), keep alive 30, client identifier
    with ScriptedBroker("3.1.1") as broker:
        session, body = opened_session(broker)
        assert body == b"\x00\x04MQTT\x04\x00\x00\x1e\x00\x01r"
        session.close(is_polite=False)
    # 5: level 5, and the properties session expiry 0x11 = 86,400 s and receive maximum 0x21 = 500
    with ScriptedBroker("5") as broker:
        session, body = opened_session(broker, session_expiry_s=86_400, receive_maximum=500)
        assert body == b"\x00\x04MQTT\x05\x00\x00\x1e\x08\x11\x00\x01\x51\x80\x21\x01\xf4\x00\x01r"
        session.close(is_polite=False)


@VERSIONS
def test_filters_no_longer_wanted_are_unsubscribed(version: str) -> None:
    with ScriptedBroker(version) as broker:
        session, _ = opened_session(broker, filters=("a/#", "$share/g/b/+"), former_filters=("a/#", "old/#"))
        broker.send(CONNACK_RESUMED[version])
        received_until(session, lambda _: session.was_resumed is not None)
        properties = b"\x00" if version == "5" else b""
        assert broker.await_packet(UNSUBSCRIBE) == b"\x00\x02" + properties + b"\x00\x05old/#"
        # MQTT 5: retained messages only where the subscription is new (1 << 4), which a shared one may not ask for
        options = (b"\x11", b"\x01") if version == "5" else (b"\x01", b"\x01")
        assert broker.await_packet(SUBSCRIBE) == (
            b"\x00\x01" + properties + b"\x00\x03a/#" + options[0] + b"\x00\x0c$share/g/b/+" + options[1]
        )
        broker.send(suback(version, 1, 0x80))
        received_until(session, lambda _: session.is_subscribed)
        assert session.refused_filters == ("$share/g/b/+",)
        session.close(is_polite=False)


@pytest.mark.parametrize(
    ("version", "answer", "message"),
    [
        pytest.param("3.1.1", b"\x20\x02\x00\x04", "user name or password is wrong", id="bad-credentials"),
        pytest.param("3.1.1", b"\x20\x02\x00\x05", "not allowed", id="not-authorised"),
        pytest.param("3.1.1", b"\x20\x02\x00\x01", "MQTT_VERSION", id="wrong-version"),
        pytest.param("5", b"\x20\x03\x00\x86\x00", "user name or password is wrong", id="bad-credentials-5"),
        pytest.param("5", b"\x20\x02\x00\x01", "MQTT_VERSION", id="broker-of-3.1.1-only"),
        pytest.param("5", b"\x20\x03\x00\x9f\x00", "0x9f", id="unnamed-code"),
    ],
)
def test_refusals_name_their_remedy(version: str, answer: bytes, message: str) -> None:
    with ScriptedBroker(version) as broker:
        session, _ = opened_session(broker)
        broker.send(answer)
        with pytest.raises(RefusedError, match=message):
            received_until(session, lambda _: False)
        session.close(is_polite=False)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 80, "only receives", id="not-mqtt"),
        pytest.param(publish(1, b"early", version="3.1.1"), "before it accepts", id="publish-before-connack"),
        pytest.param(CONNACK_NEW["3.1.1"] + b"\x30\xff\xff\xff\xff\x01", "four bytes", id="endless-length"),
        pytest.param(CONNACK_NEW["3.1.1"] + b"\x32\x03\x00\x09a", "hold together", id="topic-longer-than-packet"),
        pytest.param(CONNACK_NEW["3.1.1"] + b"\x34\x07\x00\x01a\x00\x01xx", "hold together", id="qos-2-not-asked-for"),
        pytest.param(CONNACK_NEW["3.1.1"] + b"\x82\x02\x00\x01", "only receives", id="packet-of-clients"),
    ],
)
def test_what_is_not_mqtt_ends_the_connection(stream: bytes, message: str) -> None:
    with ScriptedBroker("3.1.1") as broker:
        session, _ = opened_session(broker)
        broker.send(stream)
        assert broker.connection is not None
        broker.connection.shutdown(1)
        with pytest.raises(ConnectionLostError, match=message):
            received_until(session, lambda _: False)
        session.close(is_polite=False)


def test_keep_alive_of_the_broker_goes_before_ours() -> None:
    clock = [100.0]
    with ScriptedBroker("5") as broker:
        session, _ = opened_session(broker, monotonic=lambda: clock[0], keep_alive_s=30)
        broker.send(b"\x20\x06\x00\x00\x03\x13\x00\x04" + suback("5", 0))  # 4 s, and QoS 0 granted
        received_until(session, lambda _: session.is_subscribed)
        assert session.weak_filters == ("a/#",)
        clock[0] += 2.0
        assert session.keep_alive(is_reading=True) == 2.0
        assert len(broker.received(PINGREQ, within_s=0.05)) == 1
        session.close(is_polite=False)


def test_takeover_is_a_refusal_and_not_a_reason_to_come_straight_back() -> None:
    with ScriptedBroker("5") as broker:
        session, _ = opened_session(broker)
        broker.send(CONNACK_NEW["5"] + b"\xe0\x01\x8e")
        with pytest.raises(RefusedError, match="every recorder needs its own"):
            received_until(session, lambda _: False)
        session.close(is_polite=False)


def test_silent_broker_is_pinged_and_then_given_up() -> None:
    clock = [100.0]
    with ScriptedBroker("3.1.1") as broker:
        session, _ = opened_session(broker, monotonic=lambda: clock[0], keep_alive_s=10)
        broker.send(CONNACK_NEW["3.1.1"] + suback("3.1.1", 1))
        received_until(session, lambda _: session.is_subscribed)
        session.keep_alive(is_reading=True)
        assert broker.received(PINGREQ, within_s=0.05) == []
        clock[0] += 5.0
        session.keep_alive(is_reading=True)
        assert len(broker.received(PINGREQ, within_s=0.05)) == 1
        clock[0] += 10.5  # longer than 10 s of keep alive and 5 s of grace since it was heard
        session.keep_alive(is_reading=False)
        assert len(broker.received(PINGREQ, within_s=0.05)) == 2, "while we do not read, we still ping"
        with pytest.raises(ConnectionLostError, match="silent"):
            session.keep_alive(is_reading=True)
        session.close(is_polite=False)


def test_unreachable_broker_and_unreadable_password(tmp_path: object) -> None:
    broker = ScriptedBroker("5")
    with broker:
        pass
    started = time.monotonic()
    with pytest.raises(ConnectionLostError, match="cannot be reached"):
        opened_session(broker)
    assert time.monotonic() - started < 2
