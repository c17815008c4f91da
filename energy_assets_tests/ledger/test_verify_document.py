"""The commands of docs/verify.md, run as they stand, with nothing but its placeholders filled in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from energy_assets.ledger import verifier

ROOT = Path(__file__).parents[2]
ENTRY = {"type": "price_curve", "zone": "ZONE", "date": "2026-03-20", "revision": 0, "prices": [1, 2, 3]}


def blocks() -> list[str]:
    """The indented blocks of the document, in its order."""
    text = (ROOT / "docs" / "verify.md").read_text("utf-8")
    found = re.findall(r"(?:^    .*\n)+", text, flags=re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def run(script: str, *, folder: Path, expect: int = 0) -> str:
    commands = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "ENERGY_ASSETS_HOME": str(folder / "home"),
    }
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expect, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(settled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform that has settled a month, in `home`, and the verifier beside it."""
    if missing := [tool for tool in ("openssl", "xxd") if shutil.which(tool) is None]:
        pytest.skip(f"the page uses {missing}, which this machine has not")
    path = tmp_path_factory.mktemp("page")
    shutil.copytree(settled_home, path / "home")
    shutil.copy(verifier.__file__, path / "verifier.py")
    return path


def test_a_stranger_and_a_household_who_follow_the_page_arrive(folder: Path) -> None:
    with_verifier, own_bill, by_hand, witnessed, with_openssl = blocks()
    (folder / "lines").write_text(json.dumps(ENTRY) + "\n", encoding="utf-8")
    run("energy ledger append lines", folder=folder)
    log = folder / "home" / "ledger" / "log"
    key = (folder / "home" / "ledger" / "keys" / "verifier.key").read_text("utf-8").strip()

    def filled(script: str) -> str:
        values = {
            "FOLDER_OF_A_STATEMENT": "mine", "STATEMENT_DIR": "mine", "PREMISE": "c", "WITNESS": "witness",
            "CHECKPOINT_THAT_YOU_KEPT": "kept", "PROOF_FILE": "DIR/proof.txt", "ENTRY_FILE": "DIR/entry.json",
            "FOLDER": str(log),
        }  # fmt: skip
        for name, value in values.items():
            script = script.replace(name, value)
        return re.sub(r"\bKEY\b", f"'{key}'", script)

    assert "4 files" in run(filled(own_bill) + "echo $(ls mine | wc -l) files", folder=folder)
    assert "3 entries of" in run(filled(by_hand), folder=folder)
    said = run(filled(with_verifier), folder=folder)
    assert said.count("HOLDS:") == 4
    assert "HOLDS: c pays" in said
    assert "HOLDS: the entry is number 2 of 3" in run(filled(witnessed), folder=folder)

    shutil.copy(log / "checkpoint", folder / "checkpoint")
    signature = with_openssl.replace("name+hash+base64", key)
    assert "Signature Verified Successfully" in run(signature, folder=folder)

    proof, statement = (
        [line for line in with_verifier.splitlines() if f" {word} " in line] for word in ("proof", "statement")
    )
    for name, line, old, new in (
        ("DIR/entry.json", proof[0], "[1,2,3]", "[1,2,4]"),
        ("mine/statement.json", statement[0], '"fixed_amount":6', '"fixed_amount":5'),
    ):
        changed = (folder / name).read_text("utf-8").replace(old, new)
        (folder / name).write_text(changed, encoding="utf-8")
        assert "DOES NOT HOLD" in run(filled(line), folder=folder, expect=1)
