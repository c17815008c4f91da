from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from energy_assets.errors import SourceError
from energy_assets.parsing.lines import numbered_lines
from energy_assets.readings.landing import find_file, fingerprint, require_columns

CONTENT = b"a,b\n1,2\n3,4\n"


def test_a_batch_is_named_by_content_alone(tmp_path: Path):
    (tmp_path / "one.csv").write_bytes(CONTENT)
    (tmp_path / "two.csv.gz").write_bytes(gzip.compress(CONTENT))
    one, two = fingerprint(tmp_path / "one.csv"), fingerprint(tmp_path / "two.csv.gz")
    assert one.batch_id == two.batch_id == hashlib.sha256(CONTENT).hexdigest()[:32]
    assert (one.header, one.data_lines) == (two.header, two.data_lines) == (("a", "b"), 2)


@pytest.mark.parametrize(
    ("content", "header", "data_lines", "lines"),
    [
        pytest.param(b"a,b\n1,2", ("a", "b"), 1, [(2, "1,2")], id="no newline at the end"),
        pytest.param(b"\xef\xbb\xbfa,b\r\n1,2\r\n", ("a", "b"), 1, [(2, "1,2")], id="byte order mark and CRLF"),
        pytest.param(b'"a", "b"\n\n1,2\n', ("a", "b"), 2, [(2, ""), (3, "1,2")], id="quoted header, blank line"),
        pytest.param(b"a,b\n\xff,2\n", ("a", "b"), 1, [(2, "\\xff,2")], id="not UTF-8"),
        pytest.param(b"a,b\n", ("a", "b"), 0, [], id="header only"),
    ],
)
def test_lines_keep_their_number(
    tmp_path: Path, content: bytes, header: tuple[str, ...], data_lines: int, lines: list[tuple[int, str]]
):
    (tmp_path / "x.csv").write_bytes(content)
    mark = fingerprint(tmp_path / "x.csv")
    assert (mark.header, mark.data_lines) == (header, data_lines)
    assert [row for chunk in numbered_lines(tmp_path / "x.csv") for row in chunk.rows()] == lines


def test_lines_that_cross_blocks_stay_whole(tmp_path: Path):
    lines = [f"{number},{'x' * 97}" for number in range(200_000)]  # 20 MB: more than one block of 16 MB
    (tmp_path / "x.csv").write_text("\n".join(["a,b", *lines]))
    chunks = list(numbered_lines(tmp_path / "x.csv"))
    assert len(chunks) > 2
    assert [line for chunk in chunks for line in chunk["line"]] == lines
    assert [number for chunk in chunks for number in chunk["line_number"]] == list(range(2, 200_002))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("x.csv", b"", "is empty", id="empty"),
        pytest.param("x.csv", b"\n\n", "is empty", id="blank"),
        pytest.param("x.csv.gz", gzip.compress(CONTENT * 1000)[:-20], "truncated or damaged", id="truncated gzip"),
        pytest.param("x.csv.gz", b"not gzip at all", "truncated or damaged", id="no gzip"),
    ],
)
def test_a_file_that_is_not_whole_is_named(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        fingerprint(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_file_is_named_with_its_remedy(tmp_path: Path):
    with pytest.raises(SourceError, match=r"train\.csv \(or train\.csv\.gz\) does not exist\. Check"):
        find_file(tmp_path, "train.csv")


def test_missing_columns_and_rows_are_named(tmp_path: Path):
    (tmp_path / "x.csv").write_bytes(b"a,b\n")
    mark = fingerprint(tmp_path / "x.csv")
    with pytest.raises(SourceError, match=r"lacks the columns c; it has a, b"):
        require_columns(mark, ["a", "c"])
    with pytest.raises(SourceError, match=r"a header and no rows"):
        require_columns(mark, ["a"])


def test_a_file_that_is_replaced_or_written_to_is_noticed(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes(CONTENT)
    mark = fingerprint(path)
    mark.confirm()
    with path.open("ab") as stream:
        stream.write(b"5,6\n")
    with pytest.raises(SourceError, match=r"x\.csv changed while it was read"):
        mark.confirm()
    # Same size and modification time, another file: the inode and the change time give it away.
    other = tmp_path / "y.csv"
    other.write_bytes(CONTENT)
    os.utime(other, ns=(mark.identity[3], mark.identity[3]))
    other.replace(path)
    with pytest.raises(SourceError, match="changed while it was read"):
        mark.confirm()
