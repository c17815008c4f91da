"""The spool: sealing by size and age, sequences across restarts, one writer, and going on after the disk said no."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from energy_assets.errors import ConfigError
from energy_assets.messaging.segments import Record, read_segment, record_line, segments
from energy_assets.messaging.spool import SealRule, Spool

NOW = datetime(2026, 11, 21, 4, 45, 30, tzinfo=UTC)
FIRST = int(NOW.timestamp() * 1e6)
PAYLOAD = bytes(range(32, 127)) * 3


class _Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _spool(folder: Path, clock: _Clock | None = None, **rule: float) -> Spool:
    spool = Spool(folder, client_id="r", rule=SealRule(**rule), monotonic=clock or _Clock())  # type: ignore[arg-type]
    spool.prepare(now=NOW)
    return spool


def _append(spool: Spool, records: int = 1, payload: bytes = PAYLOAD) -> None:
    lines = "".join(
        record_line(Record(spool.next_sequence + number, NOW, "t", payload, 1, False, False))
        for number in range(records)
    )
    spool.append(lines.encode(), records=records, now=NOW)


def _sequences(folder: Path) -> list[int]:
    return [record.sequence for segment in segments(folder) for record in read_segment(segment.path)]


def test_sealed_by_size_and_by_age(tmp_path: Path) -> None:
    clock = _Clock()
    spool = _spool(tmp_path, clock, text_bytes=1_000, after_s=10.0)
    assert spool.seal_due_in_s() == float("inf")
    _append(spool)
    spool.seal_if_due()
    assert [segment.is_sealed for segment in segments(tmp_path)] == [False]
    _append(spool, records=2)  # three lines of about 400 bytes pass 1,000
    spool.seal_if_due()
    assert [segment.is_sealed for segment in segments(tmp_path)] == [True]
    _append(spool)
    clock.now_s += 9.0
    assert spool.seal_due_in_s() == pytest.approx(1.0)
    spool.seal_if_due()
    assert [segment.is_sealed for segment in segments(tmp_path)] == [True, False]
    clock.now_s += 1.0
    spool.seal_if_due()
    assert [segment.is_sealed for segment in segments(tmp_path)] == [True, True]
    assert spool.sealed == 2
    spool.close()


def test_sequence_goes_on_after_a_kill_and_begins_anew_with_time_in_an_empty_folder(tmp_path: Path) -> None:
    killed = _spool(tmp_path)
    _append(killed, records=3)
    open_path = segments(tmp_path)[0].path
    with open_path.open("ab") as torn:
        torn.write(open_path.read_bytes()[:40])
    assert killed._lock is not None
    os.close(killed._lock)  # as the end of a process does
    spool = _spool(tmp_path)
    assert spool.next_sequence == FIRST + 3
    _append(spool, records=2)
    spool.close()
    assert _sequences(tmp_path) == list(range(FIRST, FIRST + 5))
    assert all(segment.is_sealed for segment in segments(tmp_path))
    assert [path.name for path in tmp_path.glob("*.torn")] == [open_path.name.replace(".jsonl.zst.open", ".torn")]


def test_second_writer_of_a_client_is_refused(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    with pytest.raises(ConfigError, match="--client-id"):
        _spool(tmp_path)
    spool.close()
    _spool(tmp_path).close()


@contextmanager
def _files_limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: the write that would do so is cut short, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_append_that_fails_half_way_is_cut_and_written_again(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    _append(spool)
    size = segments(tmp_path)[0].path.stat().st_size
    with _files_limited_to(size + 20):
        for _ in range(2):
            with pytest.raises(OSError, match="too large"):
                _append(spool, records=20, payload=bytes(range(256)) * 9)
    assert spool.next_sequence == FIRST + 1
    _append(spool, records=20)
    spool.close()
    assert _sequences(tmp_path) == list(range(FIRST, FIRST + 21))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".lock", ".zst", ".zst"]


def test_no_segment_begins_before_the_failed_one_is_sealed(tmp_path: Path) -> None:
    """Or a reader's cursor would pass the failed one, and what was acknowledged from it would never be read."""
    spool = _spool(tmp_path)
    _append(spool)
    path = segments(tmp_path)[0].path
    with _files_limited_to(path.stat().st_size + 20), pytest.raises(OSError, match="too large"):
        _append(spool, payload=bytes(range(256)) * 9)
    away = tmp_path.with_name("away")
    tmp_path.rename(away)
    tmp_path.write_text("no folder")
    with pytest.raises(OSError, match="Not a directory"):
        _append(spool)
    tmp_path.unlink()
    away.rename(tmp_path)
    _append(spool)
    assert [segment.is_sealed for segment in segments(tmp_path)] == [True, False]
    spool.close()
    assert _sequences(tmp_path) == [FIRST, FIRST + 1]


def test_folder_deleted_under_us_costs_what_was_in_it_and_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = _spool(folder)
    _append(spool)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match="deleted"):
        _append(spool)
    _append(spool)
    with pytest.raises(ConfigError, match="Another recorder"):
        _spool(folder)
    spool.close()
    assert _sequences(folder) == [FIRST + 1]
