"""Thirteen analogues: the same weekday of the last six weeks and of weeks 49 to 55 back, as an empirical distribution.

Needs no training; fitting adds a correction of its levels, because thirteen values say little about their tails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from energy_assets.contracts import LEVELS
from energy_assets.features.history import Floats, Ints
from energy_assets.features.lags import ANALOGUE_COLUMNS
from energy_assets.models.calibration import Calibration, calibrate, from_rows
from energy_assets.models.design import TARGET, learnable, noise_kwh, split_tail
from energy_assets.models.quantiles import quantile_frame
from energy_assets.models.spec import read_json, write_json

_SHARE_OF_ISSUES = 0.5
"""The later issues know more analogues, as those to come will."""
UNCORRECTED = Calibration(corrections=((0.0,) * len(LEVELS),))


@dataclass(frozen=True, kw_only=True)
class Analogue:
    """Empirical quantiles of the analogues, corrected per day of lead where it was fitted."""

    calibration: Calibration = UNCORRECTED

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return KEY and q05 .. q95 in kWh for every row; null where no analogue is known."""
        return quantile_frame(
            features, self.calibration.apply(_raw(features), unit=noise_kwh(features), lead_day=_lead_day(features))
        )

    def save(self, folder: Path) -> None:
        """Write `model.json` into the folder."""
        write_json(folder, {"calibration": self.calibration.corrections})


def load(folder: Path) -> Analogue:
    """Return the model that `save` wrote into the folder."""
    content: dict[str, Any] = read_json(folder)
    return Analogue(calibration=from_rows(content["calibration"]))


def fit_analogue(training: pl.DataFrame) -> Analogue:
    """Return the analogues with levels corrected on the later half of the issues, which they have not learned from.

    Raises:
        ModelError: there are too few rows.
    """
    _, rows = split_tail(learnable(training), share=_SHARE_OF_ISSUES)
    target = rows[TARGET].cast(pl.Float32).to_numpy()
    return Analogue(
        calibration=calibrate(
            _raw(rows),
            target=target,
            unit=noise_kwh(rows),
            lead_day=_lead_day(rows),
            issues=rows["issued_at_utc"].n_unique(),
        )
    )


def _raw(rows: pl.DataFrame) -> Floats:
    return np.column_stack([rows[name].cast(pl.Float32).fill_null(np.nan).to_numpy() for name in ANALOGUE_COLUMNS])


def _lead_day(rows: pl.DataFrame) -> Ints:
    return (rows["lead_hours"].to_numpy() // 24).astype(np.int64)
