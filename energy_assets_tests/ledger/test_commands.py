"""`energy ledger` with what people hand it by mistake: a sentence that names the thing and the remedy, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.errors import LedgerError
from energy_assets.ledger.keeping import open_ledger
from energy_assets.settings import load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(tmp_path / "home"))
    load_settings.cache_clear()
    yield tmp_path / "home"
    load_settings.cache_clear()


FILES = {
    "list": b"[1]\n",
    "words": b"nope\n",
    "bytes": b"\xff\xfe\x00",
    "nothing of an entry": b'{"type":"x"}\n',
    "a fraction": b'{"type":"x","zone":"z","date":"2026-01-01","revision":0,"v":1.5}\n',
}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(("append", "list"), "holds a line that is no JSON object", id="append a list"),
        pytest.param(("append", "words"), "cannot be read as JSON lines", id="append words"),
        pytest.param(("append", "bytes"), "Name a text file that exists", id="append bytes"),
        pytest.param(("append", "absent"), "Name a text file that exists", id="append an absent file"),
        pytest.param(("append", "nothing of an entry"), "needs type, zone, date, revision", id="append no entry"),
        pytest.param(("append", "a fraction"), "give whole numbers and text", id="append a fraction"),
        pytest.param(("verify", "--trusted", "absent"), "Name a text file that exists", id="trust an absent file"),
        pytest.param(("verify", "--trusted", "words"), "no signed note", id="trust words"),
        pytest.param(("verify", "--key", "garbage"), "name+hash+base64", id="verify with no key"),
        pytest.param(("accept", "absent", "--witness", "w"), "Name a text file that exists", id="accept nothing"),
        pytest.param(("prove",), "--zone and --date, or a statement by --premise and --month", id="prove nothing"),
        pytest.param(("prove", "--zone", "z"), "--zone and --date", id="prove half a curve"),
        pytest.param(("prove", "--zone", "z", "--date", "2026-01-01"), "no price_curve of z", id="prove an absent one"),
    ],
)
def test_what_is_wrong_is_said(home: Path, tmp_path: Path, words: tuple[str, ...], expected: str) -> None:
    open_ledger(home / "ledger", name="example.org/test")
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    said = [str(tmp_path / word) if word in FILES or word == "absent" else word for word in words]
    done = CliRunner().invoke(app, ["ledger", *said])
    assert done.exit_code == 1
    assert isinstance(done.exception, LedgerError)
    assert expected in str(done.exception)


@pytest.mark.parametrize("command", ["verify", "checkpoint"])
def test_before_the_first_night_there_is_no_log(home: Path, command: str) -> None:
    done = CliRunner().invoke(app, ["ledger", command])
    assert f"There is no log in {home / 'ledger'} yet" in str(done.exception)
