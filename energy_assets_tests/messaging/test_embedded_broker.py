"""The embedded broker: what a session has not acknowledged survives its kill, and senders come back by themselves."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from energy_assets.errors import ConfigError, SourceError
from energy_assets.messaging.broker import broker_command
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.sending import Outgoing, Sender
from energy_assets.supervisor import free_port
from energy_assets_tests.messaging.embedded import Embedded
from energy_assets_tests.messaging.listening import listening


def outgoing(first: int, last: int) -> list[Outgoing]:
    return [Outgoing(number=each, topic=f"t/{each % 7}", payload=b"%d" % each) for each in range(first, last)]


def test_what_a_session_has_not_seen_survives_the_kill_of_the_broker(tmp_path: Path) -> None:
    with Embedded(tmp_path) as embedded:
        with listening(embedded.port, "t/#", client_id="recorder", is_remembered=True):
            pass
        with Sender(embedded.endpoint, client_id="s", version="3.1.1") as sender:
            sender.send(outgoing(0, 500))
            assert sender.settle(within_s=10)
        assert (sender.acknowledged, sender.under_way) == (500, [])
        time.sleep(1.2)  # the store is synced every second
        embedded.stop(signal.SIGKILL)
        embedded.start()
        with listening(embedded.port, "t/#", client_id="recorder", is_remembered=True) as listener:
            found = listener.wait_for(500, within_s=20)
    assert {int(payload) for _, payload, _ in found} == set(range(500))


def test_a_sender_heals_when_the_broker_comes_back_and_nothing_acknowledged_is_missing(tmp_path: Path) -> None:
    with (
        Embedded(tmp_path) as embedded,
        listening(embedded.port, "t/#", client_id="l", is_remembered=True) as listener,
    ):
        with Sender(embedded.endpoint, client_id="s", version="3.1.1") as sender:
            work = threading.Thread(target=_slowly, args=(sender, outgoing(0, 300)))
            work.start()
            time.sleep(0.3)
            embedded.stop(signal.SIGTERM)
            time.sleep(0.3)
            embedded.start()
            work.join(20)
            assert sender.settle(within_s=20)
        assert sender.acknowledged >= 300
        ends_at = time.monotonic() + 20
        while len({payload for _, payload, _ in listener.messages}) < 300 and time.monotonic() < ends_at:
            time.sleep(0.05)
    assert {int(payload) for _, payload, _ in listener.messages} == set(range(300))


def _slowly(sender: Sender, messages: list[Outgoing]) -> None:
    for message in messages:
        sender.send([message])
        time.sleep(0.003)


def test_few_are_under_way_at_a_time(tmp_path: Path) -> None:
    with (
        Embedded(tmp_path) as embedded,
        Sender(embedded.endpoint, client_id="s", version="3.1.1", most_under_way=5) as s,
    ):
        for message in outgoing(0, 200):
            s.send([message])
            assert len(s.under_way) <= 5
        assert s.settle(within_s=10)


def test_nobody_there_is_named_with_the_remedy() -> None:
    endpoint = Endpoint(host="127.0.0.1", port=free_port())
    with (
        pytest.raises(SourceError, match=r"cannot be reached: .*name another by ENERGY_ASSETS_MQTT_BROKER"),
        Sender(endpoint, client_id="s", version="5", patience_s=0.3),
    ):
        pass


def test_the_broker_listens_on_the_loopback_only_and_a_missing_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = broker_command(tmp_path / "b", host="127.0.0.1", port=18_830)
    text = Path(command[-1]).read_text()
    assert 'listen: "127.0.0.1:18830"' in text
    assert "0.0.0.0" not in text
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match="name a broker of your own by ENERGY_ASSETS_MQTT_BROKER"):
        broker_command(tmp_path / "b", host="127.0.0.1", port=18_830)
