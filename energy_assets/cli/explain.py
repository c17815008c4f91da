"""Commands that explain a number that was published: forecast explain."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer
from rich.table import Table

from energy_assets.cli.forecasts import forecast
from energy_assets.cli.root import console
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.defs.explaining import Explained

_SAID = {"recent_load": "recent load", "building": "the building", "rest": "what has changed since"}


@forecast.command("explain")
def explain_node(
    node: Annotated[
        str, typer.Argument(help="A meter, or a node above meters, as `households.h0001|electricity|net`.")
    ],
    date: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Local day that was forecast.")],
    out: Annotated[Path | None, typer.Option(help="Parquet file for the rows.")] = None,
) -> None:
    """Say why a forecast is what it is: what recent load, calendar, weather and building contribute, slot by slot."""
    with warnings.catch_warnings():
        # Dagster says so of backfills of a range, which the platform stands on knowingly.
        warnings.filterwarnings("ignore", message=".*is currently in beta")
        from energy_assets.defs.explaining import explain_forecast
    from energy_assets.defs.resources import registry_from
    from energy_assets.lake import Lake

    settings = load_settings()
    lake = Lake.from_settings(settings)
    try:
        found = explain_forecast(
            lake,
            registry_from(settings),
            node_id=node,
            delivery_date=date.date(),
            issue_hour_utc=settings.issue_hour_utc,
        )
    finally:
        lake.close()
    if out is not None:
        found.rows.write_parquet(out)
    console.print(_table(found))
    console.print(_sentence(found, day=date.replace(tzinfo=UTC)), soft_wrap=True, highlight=False)


def _table(found: Explained) -> Table:
    from energy_assets.defs.explaining import PARTS

    digits = 2 if (found.rows["q50"].abs().max() or 0.0) < 10 else 1  # type: ignore[operator]
    is_seen = found.rows.select((pl.col(name).round(digits) != 0).any() for name in PARTS).row(0, named=True)
    shown = [name for name in PARTS if name != PARTS[-1] or is_seen[name]]
    table = Table("local time", "forecast, kWh", "80 % band", *(name.replace("_", " ") for name in shown))
    for column in table.columns[1:]:
        column.justify = "right"

    def change(value: float) -> str:
        return f"{round(value, digits) + 0.0:+.{digits}f}"

    local = found.rows["starts_at_utc"].dt.convert_time_zone(found.timezone)
    for row, at in zip(found.rows.iter_rows(named=True), local, strict=True):
        band = f"{row['q10']:.{digits}f} to {row['q90']:.{digits}f}"
        table.add_row(
            f"{at:%H:%M}",
            f"{row['q50']:.{digits}f}",
            band,
            f"{row[PARTS[0]]:.{digits}f}",
            *(change(row[each]) for each in shown[1:]),
        )
    table.add_section()
    sums = {name: float(found.rows[name].sum()) for name in ("q50", *PARTS)}
    table.add_row(
        "day",
        f"{sums['q50']:.{digits}f}",
        "",
        f"{sums[PARTS[0]]:.{digits}f}",
        *(change(sums[each]) for each in shown[1:]),
    )
    return table


def _sentence(found: Explained, *, day: datetime) -> str:
    from energy_assets.defs.explaining import PARTS

    sums = {name: float(found.rows[name].sum()) for name in ("q50", *PARTS)}
    parts = sorted(PARTS[1:], key=lambda name: -abs(sums[name]))
    share = {name: f"{_SAID.get(name, name)} {sums[name]:+,.1f}" for name in parts if abs(sums[name]) >= 0.05}
    moved = f"{', '.join(share.values())} kWh" if share else "nothing moves the day as a whole"
    return (
        f"{found.node_id} on {day:%A} {day:%Y-%m-%d} ({found.timezone}): {sums['q50']:,.1f} kWh are expected, where "
        f"{sums[PARTS[0]]:,.1f} are usual for a meter of its size and kind: {moved}. "
        f"Issued at {found.issued_at_utc:%Y-%m-%d %H:%M} UTC by {', '.join(found.made_by)}."
    )
