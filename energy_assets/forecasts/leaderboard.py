"""Who forecasts best where and how far ahead: errors of meters by lead time, per site and commodity, method by method.

All methods are compared on the same slots, those of which last week is known. An error is the sum of the meters'
absolute errors as a share of the sum of their absolute energy, so that it says how wrong a kilowatt-hour there is.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from energy_assets.contracts import FORECASTS_SKILL
from energy_assets.forecasts.actuals import BASELINE_WEEKS
from energy_assets.forecasts.nodes import PORTFOLIO

HORIZONS_HOURS = ((0, 6), (6, 12), (12, 24), (24, 36), (36, 48))
PUBLISHED = "published"
_PREFIX = "meters_"
_METHODS = {PUBLISHED: "q50", **{name: name for name in BASELINE_WEEKS}}


def lead_skill(compared: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `forecasts.skill` by lead time, for every site and the portfolio, commodity, direction and issue.

    `compared` is what `actuals.with_actuals` returns. The metrics are `meters_nmae_06_12h` and alike of `published` and
    of each baseline, and `meters_coverage_80_…` of `published`; node ids are those of sites and of the portfolio.
    """
    slots = _slots(compared)
    places = pl.concat(
        [slots.with_columns(place="site_id"), slots.with_columns(place=pl.lit(PORTFOLIO))], how="vertical_relaxed"
    )
    by = ["place", "commodity", "direction", "issued_at_utc", "horizon"]
    days = (pl.col("starts_at_utc").max() - pl.col("issued_at_utc").first()).dt.total_hours() // 24 + 1
    table = places.group_by(by).agg(*_errors(), coverage=_covered(), window_days=days)
    long = table.unpivot(
        [*_METHODS, "coverage"], index=[*by, "window_days"], variable_name="measured", value_name="value"
    ).filter(pl.col("value").is_finite())
    metric = pl.when(pl.col("measured") == "coverage").then(pl.lit("coverage_80_")).otherwise(pl.lit("nmae_"))
    rows = long.select(
        model=pl.col("measured").replace({"coverage": PUBLISHED}),
        node_id=pl.concat_str("place", "commodity", "direction", separator="|"),
        window_start_utc="issued_at_utc",
        window_days="window_days",
        metric=pl.concat_str(pl.lit(_PREFIX), metric, "horizon"),
        value="value",
    )
    return FORECASTS_SKILL.conform(rows.select(FORECASTS_SKILL.column_names).sort(FORECASTS_SKILL.key))


def measured_in_use(compared: pl.DataFrame) -> dict[tuple[str, int], dict[datetime, dict[str, float]]]:
    """Return by registered model and version what it was worth at each issue that it served: metrics by name.

    nmae, coverage_80, skill_last_week and nmae by lead time, over all slots of the meters that it served itself.
    """
    slots = _slots(compared.filter(pl.col("model_version").is_not_null()))
    whole = slots.with_columns(horizon=pl.lit("all"))
    by = ["model_version", "issued_at_utc", "horizon"]
    table = pl.concat([whole, slots]).group_by(by).agg(*_errors(), coverage=_covered()).sort(by)
    found: dict[tuple[str, int], dict[datetime, dict[str, float]]] = {}
    for row in table.iter_rows(named=True):
        name, version = row["model_version"].rsplit("/", 1)
        metrics = found.setdefault((name, int(version)), {}).setdefault(row["issued_at_utc"], {})
        if row["horizon"] != "all":
            metrics[f"nmae_{row['horizon']}"] = row[PUBLISHED]
            continue
        metrics |= {"nmae": row[PUBLISHED], "coverage_80": row["coverage"]}
        if row["last_week"]:
            metrics["skill_last_week"] = 1 - row[PUBLISHED] / row["last_week"]
    return {
        served: {at: {name: value for name, value in each.items() if value is not None} for at, each in issues.items()}
        for served, issues in found.items()
    }


def leaderboard(skill: pl.DataFrame, *, portfolio: bool = False) -> pl.DataFrame:
    """Return one row per site (or for the portfolio), commodity, direction and horizon, the best skill first.

    `skill` are rows of `forecasts.skill` of some weeks. Columns: place, commodity, direction, horizon, nights, the nmae
    of every method (median over the nights: a night with hardly any energy has an error of thousands of percent), skill
    of what was published against the best baseline by these, and mean coverage of its 80 % band.
    """
    rows = skill.filter(pl.col("metric").str.starts_with(_PREFIX)).with_columns(
        pl.col("node_id")
        .str.split_exact("|", 2)
        .struct.rename_fields(["place", "commodity", "direction"])
        .alias("node"),
        pl.col("metric").str.extract(r"(nmae|coverage_80)_(\d\d_\d\dh)$", 1).alias("measured"),
        pl.col("metric").str.extract(r"(\d\d_\d\dh)$", 1).alias("horizon"),
    )
    rows = rows.unnest("node").filter((pl.col("place") == PORTFOLIO) == portfolio)
    by = ["place", "commodity", "direction", "horizon"]

    def values_of(model: str, measured: str) -> pl.Expr:
        return pl.col("value").filter((pl.col("model") == model) & (pl.col("measured") == measured))

    table = rows.group_by(by).agg(
        nights=pl.col("window_start_utc").n_unique(),
        **{method: values_of(method, "nmae").median() for method in _METHODS},
        coverage_80=values_of(PUBLISHED, "coverage_80").mean(),
    )
    best = pl.min_horizontal(*BASELINE_WEEKS)
    return table.with_columns(skill=1 - pl.col(PUBLISHED) / best).sort(
        "skill", *by, descending=[True, False, False, False, False], nulls_last=True
    )


