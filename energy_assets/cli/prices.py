"""Commands of prices on anybody's files, without an instance: price."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from energy_assets.cli.root import app, console


@app.command()
def price(
    net_load: Annotated[
        Path, typer.Option(help="CSV or Parquet: starts_at_utc and q10, q50, q90 (kWh) or energy_kwh.")
    ],
    out: Annotated[Path, typer.Option(help="Where the curves go: .csv, .parquet or .json.")],
    zone: Annotated[Path | None, typer.Option(help="TOML file of the zone; defaults run without.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where a JSON report goes.")] = None,
) -> None:
    """Price the days of your own net load file, without an instance."""
    from energy_assets.prices.files import price_file

    curves = price_file(net_load, zone_path=zone, out_path=out, report_path=report, published_at_utc=datetime.now(UTC))
    console.print(f"{len(curves)} days priced in {out}")
