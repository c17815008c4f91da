"""Dumps that others wrote: each line becomes a message, or is refused with its number."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import zstandard

from energy_assets.errors import ConfigError, SourceError
from energy_assets.messaging.dumps import read_dump
from energy_assets.messaging.payloads import load_payload_mapping
from energy_assets_tests.messaging.judging import judged_file

AT = datetime(2026, 11, 21, 6, 0, 5, tzinfo=UTC)


def messages(file: Path, *, form: str | None = None, mapping: str = "system_002") -> pl.DataFrame:
    return pl.concat(read_dump(file, mapping=load_payload_mapping(Path(mapping)), form=form))


@pytest.mark.parametrize(
    ("form", "line", "expected"),
    [
        pytest.param(
            None,
            '{"topic":"a/b","payload":"1.5","arrived_at_utc":"2026-11-21T06:00:05.000000Z"}',
            ("a/b", "1.5", AT, None),
            id="JSON, ours",
        ),
        pytest.param(
            None,
            '{"tst":"2026-11-21T07:00:05.000000+0100","topic":"a/b","qos":1,"retain":0,"payloadlen":3,"payload":"1.5"}',
            ("a/b", "1.5", AT, None),
            id="mosquitto_sub %j",
        ),
        pytest.param(
            "%J",
            '{"tst":"2026-11-21T07:00:05.000000+0100","topic":"a/b","qos":1,"retain":0,"payload":{"v": 1}}',
            ("a/b", '{"v":1}', AT, None),
            id="mosquitto_sub %J",
        ),
        pytest.param(
            None, '{"topic":"a/b","payload":"1.5","timestamp":1795240805}', ("a/b", "1.5", AT, None), id="JSON, seconds"
        ),
        pytest.param(
            None,
            '{"topic":"a/b","payload":1.5,"ts":1795240805000}',
            ("a/b", "1.5", AT, None),
            id="JSON, milliseconds, a number",
        ),
        pytest.param(None, '{"topic":"a/b","payload":"1.5"}', ("a/b", "1.5", None, None), id="JSON without time"),
        pytest.param(None, '{"topic":"a/b"}', (None, '{"topic":"a/b"}', None, "bad_line"), id="JSON without payload"),
        pytest.param(None, '{"topic":"a/b","payload":null}', ("a/b", "null", None, None), id="JSON, null"),
        pytest.param(None, 'a/b {"v": 1}', ("a/b", '{"v": 1}', None, None), id="-v"),
        pytest.param(None, "a/b (null)", ("a/b", "", None, None), id="-v, empty payload"),
        pytest.param(None, "nothing", (None, "nothing", None, "bad_line"), id="-v, no payload"),
        pytest.param(
            None,
            'hack/SMA_017A.3017445303/String A {"FeatureType":"PvString"}',
            ("hack/SMA_017A.3017445303/String A", '{"FeatureType":"PvString"}', None, None),
            id="-v, a topic with a space",
        ),
        pytest.param("%I %t %p", "2026-11-21T07:00:05+0100 a/b 1.5 W", ("a/b", "1.5 W", AT, None), id="-F, ISO time"),
        pytest.param("%U,%q,%r,%t:%p", "1795240805.000000000,1,1,a/b:1.5", ("a/b", "1.5", AT, None), id="-F, seconds"),
        pytest.param(
            "@Y-@m-@d @H:@M:@S %t %p\\n", "2026-11-21 06:00:05 a/b 1.5", ("a/b", "1.5", AT, None), id="-F, clock"
        ),
        pytest.param("%t\\t%x", "a/b\t312e35", ("a/b", "1.5", None, None), id="-F, hexadecimal"),
        pytest.param("%I %t %p", "garbage", (None, "garbage", None, "bad_line"), id="-F, another line"),
    ],
)
def test_lines(tmp_path: Path, form: str | None, line: str, expected: tuple[object, ...]) -> None:
    file = tmp_path / "dump"
    file.write_text(f"{line}\n")
    found = messages(file, form=form)
    assert found.select("topic", "payload", "arrived_at_utc", "fault").row(0) == expected
    assert found.height == 1


def test_retained_and_redelivered_are_read(tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_text(
        '{"topic":"a","payload":"1","retain":1,"mid":7,"dup":true}\n{"topic":"a","payload":"1","retain":0,"mid":0}\n'
    )
    assert messages(file).select("retained", "duplicate", "packet_id").rows() == [(True, True, 7), (False, False, None)]


@pytest.mark.parametrize("packed", ["plain", "gzip", "zstd", "zstd frames"])
def test_packed_dumps(tmp_path: Path, packed: str) -> None:
    lines = [f'{{"topic":"a/{number}","payload":"{number}"}}\n'.encode() for number in range(1000)]
    text = b"".join(lines)
    frames = b"".join(zstandard.compress(b"".join(lines[start : start + 100])) for start in range(0, 1000, 100))
    content = {"plain": text, "gzip": gzip.compress(text), "zstd": zstandard.compress(text), "zstd frames": frames}
    (tmp_path / "dump").write_bytes(content[packed])
    found = messages(tmp_path / "dump")
    assert found["payload"].to_list() == [str(number) for number in range(1000)]
    assert found["line_number"].to_list() == list(range(1, 1001))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_dump_that_is_cut_is_named(tmp_path: Path, pack: object) -> None:
    import random

    text = "".join(f'{{"topic":"a","payload":"{random.Random(n).random()}"}}\n' for n in range(2000)).encode()
    content = pack(text)  # type: ignore[operator]
    (tmp_path / "dump").write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match="dump cannot be read to its end"):
        messages(tmp_path / "dump")


@pytest.mark.parametrize("form", ["%t", "%p", "%t %p %Z", "@j %t %p"])
def test_a_format_that_cannot_be_read_back_is_named(tmp_path: Path, form: str) -> None:
    (tmp_path / "dump").write_text("a b\n")
    with pytest.raises(ConfigError, match="format"):
        messages(tmp_path / "dump", form=form)


def test_bad_lines_and_bytes_are_refused_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_bytes(
        b'energy/meters/h {"consumptionKwh":1,"timestamp":"2026-11-21T06:00:00Z"}\n\nbad\n'
        b"energy/meters/h \xff\xfe\n  continued\r\n"
    )
    rows, counts = judged_file(file, "system_003")
    assert [row[3] for row in rows] == [None, "bad_line", "not_text", "no_mapping"]
    assert (counts.stored, counts.quarantined) == (1, 3)


def test_without_a_time_of_arrival_only_clocks_of_devices_count(tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_text("shellies/em/emeter/0/total 12.5\n")
    assert judged_file(file, "shelly_gen1")[0][0][3] == "no_arrival_time"
