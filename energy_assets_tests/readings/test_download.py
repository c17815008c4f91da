from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from energy_assets.errors import ConfigError, SourceError
from energy_assets.readings.download import (
    ASHRAE_FILES,
    BDG2_ATTRIBUTION,
    KAGGLE_COMPETITION,
    download_ashrae,
    download_bdg2,
    read_pointer,
)

ARCHIVE_PATH = f"/api/v1/competitions/data/download-all/{KAGGLE_COMPETITION}"
BDG2_NAMES = [
    "data/metadata/metadata.csv",
    "data/weather/weather.csv",
    *(
        f"data/meters/raw/{name}.csv"
        for name in ("electricity", "chilledwater", "steam", "hotwater", "gas", "water", "irrigation", "solar")
    ),
]


class Server(ThreadingHTTPServer):
    """A file server as Kaggle and GitHub are: ranges with strong ETags, redirects, accounts, and bad days."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.account: str | None = None
        self.troubles: list[int | str] = []  # a status, or the share of the bytes that come before the line breaks
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

    def do_GET(self) -> None:
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        trouble = server.troubles.pop(0) if server.troubles else None
        if isinstance(trouble, int):
            self.send_response(trouble)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path in server.redirects:
            if server.account is not None and self.headers.get("Authorization") != server.account:
                self.send_error(401)
                return
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self._send(content, breaks=trouble == "break")

    def _send(self, content: bytes, *, breaks: bool) -> None:
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        wanted, start = self.headers.get("Range"), 0
        if wanted and self.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        rest = content[start:]
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if breaks else rest)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as packed:
        for name in names:
            packed.writestr(name, f"content of {name}\n" * 10_000)
    return stream.getvalue()


def offer_ashrae(server: Server, content: bytes) -> None:
    server.redirects[ARCHIVE_PATH] = f"{server.url}/storage/archive.zip"
    server.files["/storage/archive.zip"] = content
    server.account = "Basic " + base64.b64encode(b"ada:secret").decode()


def fetch_ashrae(server: Server, folder: Path, *, key: str = "secret") -> list[Path]:
    return download_ashrae(folder, username="ada", key=key, base_url=f"{server.url}/api/v1", first_pause_s=0.001)


def offer_bdg2(server: Server) -> None:
    for name in BDG2_NAMES:
        content = f"timestamp,{name}\n".encode() * 500
        server.files[f"/media/{name}"] = content
        digest = hashlib.sha256(content).hexdigest()
        server.files[f"/raw/{name}"] = (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
        ).encode()


def fetch_bdg2(server: Server, folder: Path) -> list[Path]:
    return download_bdg2(folder, pointer_url=f"{server.url}/raw", media_url=f"{server.url}/media", first_pause_s=0.001)


def assert_goes_on_near_the_middle(wanted: str | None, content: bytes) -> None:
    assert wanted is not None
    start, middle = int(wanted.removeprefix("bytes=").rstrip("-")), len(content) // 2
    assert middle - 65_536 <= start <= middle


def test_the_competition_is_unpacked_and_the_archive_removed(server: Server, tmp_path: Path):
    offer_ashrae(server, archive(*ASHRAE_FILES, "sample_submission.csv"))
    paths = fetch_ashrae(server, tmp_path / "gepiii")
    assert sorted(path.name for path in (tmp_path / "gepiii").iterdir()) == sorted(ASHRAE_FILES)
    assert all(path.read_text() == f"content of {path.name}\n" * 10_000 for path in paths)


def test_files_that_are_there_are_not_fetched_again(server: Server, tmp_path: Path):
    offer_ashrae(server, archive(*ASHRAE_FILES))
    fetch_ashrae(server, tmp_path)
    asked = len(server.requests)
    fetch_ashrae(server, tmp_path)
    assert len(server.requests) == asked


def test_a_newer_token_is_sent_as_bearer(server: Server, tmp_path: Path):
    offer_ashrae(server, archive(*ASHRAE_FILES))
    server.account = "Bearer KGAT_abc"
    assert len(fetch_ashrae(server, tmp_path, key="KGAT_abc")) == 5


@pytest.mark.parametrize(
    "troubles",
    [
        pytest.param([429, 503, 500], id="busy, then down, then broken"),
        pytest.param([None, "break"], id="the line breaks"),
        pytest.param([None, "break", 502, None, "break", 504], id="it breaks again and again"),
    ],
)
def test_what_can_heal_is_repeated(server: Server, tmp_path: Path, troubles: list[int | str]):
    offer_ashrae(server, archive(*ASHRAE_FILES))
    server.troubles = troubles
    assert len(fetch_ashrae(server, tmp_path)) == 5


def test_a_broken_download_is_resumed_where_it_broke_off(server: Server, tmp_path: Path):
    content = archive(*ASHRAE_FILES)
    offer_ashrae(server, content)
    server.troubles = [None, "break"]
    fetch_ashrae(server, tmp_path)
    path, wanted = server.requests[-1]
    assert path == "/storage/archive.zip"
    assert_goes_on_near_the_middle(wanted, content)


def test_a_download_that_was_given_up_goes_on_next_time(server: Server, tmp_path: Path):
    content = archive(*ASHRAE_FILES)
    offer_ashrae(server, content)
    server.troubles = [None, "break", *[503] * 20]
    with pytest.raises(SourceError, match=r"failed 7 times in a row, at last because it answered 503"):
        fetch_ashrae(server, tmp_path)
    server.troubles, server.requests = [], []
    assert len(fetch_ashrae(server, tmp_path)) == 5
    assert_goes_on_near_the_middle(server.requests[1][1], content)


def test_a_file_that_changed_meanwhile_is_begun_anew(server: Server, tmp_path: Path):
    offer_ashrae(server, archive(*ASHRAE_FILES))
    server.troubles = [None, "break", *[503] * 20]
    with pytest.raises(SourceError):
        fetch_ashrae(server, tmp_path)
    server.troubles = []
    server.files["/storage/archive.zip"] = archive(*reversed(ASHRAE_FILES))
    assert len(fetch_ashrae(server, tmp_path)) == 5


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(401, "create a new API token", id="unknown account"),
        pytest.param(403, r"accept the rules at https://www\.kaggle\.com/c/ashrae", id="rules not accepted"),
        pytest.param(404, "check the base URL", id="not there"),
        pytest.param(418, "Check the address", id="anything else"),
    ],
)
def test_a_refusal_names_the_remedy_and_is_not_repeated(server: Server, tmp_path: Path, status: int, message: str):
    offer_ashrae(server, archive(*ASHRAE_FILES))
    server.troubles = [status]
    with pytest.raises(SourceError, match=message) as caught:
        fetch_ashrae(server, tmp_path)
    assert f"answered {status}" in str(caught.value)
    assert len(server.requests) == 1
    assert "secret" not in str(caught.value)


def test_a_wrong_key_is_refused(server: Server, tmp_path: Path):
    offer_ashrae(server, archive(*ASHRAE_FILES))
    with pytest.raises(SourceError, match="create a new API token"):
        fetch_ashrae(server, tmp_path, key="wrong")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"<html>please sign in</html>", "was damaged", id="no archive"),
        pytest.param(archive(*ASHRAE_FILES)[:-300], "was damaged", id="torn archive"),
        pytest.param(archive("train.csv"), r"lacks building_metadata\.csv, test\.csv", id="files missing"),
    ],
)
def test_an_archive_that_is_not_whole_leaves_no_file(server: Server, tmp_path: Path, content: bytes, message: str):
    offer_ashrae(server, content)
    with pytest.raises(SourceError, match=message):
        fetch_ashrae(server, tmp_path)
    assert not list(tmp_path.glob("*.csv"))


def test_bdg2_lies_as_in_its_repository_beside_its_attribution(server: Server, tmp_path: Path):
    offer_bdg2(server)
    paths = fetch_bdg2(server, tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == BDG2_NAMES
    assert all(path.read_bytes() == server.files[f"/media/{path.relative_to(tmp_path)}"] for path in paths)
    assert (tmp_path / "ATTRIBUTION.txt").read_text() == BDG2_ATTRIBUTION
    assert "CC BY 4.0" in BDG2_ATTRIBUTION


def test_bdg2_files_with_the_stated_hash_are_kept_and_others_replaced(server: Server, tmp_path: Path):
    offer_bdg2(server)
    fetch_bdg2(server, tmp_path)
    (tmp_path / BDG2_NAMES[2]).write_text("spoiled")
    server.requests = []
    fetch_bdg2(server, tmp_path)
    assert [path for path, _ in server.requests if path.startswith("/media")] == [f"/media/{BDG2_NAMES[2]}"]


def test_bytes_other_than_stated_are_not_kept(server: Server, tmp_path: Path):
    offer_bdg2(server)
    server.files[f"/media/{BDG2_NAMES[0]}"] = b"something else"
    with pytest.raises(SourceError, match=r"sent 14 bytes with SHA-256 .* were stated"):
        fetch_bdg2(server, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_page_in_place_of_a_pointer_is_named(server: Server, tmp_path: Path):
    offer_bdg2(server)
    server.files[f"/raw/{BDG2_NAMES[0]}"] = b"<html>moved</html>"
    with pytest.raises(SourceError, match=r"data/metadata/metadata\.csv is no git LFS pointer"):
        fetch_bdg2(server, tmp_path)


def test_a_pointer_gives_hash_and_size():
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0f8c\nsize 259596\n"
    assert (read_pointer(text, place="x").sha256, read_pointer(text, place="x").size) == ("0f8c", 259596)


def test_an_unknown_variant_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="no variant 'kaggle'; use one of raw, cleaned"):
        download_bdg2(tmp_path, variant="kaggle")


def test_a_server_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match=r"failed 7 times in a row"):
        download_ashrae(tmp_path, username="a", key="b", base_url="http://127.0.0.1:9", first_pause_s=0.001)
