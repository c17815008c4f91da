"""Pictures of a model on unseen issues for its page in MLflow: calibration, error by lead time, an example."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl

from energy_assets.contracts import LEVELS


def plots_of(unseen: pl.DataFrame) -> dict[str, bytes]:
    """Return PNG files by name. `unseen` has key, q05 to q95, `energy_kwh` and `lead_hours` of unseen issues."""
    import matplotlib as mpl

    mpl.use("Agg")
    return {
        "reliability.png": _png(_reliability, unseen),
        "error_by_lead_time.png": _png(_error_by_lead, unseen),
        "example.png": _png(_example, unseen),
    }


def _png(draw: Any, unseen: pl.DataFrame) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    draw(figure.subplots(), unseen)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _reliability(axes: Any, unseen: pl.DataFrame) -> None:
    share = [unseen.select((pl.col("energy_kwh") <= pl.col(name)).mean()).item() for name in LEVELS]
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot(list(LEVELS.values()), share, marker="o")
    axes.set(title="Reliability on unseen issues", xlabel="quantile", ylabel="share of readings below it")


def _error_by_lead(axes: Any, unseen: pl.DataFrame) -> None:
    error = (pl.col("q50") - pl.col("energy_kwh")).abs().sum() / pl.col("energy_kwh").abs().sum()
    rows = unseen.group_by(pl.col("lead_hours").floor()).agg(nmae=error).sort("lead_hours")
    axes.plot(rows["lead_hours"], rows["nmae"] * 100)
    axes.set(title="Error by lead time", xlabel="hours ahead", ylabel="NMAE, %", ylim=(0, None))


def _example(axes: Any, unseen: pl.DataFrame) -> None:
    largest = unseen.group_by("meter_id").agg(pl.col("energy_kwh").mean()).sort("energy_kwh")["meter_id"]
    chosen = unseen.filter(pl.col("meter_id") == largest[len(largest) // 2])
    chosen = chosen.filter(pl.col("issued_at_utc") == chosen["issued_at_utc"].max()).sort("starts_at_utc")
    hours = np.asarray(chosen["lead_hours"])
    axes.fill_between(hours, chosen["q05"], chosen["q95"], alpha=0.2, label="90 %", linewidth=0)
    axes.fill_between(hours, chosen["q10"], chosen["q90"], alpha=0.3, label="80 %", linewidth=0)
    axes.plot(hours, chosen["q50"], label="median")
    axes.plot(hours, chosen["energy_kwh"], color="black", linewidth=1, label="reading")
    axes.set(title=f"Last unseen issue of {chosen['meter_id'][0]}", xlabel="hours ahead", ylabel="kWh per interval")
    axes.legend()
