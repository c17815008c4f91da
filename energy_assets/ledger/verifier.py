#!/usr/bin/env python3
"""Verifies a ledger, or one proof from it, on any machine with Python 3.9 or newer: nothing else is needed.

This file shares no code with the package that writes the ledger. Take a copy of it, read it, and run
    python verifier.py log FOLDER KEY [--trusted OLD_CHECKPOINT]
    python verifier.py proof PROOF_FILE KEY ENTRY_FILE
    python verifier.py statement FOLDER KEY
where KEY is the log's verifier key (name+hash+base64) and FOLDER has a household's statement.json, opening.txt,
entry.json and proof.txt. With --witness KEY the checkpoint must bear that witness's cosignature as well. It exits with
0 when everything holds, with 1 when not.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
TWIST = -121665 * pow(121666, PRIME - 2, PRIME) % PRIME
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)
TILE_WIDTH = 256
SIGNATURE_START = "\u2014 "
Point = tuple[int, int, int, int]  # extended coordinates


class Unsound(Exception):  # noqa: N818  it is a verdict
    """What was checked does not hold."""


def recover_x(y: int, sign: int) -> int | None:
    """Return the x of a point of edwards25519 (RFC 8032, 5.1.3), or None where there is none."""
    if y >= PRIME:
        return None
    squared = (y * y - 1) * pow(TWIST * y * y + 1, PRIME - 2, PRIME) % PRIME
    if squared == 0:
        return None if sign else 0
    x = pow(squared, (PRIME + 3) // 8, PRIME)
    if (x * x - squared) % PRIME:
        x = x * ROOT_OF_MINUS_ONE % PRIME
    if (x * x - squared) % PRIME:
        return None
    return PRIME - x if x & 1 != sign else x


def decompress(raw: bytes) -> Point | None:
    """Return the point that 32 bytes stand for, or None where there is none."""
    number = int.from_bytes(raw, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % PRIME)


def add(p: Point, q: Point) -> Point:
    """Return the sum of two points (RFC 8032, 5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % PRIME, (p[1] + p[0]) * (q[1] + q[0]) % PRIME
    c, d = 2 * p[3] * q[3] * TWIST % PRIME, 2 * p[2] * q[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def multiply(scalar: int, p: Point) -> Point:
    """Return a point times a number."""
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = add(total, p)
        p, scalar = add(p, p), scalar >> 1
    return total


def base_point() -> Point:
    """Return the generator of edwards25519."""
    y = 4 * pow(5, PRIME - 2, PRIME) % PRIME
    x = recover_x(y, 0)
    assert x is not None
    return x, y, 1, x * y % PRIME


def ed25519_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Judge an Ed25519 signature (RFC 8032, 5.1.7)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, commitment = decompress(public), decompress(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    left, right = multiply(scalar, base_point()), add(commitment, multiply(challenge, key))
    same_x = (left[0] * right[2] - right[0] * left[2]) % PRIME == 0
    return same_x and (left[1] * right[2] - right[1] * left[2]) % PRIME == 0


def from_base64(text: str) -> bytes:
    """Return the bytes that a text stands for; only the one text that stands for them will do (RFC 4648, 3.5)."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not the base64 of its bytes")
    return raw


def key_parts(key: str) -> tuple[str, bytes, bytes]:
    """Return name, identifier and material (algorithm byte, public key) of a verifier key."""
    try:
        name, key_hash, encoded = key.strip().split("+", 2)
        material = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise Unsound(f"the key is malformed: {error}") from error
    key_id = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    if key_id.hex() != key_hash:
        raise Unsound("the key is damaged")
    return name, key_id, material


def signatures_by(note: str, name: str, key_id: bytes) -> list[bytes]:
    """Return what follows the key's identifier on the signature lines of a key."""
    found = []
    for line in note.rpartition("\n\n")[2].splitlines():
        start, _, encoded = line.rpartition(" ")
        if start != SIGNATURE_START + name:
            continue
        try:
            raw = from_base64(encoded)
        except ValueError:
            continue
        if raw[:4] == key_id:
            found.append(raw[4:])
    return found


def open_note(note: str, key: str) -> tuple[int, bytes]:
    """Return size and root of a checkpoint, after checking that the key signed it."""
    name, key_id, material = key_parts(key)
    body = note.rpartition("\n\n")[0] + "\n"
    try:
        origin, size_text, root_text = body.split("\n")[:3]
        size, root = int(size_text), base64.b64decode(root_text, validate=True)
    except ValueError as error:
        raise Unsound(f"the checkpoint is malformed: {error}") from error
    if material[:1] != b"\x01" or origin != name or len(root) != 32 or size < 0:
        raise Unsound("the key is no log's, or the checkpoint is of another log")
    if not any(ed25519_holds(material[1:], body.encode(), raw) for raw in signatures_by(note, name, key_id)):
        raise Unsound(f"the checkpoint is not signed by {name}")
    return size, root


def check_witness(note: str, key: str) -> None:
    """Check that a witness cosigned a checkpoint (C2SP tlog-cosignature)."""
    name, key_id, material = key_parts(key)
    body = note.rpartition("\n\n")[0] + "\n"
    for raw in signatures_by(note, name, key_id):
        seconds = int.from_bytes(raw[:8], "big")
        message = f"cosignature/v1\ntime {seconds}\n{body}".encode()
        if material[:1] == b"\x04" and ed25519_holds(material[1:], message, raw[8:]):
            return
    raise Unsound(f"the checkpoint is not cosigned by {name}")


def leaf_hash(entry: bytes) -> bytes:
    """Return the RFC 6962 hash of a leaf."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the RFC 6962 hash of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """Return the RFC 6962 root over leaf hashes, level by level; a last odd node moves up as it is."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    while len(hashes) > 1:
        pairs = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(hashes) & ~1 :]
    return hashes[0]


def root_from_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that an audit path leads to, walking down from the whole tree."""
    if size == 1:
        if path:
            raise Unsound("the proof is longer than the tree is high")
        return leaf
    if not path:
        raise Unsound("the proof is shorter than the tree is high")
    middle = 1 << (size - 1).bit_length() - 1
    if index < middle:
        return node_hash(root_from_path(leaf, index, middle, path[:-1]), path[-1])
    return node_hash(path[-1], root_from_path(leaf, index - middle, size - middle, path[:-1]))


def tile_file(folder: Path, kind: str, number: int, width: int) -> bytes:
    """Return the bytes of a tile, whole or partial."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    whole = folder.joinpath("tile", kind, *groups)
    for path in (whole, whole.with_name(whole.name + ".p") / str(width)):
        if path.is_file():
            return path.read_bytes()
    raise Unsound(f"{whole} is absent")


def read_entries(folder: Path, size: int) -> list[bytes]:
    """Return the first `size` entries of a log."""
    entries: list[bytes] = []
    for first in range(0, size, TILE_WIDTH):
        width = min(TILE_WIDTH, size - first)
        raw, place, found = tile_file(folder, "entries", first // TILE_WIDTH, width), 0, 0
        while found < width:
            length = int.from_bytes(raw[place : place + 2], "big")
            entry = raw[place + 2 : place + 2 + length]
            if place + 2 + length > len(raw):
                raise Unsound(f"the bundle of entries from {first} is cut off")
            entries.append(entry)
            place, found = place + 2 + length, found + 1
    return entries


def check_tiles(folder: Path, leaves: list[bytes]) -> None:
    """Check every hash tile against the leaves."""
    level, hashes = 0, leaves
    while hashes:
        chunks = [hashes[i : i + TILE_WIDTH] for i in range(0, len(hashes), TILE_WIDTH)]
        for number, chunk in enumerate(chunks):
            if tile_file(folder, str(level), number, len(chunk))[: 32 * len(chunk)] != b"".join(chunk):
                raise Unsound(f"hash tile {number} of level {level} is not that of the entries")
        level, hashes = level + 1, [root_of(chunk) for chunk in chunks if len(chunk) == TILE_WIDTH]


def check_log(folder: Path, key: str, trusted: str | None) -> str:
    """Check a whole log, also against an older checkpoint; return what was found."""
    try:
        note = (folder / "checkpoint").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unsound(f"the checkpoint cannot be read: {error}") from error
    size, root = open_note(note, key)
    leaves = [leaf_hash(entry) for entry in read_entries(folder, size)]
    if root_of(leaves) != root:
        raise Unsound("the entries do not have the signed root")
    check_tiles(folder, leaves)
    if trusted is not None:
        old_size, old_root = open_note(trusted, key)
        if old_size > size:
            raise Unsound(f"the log was cut from {old_size} to {size} entries")
        if root_of(leaves[:old_size]) != old_root:
            raise Unsound(f"the first {old_size} entries were changed since the trusted checkpoint")
    return f"{size} entries hold, root {root.hex()}"


def check_proof(proof: str, key: str, entry: bytes, witnesses: tuple[str, ...] = ()) -> str:
    """Check one proof file against an entry; return what was found."""
    head, _, note = proof.partition("\n\n")
    lines = head.split("\n")
    try:
        if lines.pop(0) != "c2sp.org/tlog-proof@v1":
            raise Unsound("this is no c2sp.org/tlog-proof@v1 file")
        if lines[0].startswith("extra "):
            lines.pop(0)
        word, index_text = lines.pop(0).split(" ")
        index, path = int(index_text), [from_base64(line) for line in lines]
    except (ValueError, IndexError) as error:
        raise Unsound(f"the proof is malformed: {error}") from error
    size, root = open_note(note, key)
    for witness in witnesses:
        check_witness(note, witness)
    well_formed = word == "index" and index_text == str(index) and all(len(item) == 32 for item in path)
    if not (well_formed and 0 <= index < size) or root_from_path(leaf_hash(entry), index, size, path) != root:
        raise Unsound("the entry is not in the log at that place")
    return f"the entry is number {index} of {size}, root {root.hex()}"


def check_opening(opening: str, statement: bytes, entry: bytes) -> str:
    """Check that a household's statement is under the settlement root of an entry; return what was found."""
    try:
        header, salt_line, index_line, size_line, *lines = opening.split("\n")[:-1]
        salt, path = from_base64(salt_line[5:]), [from_base64(line) for line in lines]
        index, size = int(index_line[6:]), int(size_line[5:])
        read = [header, f"salt {salt_line[5:]}", f"index {index}", f"size {size}", *lines, ""]
        said, logged = json.loads(statement), json.loads(entry)
        root = bytes.fromhex(logged["root_sha256"])
        named = [said["zone_id"], said["period_start"]]
        total = f"{said['total_amount'] / said['amount_units_per_currency']:.2f} {said['currency_code']}"
    except (ValueError, KeyError, TypeError) as error:
        raise Unsound(f"the opening, the statement or the entry is malformed: {error}") from error
    hashes_fit = len(salt) == 32 and all(len(item) == 32 for item in path)
    well_formed = header == "energy_assets/statement-opening@v1" and "\n".join(read) == opening
    if not (well_formed and hashes_fit and 0 <= index < size):
        raise Unsound("the opening is malformed")
    if [logged["type"], logged["zone"], logged["date"]] != ["settlement_root", *named] or logged["statements"] != size:
        raise Unsound("the entry is not the settlement of the statement's zone and period")
    if root_from_path(leaf_hash(salt + statement), index, size, path) != root:
        raise Unsound("the statement is not among those that were settled")
    return f"{said['premise_id']} pays {total} for {said['period_start'][:7]}, as settled and logged"


def check_statement(folder: Path, key: str, witnesses: tuple[str, ...]) -> str:
    """Check a household's four files; return what was found."""
    statement, entry = (folder / "statement.json").read_bytes(), (folder / "entry.json").read_bytes()
    found = check_opening((folder / "opening.txt").read_text(encoding="utf-8"), statement, entry)
    return f"{found}; {check_proof((folder / 'proof.txt').read_text(encoding='utf-8'), key, entry, witnesses)}"


def main(arguments: list[str]) -> int:
    """Run a check; return 0 when it holds."""
    parser = argparse.ArgumentParser(description="Verify a ledger or a proof from it.")
    commands = parser.add_subparsers(dest="command", required=True)
    log = commands.add_parser("log", help="check a whole log folder")
    log.add_argument("folder", type=Path)
    log.add_argument("key", help="verifier key name+hash+base64")
    log.add_argument("--trusted", type=Path, help="older checkpoint that you kept")
    proof = commands.add_parser("proof", help="check one proof file")
    proof.add_argument("proof", type=Path)
    proof.add_argument("key", help="verifier key name+hash+base64")
    proof.add_argument("entry", type=Path, help="the entry, byte for byte")
    statement = commands.add_parser("statement", help="check a household's statement")
    statement.add_argument("folder", type=Path, help="has statement.json, opening.txt, entry.json, proof.txt")
    statement.add_argument("key", help="verifier key name+hash+base64")
    for command in (proof, statement):
        command.add_argument("--witness", action="append", default=[], help="verifier key of a witness")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "log":
            trusted = None if chosen.trusted is None else chosen.trusted.read_text(encoding="utf-8")
            found = check_log(chosen.folder, chosen.key, trusted)
        elif chosen.command == "proof":
            proof_text, entry = chosen.proof.read_text(encoding="utf-8"), chosen.entry.read_bytes()
            found = check_proof(proof_text, chosen.key, entry, tuple(chosen.witness))
        else:
            found = check_statement(chosen.folder, chosen.key, tuple(chosen.witness))
    except (Unsound, OSError, UnicodeDecodeError) as error:
        sys.stdout.write(f"DOES NOT HOLD: {error}\n")
        return 1
    sys.stdout.write(f"HOLDS: {found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
