"""Random rewritings of a log by its owner, who has the key, against an older checkpoint that somebody kept."""

from __future__ import annotations

import random

from energy_assets.ledger.merkle import consistency_holds, consistency_proof, leaf_hash, subtrees_of, tree_root

KINDS = ("edit", "delete", "reorder", "insert", "truncate", "fork")


def rewritings_found(attempts: int, *, seed: int) -> dict[str, int]:
    """Return how many rewritings of each kind both a witness and a reader of the log found; the others raise."""
    chance = random.Random(seed)
    found = dict.fromkeys(KINDS, 0)
    for attempt in range(attempts):
        kind = chance.choice(KINDS)
        old = chance.randrange(2, 200)
        entries = [attempt.to_bytes(4, "big") + i.to_bytes(4, "big") for i in range(old + chance.randrange(1, 60))]
        trusted = tree_root([leaf_hash(entry) for entry in entries[:old]])
        leaves = [leaf_hash(entry) for entry in _rewritten(entries, kind=kind, before=old, chance=chance)]
        new, root = len(leaves), tree_root(leaves)
        # the best proof that an owner can make of the rewritten log
        proof = consistency_proof(subtrees_of(leaves), old=old, new=new) if new >= old else []
        by_witness = not consistency_holds(old=old, new=new, old_root=trusted, new_root=root, proof=proof)
        by_reader = new < old or tree_root(leaves[:old]) != trusted
        assert by_witness, (kind, old, attempt)
        assert by_reader, (kind, old, attempt)
        found[kind] += 1
    return found


def _rewritten(entries: list[bytes], *, kind: str, before: int, chance: random.Random) -> list[bytes]:
    place, other = chance.sample(range(before), 2)
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
    return forged
