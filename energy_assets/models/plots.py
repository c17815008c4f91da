"""Pictures of a model for its page in MLflow: calibration, error by lead time, an example, the board of its sites."""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from energy_assets.contracts import LEVELS

_RIVALS = {"last_week": ("last week", "#b0b0b0"), "mean_4_weeks": ("mean of four weeks", "#808080")}
_OURS = "#2272b4"
_LEAST_SHARE = 0.2
"""Leads that so few issues reach are left out: their error is that of one or two sites."""
_MOST_PLACES = 40


def plots_of(unseen: pl.DataFrame) -> dict[str, bytes]:
    """Return PNG files by name.

    `unseen` has key, q05 to q95, `energy_kwh` and `lead_hours` of unseen issues, and what the baselines `last_week` and
    `mean_4_weeks` say, if they do.
    """
    return {
        "error_by_lead_time.png": _png(_error_by_lead, unseen),
        "reliability.png": _png(_reliability, unseen),
        "example.png": _png(_example, unseen),
    }


def board_plot(board: pl.DataFrame) -> bytes:
    """Return a PNG: places down, lead times across, in each cell the error and the skill over the best baseline.

    `board` has place, direction, horizon, published (NMAE) and skill, of one commodity.
    """
    rows = board.with_columns(row=pl.concat_str("place", "direction", separator="  "))
    places = rows["row"].unique().sort().head(_MOST_PLACES).to_list()
    return _png(_board, rows.filter(pl.col("row").is_in(places)), height=1.6 + 0.33 * max(len(places), 1))


def _png(draw: Any, rows: pl.DataFrame, *, height: float = 4.2) -> bytes:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes, rows)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _reliability(axes: Any, unseen: pl.DataFrame) -> None:
    share = [100 * unseen.select((pl.col("energy_kwh") <= pl.col(name)).mean()).item() for name in LEVELS]
    inside = unseen.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item()
    axes.plot([0, 100], [0, 100], color="#b0b0b0", linewidth=1, label="as claimed")
    axes.plot([100 * level for level in LEVELS.values()], share, marker="o", color=_OURS, label="this model")
    axes.set(
        title=f"Does the band hold what it claims? {inside:.0%} of readings in the 80 % band",
        xlabel="quantile of the forecast, %",
        ylabel="readings at or below it, %",
        xlim=(0, 100),
        ylim=(0, 100),
    )
    axes.grid(color="#eeeeee")
    axes.legend(frameon=False)


def _error_by_lead(axes: Any, unseen: pl.DataFrame) -> None:
    def nmae(column: str) -> pl.Expr:
        known = pl.col(column).is_finite()
        error = (pl.col(column) - pl.col("energy_kwh")).abs().filter(known).sum()
        return 100 * error / pl.col("energy_kwh").abs().filter(known).sum()

    rivals = [name for name in _RIVALS if name in unseen.columns]
    by_lead = unseen.group_by(pl.col("lead_hours").floor()).agg(
        nmae("q50").alias("ours"), *(nmae(name).alias(name) for name in rivals), slots=pl.len()
    )
    rows = by_lead.filter(pl.col("slots") >= _LEAST_SHARE * pl.col("slots").max()).sort("lead_hours")
    for name in rivals:
        axes.plot(rows["lead_hours"], rows[name], color=_RIVALS[name][1], linewidth=1.2, label=_RIVALS[name][0])
    axes.plot(rows["lead_hours"], rows["ours"], color=_OURS, linewidth=2, label="this model")
    days = unseen["issued_at_utc"].sort().dt.strftime("%d %b %Y")
    axes.set(
        title=f"Error by lead time, issues of {days[0]} to {days[-1]} that it has not seen",
        xlabel="hours after the issue",
        ylabel="NMAE, % of the energy",
        ylim=(0, None),
        xlim=(0, None),
    )
    axes.set_xticks(range(0, int(rows["lead_hours"][-1]) + 2, 6))
    axes.grid(color="#eeeeee")
    axes.legend(frameon=False)


def _example(axes: Any, unseen: pl.DataFrame) -> None:
    from matplotlib.dates import ConciseDateFormatter

    largest = unseen.group_by("meter_id").agg(pl.col("energy_kwh").mean()).sort("energy_kwh", "meter_id")["meter_id"]
    chosen = unseen.filter(pl.col("meter_id") == largest[len(largest) // 2])
    chosen = chosen.filter(pl.col("issued_at_utc") == chosen["issued_at_utc"].max()).sort("starts_at_utc")
    at = chosen["starts_at_utc"].dt.replace_time_zone(None).to_numpy()
    axes.fill_between(at, chosen["q05"], chosen["q95"], color=_OURS, alpha=0.15, label="90 % band", linewidth=0)
    axes.fill_between(at, chosen["q10"], chosen["q90"], color=_OURS, alpha=0.25, label="80 % band", linewidth=0)
    axes.plot(at, chosen["q50"], color=_OURS, label="median")
    axes.plot(at, chosen["energy_kwh"], color="black", linewidth=1, label="reading")
    issued = chosen["issued_at_utc"][0]
    axes.set(title=f"{chosen['meter_id'][0]}, issued {issued:%a %d %b %Y %H:%M} UTC", ylabel="kWh per interval")
    axes.set_xlabel("UTC")
    formatter: Any = ConciseDateFormatter
    axes.xaxis.set_major_formatter(formatter(axes.xaxis.get_major_locator()))
    axes.grid(color="#eeeeee")
    axes.legend(frameon=False, ncols=2)


def _board(axes: Any, board: pl.DataFrame) -> None:
    horizons = board["horizon"].unique().sort().to_list()
    places = board["row"].unique().sort().to_list()
    skill = [[float("nan")] * len(horizons) for _ in places]
    for row in board.iter_rows(named=True):
        y, x = places.index(row["row"]), horizons.index(row["horizon"])
        skill[y][x] = float("nan") if row["skill"] is None else row["skill"]
        error = "" if row["published"] is None else f"{row['published']:.1%}"
        gained = "" if row["skill"] is None else f"  ({row['skill']:+.0%})"
        axes.text(x, y, error + gained, ha="center", va="center", fontsize=8)
    axes.imshow(skill, cmap="RdYlGn", vmin=-0.6, vmax=0.6, aspect="auto", alpha=0.55)
    axes.set_xticks(range(len(horizons)), [f"{each.replace('_', '–')}" for each in horizons])
    axes.set_yticks(range(len(places)), places, fontsize=8)
    axes.set(title="NMAE and skill over the best plain baseline, last four weeks", xlabel="hours after the issue")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
