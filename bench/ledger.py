"""Speed and strength of the ledger.

python bench/ledger.py speed [ENTRIES]      appends, proofs, verification
python bench/ledger.py proofs               every place of every size to 300, every flipped bit
python bench/ledger.py tamper [ATTEMPTS]    random rewritings by the owner against an older checkpoint
python bench/ledger.py kill                 a writer killed at every line of an append, and at 1,000 random instants
"""

from __future__ import annotations

import argparse
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
from energy_assets_tests.ledger.killing import killed_at_lines, killed_at_random
from energy_assets_tests.ledger.rewriting import rewritings_found

RATE_LIMIT, PROOF_LIMIT_MS = 20_000, 5.0


def speed(entries: int) -> bool:
    """Append, prove and verify, and return whether both are as fast as they must be."""
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
        rate = entries / spent
        print(
            f"append {entries:,} entries: {spent:.1f} s, {rate:,.0f} a second, "
            f"{rate / RATE_LIMIT:.2f} of {RATE_LIMIT:,}"
        )
        chance = random.Random(1)
        places = [chance.randrange(entries) for _ in range(500)]
        start = time.perf_counter()
        proofs = [ledger.prove(place) for place in places]
        each_ms = (time.perf_counter() - start) / len(places) * 1e3
        print(f"prove: {each_ms:.2f} ms each, {each_ms / PROOF_LIMIT_MS:.2f} of {PROOF_LIMIT_MS:g} ms")
        for place, proof in list(zip(places, proofs, strict=True))[:20]:
            verifier.check_proof(proof, signer.verifier.text, ledger.entry(place))
        start = time.perf_counter()
        assert ledger.verify().is_sound
        print(f"verify all: {time.perf_counter() - start:.1f} s")
    return rate >= RATE_LIMIT and each_ms <= PROOF_LIMIT_MS


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


def tamper(attempts: int) -> bool:
    """Rewrite a log at random and return whether every attempt was found."""
    start = time.perf_counter()
    found = rewritings_found(attempts, seed=20)
    caught = sum(found.values())
    print(
        f"{caught:,} of {attempts:,} rewritings found by witness and by reader, "
        f"{time.perf_counter() - start:.0f} s: {found}"
    )
    return caught == attempts


def kill() -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kills, unsigned = killed_at_lines(Path(folder), stride=1)
    print(
        f"{kills:,} kills, one at every line of an append: every log verifies and takes the append again "
        f"({unsigned:,} before, {kills - unsigned:,} after the signature), {time.perf_counter() - start:.0f} s"
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        before, after, late = killed_at_random(Path(folder), kills=1000, seed=20)
    print(
        f"{before + after:,} kills at random instants, as the processor comes: the same ({before:,} before, {after:,} "
        f"after the signature; {late:,} came too late), {time.perf_counter() - start:.0f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fast = commands.add_parser("speed", help="appends, proofs, verification")
    fast.add_argument("entries", type=int, nargs="?", default=1_000_000)
    commands.add_parser("proofs", help="every place of every size to 300, every flipped bit")
    rewritten = commands.add_parser("tamper", help="random rewritings against an older checkpoint")
    rewritten.add_argument("attempts", type=int, nargs="?", default=10_000)
    commands.add_parser("kill", help="a writer killed at every line of an append")
    chosen = parser.parse_args()
    if chosen.command == "speed":
        return 0 if speed(chosen.entries) else 1
    if chosen.command == "tamper":
        return 0 if tamper(chosen.attempts) else 1
    {"proofs": proofs, "kill": kill}[chosen.command]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
