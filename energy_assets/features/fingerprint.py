"""The fingerprint of feature rows: equal content gives the equal text on every machine, whatever the order of rows."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

KEY = ("meter_id", "issued_at_utc", "starts_at_utc")
TARGET_COLUMNS = ("energy_kwh", "energy_known_at_utc")


def features_hash(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of column names, types and values of feature rows, sorted by key; the target is left out.

    The target becomes known later and must not change the name of what the forecast was made from. NaN and null count
    as the same.
    """
    digest = hashlib.sha256()
    ordered = frame.drop(TARGET_COLUMNS, strict=False).sort(KEY)
    for name in sorted(ordered.columns):
        column = ordered[name]
        digest.update(f"{name}:{column.dtype}\n".encode())
        if column.dtype == pl.String:
            digest.update("\x00".join(column.fill_null("\x01")).encode())
        elif column.dtype.is_float():
            values = column.fill_null(float("nan")).to_numpy()
            digest.update(np.where(np.isnan(values), np.array(np.nan, values.dtype), values).tobytes())
        else:
            digest.update(column.to_physical().fill_null(-(2**15)).to_numpy().tobytes())
    return digest.hexdigest()
