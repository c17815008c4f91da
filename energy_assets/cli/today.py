"""Command of the day that has not ended: what premises used and produced so far."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings

_FLOWS = ("consumption", "production")


@app.command()
def today(
    premise: Annotated[str | None, typer.Argument(help="Premise, or what its name begins with. Default: all.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Premises shown.")] = 20,
) -> None:
    """Show the electricity of today (UTC) as far as it is known; whole days follow at night in readings.interval."""
    from rich.table import Table

    from energy_assets.lake import Lake
    from energy_assets.readings.today import heard_query, today_query

    now = datetime.now(UTC)
    lake = Lake.from_settings(load_settings())
    found = lake.query(today_query(now, meters=lake.query(heard_query(now))["meter_id"].to_list()))
    wanted = [row for row in found.iter_rows(named=True) if row["premise_id"].startswith(premise or "")]
    if not wanted:
        whose = f" of {premise}" if premise else ""
        console.print(f"Nothing is known{whose} of {now:%Y-%m-%d} yet.", highlight=False)
        return
    table = Table("premise", "flow", "kWh", "until", "known", title=f"{now:%Y-%m-%d} so far, UTC")
    table.columns[0].no_wrap = True
    for row in wanted[:rows]:
        known = f"{row['coverage_fraction']:.0%}"
        table.add_row(row["premise_id"], row["flow"], f"{row['energy_kwh']:,.2f}", f"{row['until_utc']:%H:%M}", known)
    console.print(table)
    sums = {flow: sum(row["energy_kwh"] for row in wanted if row["flow"] == flow) for flow in _FLOWS}
    told = ", ".join(f"{energy_kwh:,.1f} kWh {flow}" for flow, energy_kwh in sums.items() if energy_kwh)
    console.print(f"{len(wanted):,} rows, {min(rows, len(wanted)):,} shown; together {told}", highlight=False)
