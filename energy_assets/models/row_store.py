"""Rows for training that memory does not hold: dealt at random into files, and read back a shard at a time.

Every shard is a random part of all meters and issues, so that boosters may meet one after the other and each of their
trees sees a fresh sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

ROWS_OF_A_SHARD = 150_000
_LEAST_SHARDS = 6
_AT_ONCE = 400_000
"""Rows that are gathered before they are dealt, so that files are not too many."""


class RowStore:
    """Feature rows of one commodity and interval class in a folder that exists; which shard gets a row is by chance."""

    def __init__(self, folder: Path, *, expected_rows: float, seed: int) -> None:
        self._folder = folder
        self._count = max(_LEAST_SHARDS, round(expected_rows / ROWS_OF_A_SHARD))
        self._draw = np.random.default_rng(seed)
        self._waiting: list[pl.DataFrame] = []
        self._dealt = 0
        self.rows = 0
        for number in range(self._count):
            self._place(number).mkdir()

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows; what is left of them is written by `shards`."""
        self._waiting.append(rows.drop("meter_id"))
        self.rows += rows.height
        if sum(part.height for part in self._waiting) >= _AT_ONCE:
            self._deal()

    def shards(self) -> Iterator[pl.DataFrame]:
        """Yield the rows shard by shard, of which there are `len` of this store."""
        self._deal()
        for number in range(self._count):
            files = sorted(self._place(number).iterdir())
            yield pl.concat([pl.read_ipc(file) for file in files]) if files else pl.DataFrame()

    def __len__(self) -> int:
        return self._count

    def _deal(self) -> None:
        if not self._waiting:
            return
        rows = pl.concat(self._waiting)
        self._waiting = []
        dealt = rows.with_columns(shard=pl.Series(self._draw.integers(self._count, size=rows.height)))
        for (number,), part in dealt.partition_by("shard", as_dict=True, include_key=False).items():
            part.write_ipc(self._place(int(number)) / f"{self._dealt:06d}.arrow", compression="lz4")
        self._dealt += 1

    def _place(self, number: int) -> Path:
        return self._folder / f"{number:04d}"


class Shards:
    """The rows of a store that a training may see, a shard at a time; `rows` counts those that were read last."""

    def __init__(self, store: RowStore, *, seen: pl.Expr) -> None:
        self._store, self._seen = store, seen
        self.rows = 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        self.rows = 0
        for shard in self._store.shards():
            rows = shard.filter(self._seen) if shard.width else shard
            self.rows += rows.height
            yield rows

    def __len__(self) -> int:
        return len(self._store)
