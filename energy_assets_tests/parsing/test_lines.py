"""Bytes to numbered lines: the same for readings and weather, to the last byte, and never of a file that changes."""

import gzip
import hashlib
from pathlib import Path

import pytest

from energy_assets.errors import SourceError
from energy_assets.parsing.lines import (
    confirm_unchanged,
    digest_of,
    header_of,
    identity_of,
    numbered_lines,
    unpacked_blocks,
)
from energy_assets.weather.lines import LINE_NUMBER, PAYLOAD, read_lines

CONTENT = b'\xef\xbb\xbfat,x\r\n1,"a,b"\r\n\r\n2,\xff\r\n3,c'


@pytest.mark.parametrize("name", ["w.csv", "w.csv.gz"])
def test_lines_have_their_numbers_and_what_is_no_text_is_shown(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(gzip.compress(CONTENT) if name.endswith(".gz") else CONTENT)
    lines = [row for chunk in numbered_lines(path) for row in chunk.rows()]
    assert lines == [(2, '1,"a,b"'), (3, ""), (4, "2,\\xff"), (5, "3,c")]
    assert header_of(b"".join(unpacked_blocks(path, size=4))) == "at,x"
    weather = read_lines(path)
    assert weather.rows.select(LINE_NUMBER, PAYLOAD).rows() == [line for line in lines if line[1]]
    assert weather.rows.select("at", "x").rows() == [("1", "a,b"), ("2", "\\xff"), ("3", "c")]
    assert weather.batch_id == f"{name}:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    assert digest_of(path).startswith(weather.batch_id.rpartition(":")[2])


def test_a_file_that_changes_is_refused(tmp_path: Path):
    path = tmp_path / "w.csv"
    path.write_bytes(CONTENT)
    identity = identity_of(path)
    confirm_unchanged(path, identity)
    path.write_bytes(CONTENT + b"\n")
    with pytest.raises(SourceError, match="changed while it was read"):
        confirm_unchanged(path, identity)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "cannot be read: No such file", id="absent"),
        pytest.param(gzip.compress(CONTENT * 500)[:60], "truncated or damaged gzip", id="torn"),
        pytest.param(b"at,x\n", "truncated or damaged gzip", id="no gzip at all"),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_named(tmp_path: Path, content: bytes | None, says: str):
    path = tmp_path / "w.csv.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=says):
        list(numbered_lines(path))
