"""Commands of prices on anybody's files, without an instance: price, cheapest, wholesale, supply, horizon."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from energy_assets.cli.root import app, console
from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY

if TYPE_CHECKING:
    from energy_assets.prices.welfare import PriceCurve

_DAYS_SHOWN = 7


@app.command()
def price(
    net_load: Annotated[
        Path, typer.Option(help="CSV or Parquet: starts_at_utc and q10, q50, q90 (kWh) or energy_kwh.")
    ],
    out: Annotated[Path, typer.Option(help="Where the curves go: .csv, .parquet or .json.")],
    zone: Annotated[Path | None, typer.Option(help="TOML file of the zone; defaults run without.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where a JSON report goes.")] = None,
    openadr: Annotated[Path | None, typer.Option(help="Where OpenADR 3 events go, a JSON array.")] = None,
) -> None:
    """Price the days of your own net load file, without an instance."""
    from energy_assets.prices.files import price_file

    made = price_file(
        net_load,
        zone_path=zone,
        out_path=out,
        report_path=report,
        published_at_utc=datetime.now(UTC),
        openadr_path=openadr,
    )
    for day, reason in made.skipped.items():
        console.print(f"{day} is left out: {reason}")
    for one in made.curves[:_DAYS_SHOWN]:
        console.print(_said_of(one), soft_wrap=True, highlight=False)
    if len(made.curves) > _DAYS_SHOWN:
        console.print(f"… and {len(made.curves) - _DAYS_SHOWN} more")
    console.print(f"{len(made.curves)} {'day' if len(made.curves) == 1 else 'days'} priced in {out}", soft_wrap=True)


def _said_of(curve: PriceCurve) -> str:
    """Return a line on a day: its lowest and highest price, the rule that made it, and what it spares."""
    units, account = curve.rows["price_units"].to_numpy(), curve.day.row(0, named=True)
    low, high = (f"{value / PRICE_UNITS_PER_CURRENCY:.5f}" for value in (units.min(), units.max()))
    cost, flat = account["social_cost"], account["social_cost_flat"]
    return (
        f"{account['delivery_date']}: {low} to {high} {curve.rows['currency_code'][0]}/kWh, by {account['rung']}; "
        f"social cost {cost:.2f}, at the flat rate {flat:.2f}"
    )


@app.command()
def cheapest(
    curve: Annotated[Path, typer.Option(help="Curves of energy price, .csv or .parquet.")],
    hours: Annotated[float, typer.Option(help="How many hours are wanted.")],
    together: Annotated[bool, typer.Option("--together", help="In one piece.")] = False,
) -> None:
    """Show the cheapest hours of a curve, wherever they are or in one piece."""
    from energy_assets.prices.market_files import priced_slots
    from energy_assets.prices.windows import cheapest_slots, cheapest_window

    slots = priced_slots(curve)
    found = cheapest_window(slots, hours=hours) if together else cheapest_slots(slots, hours=hours)
    table = Table("starts at (UTC)", "minutes", "price per kWh")
    for starts, minutes, _, per_kwh in found.iter_rows():
        table.add_row(f"{starts:%Y-%m-%d %H:%M}", str(minutes), f"{per_kwh:.5f}")
    console.print(table)


@app.command()
def wholesale(
    market: Annotated[Path, typer.Option(help="CSV or Parquet: starts_at_utc, price_per_mwh and any drivers.")],
    out: Annotated[Path, typer.Option(help="Where the prices go: .csv or .parquet.")],
    days: Annotated[int, typer.Option(min=1, max=90, help="Days after the last priced one.")] = 7,
    timezone: Annotated[str, typer.Option(help="IANA time zone of the market day.")] = "UTC",
    country: Annotated[list[str] | None, typer.Option(help="ISO code whose holidays count; may be repeated.")] = None,
) -> None:
    """Forecast a day-ahead market from its own file: its prices so far, and forecasts of load and wind if any."""
    from energy_assets.prices.market_files import wholesale_file

    made = wholesale_file(market, out_path=out, days=days, timezone=timezone, country_codes=tuple(country or ()))
    if made.unused:
        console.print(f"not forecast for the first day, so not used: {', '.join(made.unused)}")
    table = Table("market day", "origin", "mean q10", "mean q50", "mean q90")
    levels = ("q10", "q50", "q90")
    of_days = made.slots.group_by("market_day", "origin", maintain_order=True).mean()
    for day, origin, *means in of_days.select("market_day", "origin", *levels).iter_rows():
        table.add_row(f"{day}", origin, *(f"{mean:.2f}" for mean in means))
    console.print(table)
    shares = sorted(made.weights.items(), key=lambda item: -item[1])
    console.print("weights: " + ", ".join(f"{name} {share:.0%}" for name, share in shares), soft_wrap=True)


@app.command()
def supply(
    history: Annotated[Path, typer.Option(help="CSV or Parquet of past residual loads and prices.")],
    out: Annotated[Path, typer.Option(help="Where the [[supply]] tables of a zone file go.")],
    load_column: Annotated[str, typer.Option(help="Residual load, kW unless --peak-kw scales it.")] = "net_load_kw",
    price_column: Annotated[str, typer.Option(help="Price, per MWh when it ends in _per_mwh.")] = "price_per_mwh",
    peak_kw: Annotated[float | None, typer.Option(help="Power of the zone at the highest load.")] = None,
    steps: Annotated[int, typer.Option(min=2, max=200, help="Steps at most.")] = 12,
) -> None:
    """Learn a merit order from history: the price as a step function of the residual load that never falls."""
    from energy_assets.prices.fitted_supply import SupplyHistory
    from energy_assets.prices.market_files import supply_file

    declared = SupplyHistory(
        file=history.name, load_column=load_column, price_column=price_column, peak_kw=peak_kw, steps=steps
    )
    made = supply_file(history, out_path=out, history=declared)
    table = Table("step", "price per kWh", "kW")
    for name, per_kwh, capacity in made.select("name", "price", "capacity_kw").iter_rows():
        table.add_row(name, f"{per_kwh:.5f}", "without limit" if capacity is None else f"{capacity:.6g}")
    console.print(table)


@app.command()
def horizon(
    curve: Annotated[Path, typer.Option(help="Curves of energy price, .csv or .parquet.")],
    out: Annotated[Path, typer.Option(help="Where the slots go: .csv or .parquet.")],
    days: Annotated[int, typer.Option(min=1, max=90, help="Days after the last one of the curve.")] = 7,
    zone: Annotated[Path | None, typer.Option(help="TOML file of the zone; defaults run without.")] = None,
) -> None:
    """Extend a curve past its last day; each slot says whether its price is published or a profile of past ones."""
    from energy_assets.prices.market_files import horizon_file
    from energy_assets.prices.zones import ZoneConfig, load_zone

    made = horizon_file(curve, zone=ZoneConfig() if zone is None else load_zone(zone), days=days, out_path=out)
    counts = ", ".join(
        f"{count} {origin}" for origin, count in made.group_by("origin").len().sort("origin").iter_rows()
    )
    console.print(f"{made.height} slots in {out}: {counts}", soft_wrap=True)
