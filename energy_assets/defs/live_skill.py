"""What was measured of the nights as people look at it: figures for Dagster's plots, and the pages of MLflow."""

from __future__ import annotations

import polars as pl

from energy_assets.errors import ModelError
from energy_assets.forecasts.leaderboard import (
    PUBLISHED,
    figures_of_board,
    measured_in_use,
    served_last,
    table_of_board,
)
from energy_assets.models.plots import board_plot
from energy_assets.models.registry import Registry

_COLUMNS = ("nmae", "nrmse", "pinball", "bias", "coverage_80", "skill_last_week")
_PLOTTED = ("nmae", "coverage_80", "skill_last_week")
_MOST_PLACES_DRAWN = 20
"""Sites whose every figure is a metric in MLflow; of more, the table and the picture tell."""


def medians_of(skill: pl.DataFrame) -> dict[str, object]:
    """Return metadata: the medians over nodes by method as a table, and those of what was published as figures."""
    medians = skill.group_by("model", "metric").agg(pl.col("value").median())
    if medians.is_empty():
        return {"medians": "nothing was measured: no reading of these nights has arrived yet"}
    wide = medians.pivot("metric", index="model", values="value")
    columns = [name for name in _COLUMNS if name in wide.columns]
    table = wide.select(pl.col("model").alias("method"), *columns)
    first = pl.col("method") != PUBLISHED
    is_baseline = pl.col("coverage_80").is_null() if "coverage_80" in columns else pl.lit(value=False)
    figures = dict(medians.filter(pl.col("model") == PUBLISHED).select("metric", "value").iter_rows())
    return {
        "medians": table.sort(first, is_baseline, "method"),
        **{name: figures[name] for name in _PLOTTED if name in figures},
    }


def drawn_in_mlflow(registry: Registry, compared: pl.DataFrame, *, board: pl.DataFrame) -> str:
    """Add what was measured to the versions' runs and return in words what was done; MLflow may be out of reach.

    `compared` is what `actuals.with_actuals` returned of some nights, `board` the leaderboard of the last weeks.
    """
    measured, served = measured_in_use(compared), served_last(compared)
    newest = compared["issued_at_utc"].max()
    try:
        for (name, version), of_issues in measured.items():
            figures = {
                at: {f"live/{metric}": value for metric, value in values.items()} for at, values in of_issues.items()
            }
            mine = board.filter(pl.col("commodity") == served.get((name, version), ""))
            if mine.height and mine["place"].n_unique() <= _MOST_PLACES_DRAWN:
                figures.setdefault(newest, {}).update(figures_of_board(mine))  # type: ignore[arg-type]
            files: dict[str, bytes | str] = {}
            if mine.height:
                files["leaderboard/leaderboard.png"] = board_plot(mine)
                files["leaderboard/leaderboard.csv"] = table_of_board(mine).write_csv()
            registry.log_live(name, version=version, measured=figures, files=files)
    except ModelError as error:
        return f"not drawn: {error}"
    return f"{sum(map(len, measured.values()))} nights of {len(measured)} model versions"
