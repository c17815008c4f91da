"""Writers that are killed in the middle of an append: at a line of Python, or at whatever the processor is at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from energy_assets_tests.ledger.logs import filled

KILLED_AT_LINES = """
import os, shutil, signal, sys
from pathlib import Path
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.notes import Signer

base, folder, stride = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
signer = Signer(name="example.org/log", algorithm=1, seed=bytes(range(32)))
entries = [
    {"type": "price_curve", "zone": f"z{i}", "date": "2026-06-01", "revision": 0, "text": ""} for i in range(254, 259)
]
trusted = Ledger(base, verifier=signer.verifier).checkpoint()
kills, old, fatal = 0, 0, 0
while True:
    shutil.copytree(base, folder)
    child = os.fork()
    if child == 0:
        left = [fatal]
        def trace(frame, event, _):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return trace
        ledger = Ledger(folder, verifier=signer.verifier, signer=signer)
        sys.settrace(trace)
        ledger.append(entries)
        sys.settrace(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ledger = Ledger(folder, verifier=signer.verifier, signer=signer)
    found = ledger.verify(trusted=trusted)
    assert found.is_sound, (fatal, found.problems)
    assert found.checkpoint.size in (254, 259), fatal
    old += found.checkpoint.size == 254
    assert ledger.append(entries) == [254, 255, 256, 257, 258], fatal
    assert ledger.verify(trusted=trusted).is_sound, fatal
    shutil.rmtree(folder)
    if os.WIFEXITED(status):
        print(kills, old)
        sys.exit(os.WEXITSTATUS(status))
    kills, fatal = kills + 1, fatal + stride
"""


KILLED_AT_RANDOM = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.notes import Signer

base, folder, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
signer = Signer(name="example.org/log", algorithm=1, seed=bytes(range(32)))
entries = [
    {"type": "price_curve", "zone": f"z{i}", "date": "2026-06-01", "revision": 0, "text": ""} for i in range(254, 259)
]
trusted, chance = Ledger(base, verifier=signer.verifier).checkpoint(), random.Random(seed)

def appended(after):
    shutil.copytree(base, folder)
    begins, begun = os.pipe()
    child = os.fork()
    if child == 0:
        ledger = Ledger(folder, verifier=signer.verifier, signer=signer)
        os.write(begun, b"x")
        ledger.append(entries)
        os.write(begun, b"x")
        os._exit(0)
    os.close(begun)
    os.read(begins, 1)
    started = time.perf_counter()
    if after is None:
        os.read(begins, 1)
    else:
        while time.perf_counter() - started < after:
            pass
        os.kill(child, signal.SIGKILL)
    spent = time.perf_counter() - started
    _, status = os.waitpid(child, 0)
    os.close(begins)
    return spent, os.WIFSIGNALED(status)

usual = []
for _ in range(5):
    usual.append(appended(None)[0])
    shutil.rmtree(folder)
found = {"unsigned": 0, "signed": 0, "ended": 0}
for kill in range(kills):
    _, killed = appended(chance.uniform(0, sorted(usual)[2]))
    ledger = Ledger(folder, verifier=signer.verifier, signer=signer)
    read = ledger.verify(trusted=trusted)
    assert read.is_sound, (kill, read.problems)
    assert read.checkpoint.size in (254, 259), kill
    found["ended" if not killed else "unsigned" if read.checkpoint.size == 254 else "signed"] += 1
    assert ledger.append(entries) == [254, 255, 256, 257, 258], kill
    assert ledger.verify(trusted=trusted).is_sound, kill
    shutil.rmtree(folder)
print(*found.values())
"""


def killed_at_random(tmp_path: Path, *, kills: int, seed: int) -> tuple[int, int, int]:
    """Kill a writer so many times at a random instant of an append; return those before, after the signature, late."""
    base = tmp_path / "base"
    filled(base, size=254)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_RANDOM, str(base), str(tmp_path / "out"), str(kills), str(seed)],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    unsigned, signed, ended = map(int, done.stdout.split())
    return unsigned, signed, ended


def killed_at_lines(tmp_path: Path, *, stride: int) -> tuple[int, int]:
    """Kill a writer at every `stride`-th line of an append that fills a tile; return the kills, and those unsigned."""
    base = tmp_path / "base"
    filled(base, size=254)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_LINES, str(base), str(tmp_path / "out"), str(stride)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    kills, old = done.stdout.split()
    return int(kills), int(old)
