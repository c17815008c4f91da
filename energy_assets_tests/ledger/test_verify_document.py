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


def test_a_stranger_who_follows_the_page_arrives(tmp_path: Path) -> None:
    if missing := [tool for tool in ("openssl", "xxd") if shutil.which(tool) is None]:
        pytest.skip(f"the page uses {missing}, which this machine has not")
    with_verifier, with_energy, with_openssl = blocks()
    (tmp_path / "lines").write_text(json.dumps(ENTRY) + "\n", encoding="utf-8")
    run("energy ledger append lines", folder=tmp_path)
    log = tmp_path / "home" / "ledger" / "log"
    key = (tmp_path / "home" / "ledger" / "keys" / "verifier.key").read_text("utf-8").strip()

    published = with_energy.replace("--log FOLDER", f"--log {log}").replace("--key KEY", f"--key '{key}'")
    said = run(published.replace(" DIR", " shared"), folder=tmp_path)
    assert "1 entries of" in said

    shutil.copy(verifier.__file__, tmp_path / "verifier.py")
    checked = with_verifier.replace("CHECKPOINT_THAT_YOU_KEPT", "kept").replace("FOLDER", str(log))
    checked = checked.replace("PROOF_FILE", "shared/proof.txt").replace("ENTRY_FILE", "shared/entry.json")
    run(checked.replace("KEY", f"'{key}'"), folder=tmp_path)

    shutil.copy(log / "checkpoint", tmp_path / "checkpoint")
    signature = with_openssl.replace("name+hash+base64", key)
    assert "Signature Verified Successfully" in run(signature, folder=tmp_path)

    changed = (tmp_path / "shared" / "entry.json").read_text("utf-8").replace("[1,2,3]", "[1,2,4]")
    (tmp_path / "shared" / "entry.json").write_text(changed, encoding="utf-8")
    (last,) = [line for line in checked.splitlines() if " proof " in line]
    run(last.replace("KEY", f"'{key}'"), folder=tmp_path, expect=1)
