"""Speed and strength of the ledger.

python bench/ledger.py speed [ENTRIES]      appends, proofs, verification
python bench/ledger.py proofs               every place of every size to 300, every flipped bit
python bench/ledger.py tamper [ATTEMPTS]    random rewritings by the owner against an older checkpoint
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from energy_assets.ledger import verifier
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.merkle import (
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
    subtrees_of,
    tree_root,
)
from energy_assets.ledger.notes import Signer


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
    checked = flipped = 0
    leaves = [leaf_hash(i.to_bytes(2, "big")) for i in range(300)]
    for size in range(1, 301):
        root, read = tree_root(leaves[:size]), subtrees_of(leaves[:size])
        for index in range(size):
            proof = inclusion_proof(read, index=index, size=size)
            assert inclusion_holds(leaf=leaves[index], index=index, size=size, root=root, proof=proof)
            assert verifier.root_from_path(leaves[index], index, size, proof) == root
            checked += 1
            whole = int.from_bytes(b"".join([leaves[index], *proof]), "big")
            length = 32 * (1 + len(proof))
            for bit in range(length * 8) if size in (1, 2, 3, 7, 64, 100, 255, 300) else (size * 31 + index,):
                raw = (whole ^ 1 << bit % (length * 8)).to_bytes(length, "big")
                parts = [raw[i : i + 32] for i in range(0, length, 32)]
                assert not inclusion_holds(leaf=parts[0], index=index, size=size, root=root, proof=parts[1:])
                flipped += 1
    print(
        f"{checked} proofs of all places in trees to 300 hold in two implementations; {flipped} flipped bits all fail"
    )


def tamper(attempts: int) -> None:
    chance = random.Random(20)
    found = dict.fromkeys(("edit", "delete", "reorder", "insert", "truncate", "fork"), 0)
    for attempt in range(attempts):
        kind = chance.choice(list(found))
        old = chance.randrange(2, 200)
        entries = [attempt.to_bytes(4, "big") + i.to_bytes(4, "big") for i in range(old + chance.randrange(1, 60))]
        trusted = tree_root([leaf_hash(entry) for entry in entries[:old]])
        place, other = chance.sample(range(old), 2)
        forged = list(entries)
        if kind == "edit":
            changed = bytearray(forged[place])
            changed[chance.randrange(8)] ^= 1 << chance.randrange(8)
            forged[place] = bytes(changed)
        elif kind == "delete":
            del forged[place]
        elif kind == "reorder":
            forged[place], forged[other] = forged[other], forged[place]
        elif kind == "insert":
            forged.insert(place, b"inserted")
        elif kind == "truncate":
            forged = forged[:place]
        else:
            forged = [*forged[:place], *(b"fork" + entry for entry in forged[place:])]
        leaves = [leaf_hash(entry) for entry in forged]
        new, root = len(leaves), tree_root(leaves)
        best = consistency_proof(subtrees_of(leaves), old=old, new=new) if new >= old else []
        by_witness = not consistency_holds(old=old, new=new, old_root=trusted, new_root=root, proof=best)
        by_reader = new < old or tree_root(leaves[:old]) != trusted
        assert by_witness, (kind, old, place)
        assert by_reader, (kind, old, place)
        found[kind] += 1
    print(f"{sum(found.values())} of {attempts} rewritings found by witness and by reader: {found}")


if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 1 else "speed"
    if command == "speed":
        speed(int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
    elif command == "proofs":
        proofs()
    else:
        tamper(int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
