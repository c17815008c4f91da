"""The simulator's ledger on disk: a Parquet file that grows by parts, so that a long run stays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import polars as pl

from energy_assets.errors import SourceError
from energy_assets.messaging.simulation import LEDGER

_ROWS_A_PART = 200_000


class LedgerFile:
    """Collects rows and writes them when closed or when they are many; a path of None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: list[dict[str, object]] = []
        self._parts: list[pl.DataFrame] = []
        self._unsure: list[int] = []

    def __enter__(self) -> LedgerFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is None:
            return
        self._fold()
        unsure = pl.col("number").is_in(self._unsure)
        rows = pl.concat([LEDGER.to_frame(), *self._parts]).with_columns(
            is_acknowledged=(pl.col("copies") > 0) & ~unsure
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".part")
        rows.write_parquet(draft)
        draft.replace(self._path)

    def add(self, rows: Sequence[dict[str, object]]) -> None:
        """Add what meters made."""
        if self._path is not None:
            self._rows.extend(rows)
            if len(self._rows) >= _ROWS_A_PART:
                self._fold()

    def forget(self, numbers: Sequence[int]) -> None:
        """Note which messages were not acknowledged: nobody promised to keep them."""
        self._unsure = list(numbers)

    def _fold(self) -> None:
        self._parts.append(pl.DataFrame(self._rows, schema=LEDGER, orient="row"))
        self._rows = []


def read_ledger(path: Path) -> pl.DataFrame:
    """Return the rows of a ledger.

    Raises:
        SourceError: the file is missing or no ledger.
    """
    try:
        rows = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{path} is no ledger of `energy simulate`: {error}.") from error
    if rows.schema != LEDGER:
        raise SourceError(f"{path} is no ledger of `energy simulate`: it has {', '.join(rows.columns)}.")
    return rows
