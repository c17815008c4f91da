"""Speed and strength of the ledger.

python bench/ledger.py speed [ENTRIES]      appends, proofs, verification
python bench/ledger.py proofs               every place of every size to 300, every flipped bit
python bench/ledger.py tamper [ATTEMPTS]    random rewritings by the owner against an older checkpoint
python bench/ledger.py kill                 a writer killed at every line of Python that an append runs
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from energy_assets.ledger import verifier
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.merkle import (
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
    subtrees_of,
    tree_root,
)
from energy_assets.ledger.notes import Signer
from energy_assets_tests.ledger.rewriting import rewritings_found
from energy_assets_tests.ledger.test_log import killed_at_lines


def speed(entries: int) -> None:
    signer = Signer.generate("bench.example/log")
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.create(Path(folder), signer=signer)
        start = time.perf_counter()
        for first in range(0, entries, 10_000):
            ledger.append(
                [
                    {"type": "price_curve", "zone": f"z{i % 1000}", "date": "2026-01-01", "revision": i, "v": [i, 2]}
                    for i in range(first, min(first + 10_000, entries))
                ]
            )
        spent = time.perf_counter() - start
        print(f"append {entries} entries: {spent:.1f} s, {entries / spent:,.0f} a second (target 20,000)")
        chance = random.Random(1)
        places = [chance.randrange(entries) for _ in range(500)]
        start = time.perf_counter()
        proofs = [ledger.prove(place) for place in places]
        print(f"prove: {(time.perf_counter() - start) / len(places) * 1e3:.2f} ms each (target 5)")
        for place, proof in list(zip(places, proofs, strict=True))[:20]:
            verifier.check_proof(proof, signer.verifier.text, ledger.entry(place))
        start = time.perf_counter()
        assert ledger.verify().is_sound
        print(f"verify all: {time.perf_counter() - start:.1f} s")


def proofs() -> None:
    """Prove every place of every size to 300 and flip every bit of every proof.

    What a flipped sibling leads to hangs on the size, the sibling and the bit, not on which leaf below it is proven:
    each is flipped once, and so is each leaf.
    """
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        counts = list(pool.map(_proofs_of, range(1, 301), chunksize=5))
    checked, flipped = (sum(column) for column in zip(*counts, strict=True))
    print(
        f"{checked:,} proofs of all places in trees to 300 hold in two implementations; "
        f"{flipped:,} flipped bits all fail"
    )


def _proofs_of(size: int) -> tuple[int, int]:
    leaves = [leaf_hash(i.to_bytes(2, "big")) for i in range(size)]
    root, read = tree_root(leaves), subtrees_of(leaves)
    done: set[bytes] = set()
    flips = 0
    for index in range(size):
        proof = inclusion_proof(read, index=index, size=size)
        assert inclusion_holds(leaf=leaves[index], index=index, size=size, root=root, proof=proof)
        assert verifier.root_from_path(leaves[index], index, size, proof) == root
        parts = [leaves[index], *proof]
        for part in [0, *(place for place in range(1, len(parts)) if parts[place] not in done)]:
            if part:
                done.add(parts[part])
            number = int.from_bytes(parts[part], "big")
            for bit in range(256):
                parts[part] = (number ^ 1 << bit).to_bytes(32, "big")
                assert not inclusion_holds(leaf=parts[0], index=index, size=size, root=root, proof=parts[1:])
            parts[part] = number.to_bytes(32, "big")
            flips += 256
    return size, flips


def tamper(attempts: int) -> None:
    found = rewritings_found(attempts, seed=20)
    print(f"{sum(found.values())} of {attempts} rewritings found by witness and by reader: {found}")


def kill() -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kills, unsigned = killed_at_lines(Path(folder), stride=1)
    print(
        f"{kills:,} kills, one at every line of an append: every log verifies and takes the append again "
        f"({unsigned:,} before, {kills - unsigned:,} after the signature), {time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 1 else "speed"
    if command == "speed":
        speed(int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
    elif command in ("proofs", "kill"):
        {"proofs": proofs, "kill": kill}[command]()
    else:
        tamper(int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
