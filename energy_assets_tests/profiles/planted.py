"""Meters with planted profiles, as the tables hold them: offices, homes and bakeries that differ by noise."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from energy_assets.contracts import METERS
from energy_assets.contracts.profiles import DAY_KINDS, PROFILES_SHAPES, PROFILES_TRAITS, SEASONS

AS_OF = datetime(2026, 1, 5, tzinfo=UTC)
_HOUR = np.arange(24)
KINDS = {
    "office": (np.where((_HOUR >= 8) & (_HOUR < 18), 10.0, 2.0), np.full(24, 2.0)),
    "home": (1 + 3 * np.exp(-((_HOUR - 19) ** 2) / 8), 1.5 + 2 * np.exp(-((_HOUR - 19) ** 2) / 8)),
    "bakery": (np.where((_HOUR >= 2) & (_HOUR < 7), 9.0, 1.0), np.where((_HOUR >= 2) & (_HOUR < 7), 9.0, 1.0)),
}


def planted(counts: dict[str, int], *, seed: int = 0, noise: float = 0.05) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return shapes and traits of meters named `<kind>.<number>`: any level, nearly the shape of their kind."""
    random = np.random.default_rng(seed)
    cells, traits = [], []
    for kind, count in counts.items():
        for number in range(count):
            level = random.uniform(0.5, 50)
            meter_id = f"{kind}.{number:03d}"
            days = [random.lognormal(0, noise, 24) * level * KINDS[kind][row] for row in (0, 1) for _ in SEASONS]
            for place, day in enumerate(days):
                cells.append(
                    pl.DataFrame({"local_hour": _HOUR, "mean_kw": day}).with_columns(
                        meter_id=pl.lit(meter_id),
                        season=pl.lit(SEASONS[place % 4]),
                        day_kind=pl.lit(DAY_KINDS[place // 4]),
                        known_hours=pl.lit(60.0),
                    )
                )
            traits.append({"meter_id": meter_id, "peak_hour": int(np.argmax(days[0])), "load_factor": 0.5})
    about = pl.DataFrame(traits).with_columns(
        site_id=pl.lit("site"),
        commodity=pl.lit("electricity"),
        direction=pl.lit("consumption"),
        as_of_utc=pl.lit(AS_OF),
        days=pl.lit(365),
        good_days=pl.lit(360),
        mean_kw=pl.lit(1.0),
    )
    return PROFILES_SHAPES.conform(pl.concat(cells).select(PROFILES_SHAPES.column_names)), PROFILES_TRAITS.conform(
        about
    )


def registry(*names: str) -> pl.DataFrame:
    """Return hourly meters of electricity of one site, each a premise of its own."""
    rows = pl.DataFrame({"meter_id": list(names)}).with_columns(
        premise_id="meter_id", site_id=pl.lit("site"), commodity=pl.lit("electricity"), direction=pl.lit("consumption"),
        measure=pl.lit("interval_energy"), unit=pl.lit("kWh"), interval_minutes=pl.lit(60), source=pl.lit("t"),
    )  # fmt: skip
    return METERS.conform(rows)