def table_of_board(board: pl.DataFrame) -> pl.DataFrame:
    """Return a leaderboard as a person reads it: a row per site and flow, a column per lead time.

    A cell is the nmae of what was published and, in brackets, its skill over the best plain baseline; the worst first,
    by mean skill, because these are what a person can do something about.
    """
    by = ["place", "commodity", "direction"]
    # Spaces that do not break keep a cell in one line.
    sign = pl.when(pl.col("skill") >= 0).then(pl.lit("\u00a0(+")).otherwise(pl.lit("\u00a0("))
    gained = sign + _percent("skill") + pl.lit(")")
    rows = board.with_columns(
        cell=_percent(PUBLISHED, decimals=1) + gained.fill_null(""), horizon=pl.col("horizon").str.replace("_", "–")
    )
    whole = rows.group_by(by).agg(
        pl.col("nights").max(), pl.col("coverage_80").mean(), mean_skill=pl.col("skill").mean()
    )
    wide = rows.pivot("horizon", index=by, values="cell", maintain_order=False)
    found = wide.join(whole, on=by, validate="1:1").sort("mean_skill", *by, nulls_last=True)
    horizons = rows["horizon"].unique().sort().to_list()
    return found.select(
        pl.col("place").alias("site"),
        pl.concat_str("commodity", pl.lit(" "), "direction").alias("flow"),
        "nights",
        *horizons,
        _percent("coverage_80").alias("in band"),
    )


def figures_of_board(board: pl.DataFrame) -> dict[str, float]:
    """Return the figures of a leaderboard of one commodity by name, as an experiment tracker takes them.

    `leaderboard_nmae/<place> <direction> 06_12h` and `leaderboard_skill/…`.
    """
    return {
        f"leaderboard_{metric}/{row['place']} {row['direction']} {row['horizon']}": row[column]
        for row in board.iter_rows(named=True)
        for metric, column in (("nmae", PUBLISHED), ("skill", "skill"))
        if row[column] is not None
    }


def served_last(compared: pl.DataFrame) -> dict[tuple[str, int], str]:
    """Return the commodity by registered model and version that served at the newest issue."""
    newest = compared.filter(
        pl.col("model_version").is_not_null(), pl.col("issued_at_utc") == pl.col("issued_at_utc").max()
    )
    found = {}
    for served, commodity in newest.select("model_version", "commodity").unique().sort("model_version").iter_rows():
        name, version = served.rsplit("/", 1)
        found[name, int(version)] = commodity
    return found


def _percent(name: str, *, decimals: int = 0) -> pl.Expr:
    rounded = (100 * pl.col(name)).round(decimals)
    return (rounded if decimals else rounded.cast(pl.Int64)).cast(pl.String) + pl.lit("%")


def _slots(compared: pl.DataFrame) -> pl.DataFrame:
    """Return the meters' slots that can be compared, with the horizon that they lie in."""
    lead = (pl.col("starts_at_utc") - pl.col("issued_at_utc")).dt.total_minutes() / 60
    horizon = pl.lit(None, pl.String)
    for low, high in HORIZONS_HOURS:
        horizon = pl.when((lead >= low) & (lead < high)).then(pl.lit(f"{low:02d}_{high:02d}h")).otherwise(horizon)
    return (
        compared.filter(
            pl.col("node_kind") == "meter", pl.col("actual_kwh").is_not_null(), pl.col("last_week").is_not_null()
        )
        .with_columns(horizon=horizon)
        .filter(pl.col("horizon").is_not_null())
    )


def _errors() -> list[pl.Expr]:
    energy = pl.col("actual_kwh").abs().sum()
    return [
        ((pl.col(column) - pl.col("actual_kwh")).abs().sum() / pl.when(energy > 0).then(energy)).alias(method)
        for method, column in _METHODS.items()
    ]


def _covered() -> pl.Expr:
    return pl.col("actual_kwh").is_between("q10", "q90").mean()
