"""Observed weather of the weeks before an issue, from which a meter's answer to the weather is fitted.

Longer than what `weather` holds of an issue, and behind the same gate: an hour that was not yet known is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.features.history import Floats, hide_unknown

PAST_QUANTITIES = ("temperature_c", "global_horizontal_irradiance_w_m2", "cloud_cover_fraction")
OBSERVED_COLUMNS = ["site_id", "starts_at_utc", *PAST_QUANTITIES, "available_at_utc"]
"""What is read of `weather.observed`."""
_NEVER = np.iinfo(np.int32).max


@dataclass(frozen=True, kw_only=True)
class PastWeather:
    """Observations [site, quantity, hour] with the minute each became known, from an hour since the epoch on."""

    values: Floats
    known_minute: npt.NDArray[np.int32]
    first_hour: int
    site_index: dict[str, int]

    def of(self, site_id: str, *, quantity: str, hours: tuple[int, int], known_by: int) -> Floats:
        """Return the hours [from, to) of a quantity as they were known at a minute; NaN where they were not."""
        wanted = np.full(hours[1] - hours[0], np.nan, dtype=np.float32)
        site = self.site_index.get(site_id)
        low = max(hours[0] - self.first_hour, 0)
        high = min(hours[1] - self.first_hour, self.values.shape[2])
        if site is None or low >= high:
            return wanted
        place = slice(low, high)
        seen = hide_unknown(
            self.values[site, PAST_QUANTITIES.index(quantity), place], self.known_minute[site, place], known_by
        )
        start = low + self.first_hour - hours[0]
        wanted[start : start + high - low] = seen
        return wanted


def to_past_weather(observed: pl.DataFrame | None) -> PastWeather | None:
    """Return rows of `weather.observed` as arrays, None without rows.

    Where the rows do not say when they were available, that is when their hour was over.
    """
    if observed is None or observed.is_empty():
        return None
    present = [name for name in PAST_QUANTITIES if name in observed.columns]
    known_at = pl.col("starts_at_utc") + pl.duration(hours=1)
    if "available_at_utc" in observed.columns:
        known_at = pl.col("available_at_utc").fill_null(known_at)
    sites = {site: index for index, site in enumerate(observed["site_id"].unique().sort())}
    rows = observed.lazy().select(
        pl.col("site_id").replace_strict(sites, return_dtype=pl.Int64).alias("site"),
        pl.col("starts_at_utc").dt.epoch("us").floordiv(3_600_000_000).alias("hour"),
        known_at.dt.epoch("us").neg().floordiv(60_000_000).neg().cast(pl.Int32).alias("known"),
        *(pl.col(name).cast(pl.Float32).fill_null(np.nan) for name in present),
    )
    frame = rows.collect()
    first = int(frame["hour"].min() or 0)  # type: ignore[arg-type]
    width = int(frame["hour"].max() or 0) + 1 - first  # type: ignore[arg-type]
    values = np.full((len(sites), len(PAST_QUANTITIES), width), np.nan, dtype=np.float32)
    known = np.full((len(sites), width), _NEVER, dtype=np.int32)
    site, hour = frame["site"].to_numpy(), frame["hour"].to_numpy() - first
    known[site, hour] = frame["known"].to_numpy()
    for name in present:
        values[site, PAST_QUANTITIES.index(name), hour] = frame[name].to_numpy()
    return PastWeather(values=values, known_minute=known, first_hour=first, site_index=sites)
