"""RFC 6962 hash trees: leaves, nodes, roots, inclusion and consistency proofs, and their verification.

Proofs are made from a reader of complete subtrees, so that a tree of any size is never held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

SubtreeReader = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree at (level, index): leaves index * 2**level and the 2**level - 1 after."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, folding a stack of complete subtrees."""
    if not hashes:
        return EMPTY_ROOT
    stack: list[bytes] = []
    for count, leaf in enumerate(hashes):
        stack.append(leaf)
        while count & 1:
            right = stack.pop()
            stack.append(node_hash(stack.pop(), right))
            count >>= 1  # noqa: PLW2901  the trailing ones of the count are the merges that are due
    root = stack.pop()
    while stack:
        root = node_hash(stack.pop(), root)
    return root


def subtrees_of(hashes: Sequence[bytes]) -> SubtreeReader:
    """Return a reader over leaf hashes in memory; every complete subtree is hashed once."""
    levels: list[Sequence[bytes]] = [hashes]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])

    def read(level: int, index: int) -> bytes:
        return levels[level][index]

    return read


def range_root(read: SubtreeReader, *, start: int, end: int) -> bytes:
    """Return the root of leaves [start, end), where start is a multiple of the next power of two of the length."""
    size = end - start
    if size == 0:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(size)
    return node_hash(range_root(read, start=start, end=middle), range_root(read, start=middle, end=end))


def inclusion_proof(read: SubtreeReader, *, index: int, size: int) -> list[bytes]:
    """Return the audit path of a leaf in the tree of `size` leaves, from the leaf upwards (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(read, start=middle, end=end))
            end = middle
        else:
            path.append(range_root(read, start=start, end=middle))
            start = middle
    return path[::-1]


def consistency_proof(read: SubtreeReader, *, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of `new` leaves extends that of `old` (RFC 6962, 2.1.2)."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} cannot extend one of {old}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_root(read, start=middle, end=end))
            end = middle
        else:
            path.append(range_root(read, start=start, end=middle))
            start, whole = middle, False
    if not whole:
        path.append(range_root(read, start=start, end=end))
    return path[::-1]


def inclusion_holds(*, leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Judge whether a leaf hash is at `index` of the tree with this size and root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            current = node_hash(sibling, current)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and current == root


def consistency_holds(*, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Judge whether the tree of `new` leaves extends that of `old` (RFC 9162, 2.1.4.2)."""
    if old < 0 or old > new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
