"""The files of a log in C2SP tlog-tiles form: hash tiles of 256, bundles of entries, and how each file is replaced.

A file is written beside its place, flushed to disk and renamed, so that a reader sees the old file or the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from energy_assets.errors import LedgerError
from energy_assets.ledger.merkle import HASH_BYTES, SubtreeReader, tree_root

TILE_WIDTH = 256
TILE_LEVELS = 8  # a tile spans this many levels of the tree
LONGEST_ENTRY = 65_535

Step = Callable[[str], None]
"""Called before each change of the file system with what is about to happen."""


def no_step(_: str) -> None:
    """Do nothing between the steps of a write."""


def tile_path(kind: str, *, number: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile below the log's folder; `kind` is a level or `entries`."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    partial = f".p/{width}" if width < TILE_WIDTH else ""
    return f"tile/{kind}/{'/'.join(groups)}{partial}"


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return entries as a bundle: each after its length as 16 bits, big-endian."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(raw: bytes) -> list[bytes]:
    """Return the entries of a bundle.

    Raises:
        LedgerError: the bundle ends inside an entry.
    """
    entries: list[bytes] = []
    place = 0
    while place < len(raw):
        length = int.from_bytes(raw[place : place + 2], "big")
        entry = raw[place + 2 : place + 2 + length]
        if len(entry) != length or place + 2 > len(raw):
            raise LedgerError("A bundle of entries is cut off; restore the log's files from a copy.")
        entries.append(entry)
        place += 2 + length
    return entries


class TileFolder:
    """The tile files of one log."""

    def __init__(self, folder: Path, *, on_step: Step = no_step) -> None:
        self.folder = folder
        self._on_step = on_step

    def read_tile(self, kind: str, *, number: int, width: int) -> bytes:
        """Return a tile that covers `width` entries at least: the whole tile, or the partial one of that width.

        Raises:
            LedgerError: neither file is there.
        """
        for candidate in (TILE_WIDTH, width):
            try:
                return (self.folder / tile_path(kind, number=number, width=candidate)).read_bytes()
            except FileNotFoundError:
                continue
        path = self.folder / tile_path(kind, number=number, width=width)
        raise LedgerError(f"The log lacks {path}; restore it from a copy of the log.")

    def read_hashes(self, level: int, *, number: int, width: int) -> list[bytes]:
        """Return the first `width` hashes of a tile."""
        raw = self.read_tile(str(level), number=number, width=width)
        if len(raw) < width * HASH_BYTES or len(raw) % HASH_BYTES:
            raise LedgerError(f"Tile {number} of level {level} in {self.folder} is cut off; restore it from a copy.")
        return [raw[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in range(width)]

    def subtrees(self, size: int) -> SubtreeReader:
        """Return a reader of the complete subtrees of the tree of `size` leaves."""

        @lru_cache(maxsize=64)
        def hashes(level: int, number: int) -> list[bytes]:
            width = min(TILE_WIDTH, (size >> TILE_LEVELS * level) - number * TILE_WIDTH)
            return self.read_hashes(level, number=number, width=width)

        def read(level: int, index: int) -> bytes:
            tile_level, height = divmod(level, TILE_LEVELS)
            first = index << height
            number, place = divmod(first, TILE_WIDTH)
            return tree_root(hashes(tile_level, number)[place : place + (1 << height)])

        return read

    def entries(self, *, start: int, end: int) -> Iterator[bytes]:
        """Yield the entries [start, end) of a log of `end` entries at least."""
        for number in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = number * TILE_WIDTH
            width = min(TILE_WIDTH, end - first)
            bundle = decode_bundle(self.read_tile("entries", number=number, width=width))
            if len(bundle) < width:
                raise LedgerError(f"Bundle {number} in {self.folder} lacks entries; restore it from a copy.")
            yield from bundle[max(start - first, 0) : width]

    def extend(self, *, size: int, entries: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """Write the tiles and bundles of a log of `size` entries and the new ones after it."""
        files: dict[str, bytes] = {}
        number, width = divmod(size, TILE_WIDTH)
        before = list(self.entries(start=size - width, end=size)) if width else []
        for chunk_number, chunk in _chunks([*before, *entries], first=number):
            files[tile_path("entries", number=chunk_number, width=len(chunk))] = encode_bundle(chunk)
        level, fresh = 0, list(hashes)
        while fresh:
            number, width = divmod(size >> TILE_LEVELS * level, TILE_WIDTH)
            prefix = self.read_hashes(level, number=number, width=width) if width else []
            above: list[bytes] = []
            for chunk_number, chunk in _chunks([*prefix, *fresh], first=number):
                files[tile_path(str(level), number=chunk_number, width=len(chunk))] = b"".join(chunk)
                if len(chunk) == TILE_WIDTH:
                    above.append(tree_root(chunk))
            level, fresh = level + 1, above
        self.replace(files)

    def forget_partials(self, *, old: int, new: int) -> None:
        """Remove partial tiles that a later file covers; a crash may leave some, which harms nobody."""
        level = 0
        while True:
            kinds = [str(level), "entries"] if level == 0 else [str(level)]
            number, kept = divmod(new >> TILE_LEVELS * level, TILE_WIDTH)
            old_number, width = divmod(old >> TILE_LEVELS * level, TILE_WIDTH)
            if width and (old_number, width) != (number, kept):
                for kind in kinds:
                    path = self.folder / tile_path(kind, number=old_number, width=width)
                    self._on_step(f"remove {path.name}")
                    path.unlink(missing_ok=True)
            level += 1
            if new >> TILE_LEVELS * level == 0:
                return

    def replace(self, files: dict[str, bytes]) -> None:
        """Write files in place of others and return when they are on disk, names and all."""
        folders: set[Path] = set()
        for name, content in files.items():
            path = self.folder / name
            folders |= _make_folders(path.parent, below=self.folder)
            folders.add(path.parent)
            temporary = path.with_name(f".{path.name}.tmp")
            self._on_step(f"write {name}")
            with temporary.open("wb") as handle:
                handle.write(content)
                handle.flush()
                self._on_step(f"flush {name}")
                os.fsync(handle.fileno())
            self._on_step(f"rename {name}")
            temporary.replace(path)
        for folder in sorted(folders):
            self._on_step(f"flush folder {folder.name}")
            _flush_folder(folder)


def _make_folders(folder: Path, *, below: Path) -> set[Path]:
    """Make a folder and return those that gained a name by it."""
    gained: set[Path] = set()
    missing = folder
    while missing != below and not missing.is_dir():
        missing = missing.parent
        gained.add(missing)
    folder.mkdir(parents=True, exist_ok=True)
    return gained


def _chunks(items: Sequence[bytes], *, first: int) -> Iterator[tuple[int, Sequence[bytes]]]:
    for place in range(0, len(items), TILE_WIDTH):
        yield first + place // TILE_WIDTH, items[place : place + TILE_WIDTH]


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
