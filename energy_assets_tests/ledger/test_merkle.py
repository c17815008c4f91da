"""RFC 6962 trees: published vectors, every size and place, every flipped bit, and two implementations that agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.ledger import verifier
from energy_assets.ledger.merkle import (
    EMPTY_ROOT,
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
    range_root,
    subtrees_of,
    tree_root,
)
from energy_assets_tests.ledger.rewriting import rewritings_found

ENTRIES = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
SECOND = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
THIRD_AND_FOURTH = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
LAST_FOUR = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
FIFTH = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
LAST_TWO = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
FIFTH_AND_SIXTH = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert tree_root(LEAVES[:size]).hex() == ROOTS[size]
    assert verifier.root_of(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        pytest.param(0, 1, [], id="alone"),
        pytest.param(0, 8, [SECOND, THIRD_AND_FOURTH, LAST_FOUR], id="first of 8"),
        pytest.param(5, 8, [FIFTH, LAST_TWO, ROOTS[4]], id="sixth of 8"),
        pytest.param(2, 3, [ROOTS[2]], id="last of 3"),
        pytest.param(1, 5, [ROOTS[1], THIRD_AND_FOURTH, FIFTH], id="second of 5"),
    ],
)
def test_published_audit_paths(index: int, size: int, path: list[str]) -> None:
    proof = inclusion_proof(subtrees_of(LEAVES[:size]), index=index, size=size)
    assert [item.hex() for item in proof] == path


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        pytest.param(1, 1, [], id="nothing new"),
        pytest.param(1, 8, [SECOND, THIRD_AND_FOURTH, LAST_FOUR], id="1 to 8"),
        pytest.param(6, 8, [FIFTH_AND_SIXTH, LAST_TWO, ROOTS[4]], id="6 to 8"),
        pytest.param(2, 5, [THIRD_AND_FOURTH, FIFTH], id="2 to 5"),
    ],
)
def test_published_consistency_proofs(old: int, new: int, path: list[str]) -> None:
    proof = consistency_proof(subtrees_of(LEAVES[:new]), old=old, new=new)
    assert [item.hex() for item in proof] == path


# The tree of seven leaves in RFC 6962, 2.1.3, by the letters that it has there.
A, B, C, D, E, F, J = LEAVES[:7]
G, H, I = verifier.node_hash(A, B), verifier.node_hash(C, D), verifier.node_hash(E, F)  # noqa: E741  its letter there
K, L = verifier.node_hash(G, H), verifier.node_hash(I, J)


@pytest.mark.parametrize(
    ("index", "path"),
    [
        pytest.param(0, [B, H, L], id="d0"),
        pytest.param(3, [C, G, L], id="d3"),
        pytest.param(4, [F, J, K], id="d4"),
        pytest.param(6, [I, K], id="d6"),
    ],
)
def test_the_audit_paths_of_the_specification(index: int, path: list[bytes]) -> None:
    assert inclusion_proof(subtrees_of(LEAVES[:7]), index=index, size=7) == path
    assert verifier.root_from_path(LEAVES[index], index, 7, path) == verifier.node_hash(K, L)


@pytest.mark.parametrize(
    ("old", "path"),
    [
        pytest.param(3, [C, D, G, L], id="hash0"),
        pytest.param(4, [L], id="hash1"),
        pytest.param(6, [I, J, K], id="hash2"),
    ],
)
def test_the_consistency_proofs_of_the_specification(old: int, path: list[bytes]) -> None:
    assert consistency_proof(subtrees_of(LEAVES[:7]), old=old, new=7) == path


def specified_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, over leaf hashes, word by word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    k = next(1 << power for power in range(32) if 1 << power < len(leaves) <= 2 << power)
    return verifier.node_hash(specified_root(leaves[:k]), specified_root(leaves[k:]))


def specified_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = next(1 << power for power in range(32) if 1 << power < len(leaves) <= 2 << power)
    if index < k:
        return [*specified_path(index, leaves[:k]), specified_root(leaves[k:])]
    return [*specified_path(index - k, leaves[k:]), specified_root(leaves[:k])]


def specified_proof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if old == len(leaves):
        return [] if whole else [specified_root(leaves)]
    k = next(1 << power for power in range(32) if 1 << power < len(leaves) <= 2 << power)
    if old <= k:
        return [*specified_proof(old, leaves[:k], whole=whole), specified_root(leaves[k:])]
    return [*specified_proof(old - k, leaves[k:], whole=False), specified_root(leaves[:k])]


@pytest.mark.parametrize("size", range(1, 34))
def test_every_proof_is_that_of_the_definitions(size: int) -> None:
    leaves = [leaf_hash(bytes([i])) for i in range(size)]
    read = subtrees_of(leaves)
    assert tree_root(leaves) == verifier.root_of(leaves) == specified_root(leaves)
    for place in range(size):
        assert inclusion_proof(read, index=place, size=size) == specified_path(place, leaves)
        assert consistency_proof(read, old=place + 1, new=size) == specified_proof(place + 1, leaves, whole=True)


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_place_of_every_size_is_proven_and_a_flipped_bit_of_any_part_fails() -> None:
    """Sizes to 300, every place, in two implementations; of each part of a proof one bit, a different one each time.

    `bench/ledger.py proofs` flips all bits.
    """
    leaves = [leaf_hash(i.to_bytes(2, "big")) for i in range(300)]
    turn = 0
    for size in range(1, 301):
        root, read = tree_root(leaves[:size]), subtrees_of(leaves[:size])
        for index in range(size):
            proof = inclusion_proof(read, index=index, size=size)
            assert inclusion_holds(leaf=leaves[index], index=index, size=size, root=root, proof=proof)
            assert verifier.root_from_path(leaves[index], index, size, proof) == root
            turn += 1
            part = turn % (len(proof) + 1)
            parts = [leaves[index], *proof]
            parts[part] = flipped(parts[part], turn % 256)
            assert not inclusion_holds(leaf=parts[0], index=index, size=size, root=root, proof=parts[1:])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 31, 64, 100])
def test_every_flipped_bit_fails(size: int) -> None:
    leaves = [leaf_hash(bytes([i])) for i in range(size)]
    root, read = tree_root(leaves), subtrees_of(leaves)
    middle = size // 2
    proof = inclusion_proof(read, index=middle, size=size)
    whole = b"".join([leaves[middle], root, *proof])
    for bit in range(len(whole) * 8):
        raw = flipped(whole, bit)
        parts = [raw[i : i + 32] for i in range(0, len(raw), 32)]
        assert not inclusion_holds(leaf=parts[0], index=middle, size=size, root=parts[1], proof=parts[2:])


def test_ten_thousand_rewritings_by_the_owner_are_all_found() -> None:
    found = rewritings_found(10_000, seed=6)
    assert sum(found.values()) == 10_000
    assert min(found.values()) > 1_500


@given(sizes=st.tuples(st.integers(0, 300), st.integers(0, 300)), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_tree_extends_only_its_own_past(sizes: tuple[int, int], data: st.DataObject) -> None:
    old, new = sorted(sizes)
    leaves = [leaf_hash(i.to_bytes(2, "big")) for i in range(new)]
    old_root, new_root = tree_root(leaves[:old]), tree_root(leaves)
    proof = consistency_proof(subtrees_of(leaves), old=old, new=new)
    assert consistency_holds(old=old, new=new, old_root=old_root, new_root=new_root, proof=proof)
    assert range_root(subtrees_of(leaves), start=0, end=new) == new_root
    if old:
        place = data.draw(st.integers(0, old - 1))
        rewritten = [*leaves[:place], leaf_hash(b"another"), *leaves[place + 1 :]]
        forged = consistency_proof(subtrees_of(rewritten), old=old, new=new)
        assert not consistency_holds(old=old, new=new, old_root=old_root, new_root=tree_root(rewritten), proof=forged)
    assert not consistency_holds(old=old, new=new, old_root=old_root, new_root=new_root, proof=[*proof, EMPTY_ROOT])
    if proof:
        assert not consistency_holds(old=old, new=new, old_root=old_root, new_root=new_root, proof=proof[:-1])


@pytest.mark.parametrize(
    ("index", "size"), [pytest.param(3, 3, id="past the end"), pytest.param(-1, 3, id="before the start")]
)
def test_places_outside_the_tree_are_refused(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_proof(subtrees_of(LEAVES[:size]), index=index, size=size)
    assert not inclusion_holds(leaf=LEAVES[0], index=index, size=size, root=tree_root(LEAVES[:3]), proof=[])
