"""Points: what a rule says of single cells of a grid, meter and slot by index, with score and reason."""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Ints
from energy_assets.anomalies.vocabulary import RULES

POINT_SCHEMA = pl.Schema(
    {
        "meter": pl.Int64,
        "slot": pl.Int64,
        "rule": pl.String,
        "score": pl.Float64,
        "reason": pl.String,
        "expected_kwh": pl.Float64,
        "noise_kwh": pl.Float64,
    }
)


def points(
    cells: Bools | tuple[Ints, Ints], rule: str, *, first_slot: int, reason: pl.Expr, **columns: object
) -> pl.DataFrame:
    """Return points for the true cells of [meter, slot from first_slot]; `reason` may use the named columns.

    A column is an array of the cells' shape, an array with one value a point, or a scalar; `score` and `expected_kwh`
    are columns too, by default 1 and null.
    """
    where = np.nonzero(cells) if isinstance(cells, np.ndarray) else cells
    shape = cells.shape if isinstance(cells, np.ndarray) else None
    picked = {
        name: value[where] if isinstance(value, np.ndarray) and value.shape == shape else value
        for name, value in columns.items()
    }
    frame = pl.DataFrame({"meter": where[0].astype(np.int64), "slot": where[1].astype(np.int64) + first_slot})
    frame = frame.with_columns(
        **{
            name: pl.Series(value) if isinstance(value, np.ndarray) else pl.lit(value)
            for name, value in ({"score": 1.0, "expected_kwh": None, "noise_kwh": None} | picked).items()
        }
    )
    sentence = pl.concat_str(pl.lit(f"{RULES[rule].sentence}: "), reason, pl.lit("."))
    return frame.with_columns(rule=pl.lit(rule), reason=sentence).select(POINT_SCHEMA.names()).cast(POINT_SCHEMA)


def shown(column: str, unit: str = "kWh") -> pl.Expr:
    """Return a number for a reason: four significant digits and its unit."""
    return pl.concat_str(pl.col(column).round_sig_figs(4).cast(pl.String), pl.lit(f" {unit}" if unit else ""))
