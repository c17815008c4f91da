"""A writer that is killed leaves a log that verifies, and that takes the append again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from energy_assets.ledger.log import Ledger
from energy_assets_tests.ledger.killing import killed_at_lines, killed_at_random
from energy_assets_tests.ledger.logs import SIGNER, entry, filled

CRASHER = """
import os, shutil, signal, sys
from pathlib import Path
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.notes import Signer

base, out, first, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
signer = Signer(name="example.org/log", algorithm=1, seed=bytes(range(32)))
entries = [
    {"type": "price_curve", "zone": f"z{i}", "date": "2026-06-01", "revision": 0, "text": ""}
    for i in range(first, first + count)
]
for fatal in range(1000):
    folder = out / str(fatal)
    shutil.copytree(base, folder)
    child = os.fork()
    if child == 0:
        left = [fatal]
        def step(_):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        Ledger(folder, verifier=signer.verifier, signer=signer, on_step=step).append(entries)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        sys.exit(os.WEXITSTATUS(status))
"""


def test_a_writer_killed_at_any_instant_leaves_a_log(tmp_path: Path) -> None:
    """Whatever instruction that is, also inside of a system call; `bench/ledger.py kill` takes a thousand."""
    unsigned, signed, ended = killed_at_random(tmp_path, kills=15, seed=1)
    assert unsigned + signed + ended == 15
    assert unsigned > 0


def test_a_writer_killed_at_any_line_leaves_a_log(tmp_path: Path) -> None:
    """Every 211th line of Python that an append runs; `bench/ledger.py kill` takes every one."""
    kills, old = killed_at_lines(tmp_path, stride=211)
    assert kills > 20
    assert 5 < old < kills


def test_a_writer_killed_at_any_step_leaves_a_log(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    filled(base, size=200)
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CRASHER, str(base), str(out), "200", "350"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    sizes = []
    for folder in sorted(out.iterdir(), key=lambda path: int(path.name)):
        ledger = Ledger(folder, verifier=SIGNER.verifier, signer=SIGNER)
        assert ledger.verify(trusted=Ledger(base, verifier=SIGNER.verifier).checkpoint()).problems == ()
        sizes.append(ledger.checkpoint().size)
        # another batch than the one that was cut short takes its place
        assert ledger.append([entry(900), *(entry(i) for i in range(200, 550))])[0] in (200, 550)
        assert ledger.verify().problems == ()
        shutil.rmtree(folder)
    assert set(sizes) == {200, 550}
    assert len(sizes) > 25
    assert sizes == sorted(sizes)
