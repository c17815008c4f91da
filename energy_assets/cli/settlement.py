"""Commands of settlement: a premise's bill as its household reads it, and what the next months may cost it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_assets.cli.root import app, console
from energy_assets.errors import ContractError
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    import polars as pl

    from energy_assets.prices.bill import Bill
    from energy_assets.prices.zones import ZoneConfig

_HISTORY_DAYS = 425  # fourteen months: the season a year ago, and the weeks around it

_NEIGHBOURS = 60  # premises of the zone whose past errors say how wide a range is

settlement = typer.Typer(help="Bills and statements.", no_args_is_help=True)
app.add_typer(settlement, name="settlement")


@settlement.command("show")
def show(
    premise: Annotated[str, typer.Argument(help="Whose bill, as in metering.premises.")],
    month: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m"], help="Month of the statement; default: the running month.")
    ] = None,
    revision: Annotated[int | None, typer.Option(min=0, help="Revision of the statement; default: the last.")] = None,
) -> None:
    """Show a premise's bill: the statement of a month, or the bill to date with a range for the month's end."""
    from energy_assets.contracts import SETTLEMENT_STATEMENTS, SETTLEMENT_TO_DATE
    from energy_assets.lake import Lake

    lake = Lake.from_settings(load_settings(), author="cli")
    running = lake.read(SETTLEMENT_TO_DATE, where={"premise_id": premise})
    own = lake.read(SETTLEMENT_STATEMENTS, where={"premise_id": premise}).sort("period_start", "revision")
    known = lake.read(SETTLEMENT_TO_DATE, columns=["premise_id"])["premise_id"].sort().head(3).to_list()
    lake.close()
    if running.height and (month is None or running["period_start"][0] == month.date()):
        _print_to_date(running.row(0, named=True))
    elif month is not None and (statements := own.filter(own["period_start"] == month.date())).height:
        _print_statement(statements, revision=revision)
    else:
        months = sorted(set(own["period_start"].dt.strftime("%Y-%m").to_list()))
        of = "the running month" if month is None else f"{month:%Y-%m}"
        there = f"Its months are: {', '.join(months)}."
        if not months:
            there = f"There are bills of {', '.join(known)}, …" if known else "There are no bills at all."
        raise ContractError(f"{premise} has no bill of {of}. {there} The night, or `energy nightly`, makes them.")


def _print_statement(statements: pl.DataFrame, *, revision: int | None) -> None:
    import polars as pl

    from energy_assets.prices.bill import bill_of, money

    chosen = statements if revision is None else statements.filter(pl.col("revision") == revision)
    if chosen.is_empty():
        raise ContractError(f"There is no revision {revision}; the last one is {statements['revision'][-1]}.")
    row = chosen.row(-1, named=True)
    number = row["revision"]
    kind = "statement" if number == 0 else f"correction {number} of the statement"
    _print_bill(f"{row['premise_id']}: {kind} of {row['period_start']:%B %Y}", row=row, bill=(bill := bill_of(row)))
    if number:
        before = bill_of(statements.filter(pl.col("revision") == number - 1).row(0, named=True))
        change = bill.total_cents - before.total_cents
        amount = money(abs(change), currency_code=bill.currency_code)
        console.print(
            f"\n{amount} {'more' if change >= 0 else 'less'} than before it; every earlier one is kept: --revision."
        )


def _print_to_date(row: dict[str, Any]) -> None:
    from energy_assets.prices.bill import bill_of, money, rounded_together

    title = f"{row['premise_id']}: bill to date, {row['period_start']:%B %Y} until {row['settled_until']:%d.%m.}"
    _print_bill(title, row=row, bill=bill_of(row))
    low, expected, high = (
        money(rounded_together([row[name]])[0], currency_code=row["currency_code"])
        for name in ("low_amount", "expected_amount", "high_amount")
    )
    console.print(f"\nAt the month's end: {low} to {high}, most likely [bold]{expected}[/]", highlight=False)
    console.print(
        f"(days to come: {row['forecast_days']} from the forecast, {row['typical_days']} like your last four weeks)",
        highlight=False,
    )


def _print_bill(title: str, *, row: dict[str, Any], bill: Bill) -> None:
    from rich.table import Table as Grid

    from energy_assets.prices.bill import money

    grid = Grid(title=title, title_justify="left", min_width=len(title), show_footer=False)
    grid.add_column(f"{row['days']} days, zone {row['zone_id']}")
    grid.add_column("energy", justify="right", no_wrap=True)
    grid.add_column("amount", justify="right", no_wrap=True)
    for line in bill.lines:
        energy = "" if line.energy_kwh is None else f"{line.energy_kwh:,.1f} kWh"
        grid.add_row(line.label, energy, money(line.cents, currency_code=bill.currency_code))
    grid.add_section()
    label = "To pay" if bill.total_cents >= 0 else "You are paid"
    grid.add_row(f"[bold]{label}[/]", "", f"[bold]{money(abs(bill.total_cents), currency_code=bill.currency_code)}[/]")
    grid.add_section()
    grid.add_row("A flat tariff would have cost", "", money(bill.flat_cents, currency_code=bill.currency_code))
    saved = "You saved" if bill.saved_cents >= 0 else "You paid more by"
    grid.add_row(saved, "", money(abs(bill.saved_cents), currency_code=bill.currency_code))
    console.print(grid, highlight=False)
    for remark in bill.remarks:
        console.print(f"· {remark}", highlight=False)


@settlement.command("outlook")
def look_ahead(
    premise: Annotated[str, typer.Argument(help="Whose outlook, as in metering.premises.")],
    days: Annotated[int, typer.Option(min=7, max=90, help="How far ahead.")] = 90,
) -> None:
    """Show what the next 7, 30, 60 and 90 days may cost a premise, or earn it."""
    from rich.table import Table as Grid

    from energy_assets.prices.outlook import costs_ahead

    history, settled, zone, latitude = _history_of(premise)
    first: date = settled["local_date"][-1] + timedelta(days=1)
    made = costs_ahead(history, premise_id=premise, settled=settled, first_day=first, days=days, latitude=latitude)
    title = f"{premise}: from {first:%d.%m.%Y}, likely (and eight of ten times within)"
    grid = Grid(title=title, title_justify="left", min_width=len(title))
    for name in ("days", "drawn kWh", "fed in kWh", f"cost {zone.currency_code}", f"profit {zone.currency_code}"):
        grid.add_column(name, justify="right")
    grid.add_column(f"balance {zone.currency_code}", justify="right", no_wrap=True)
    for row in made.iter_rows(named=True):
        cells = []
        for name, digits in (("drawn_kwh", 0), ("fed_kwh", 0), ("cost", 2), ("profit", 2), ("balance", 2)):
            values = [row[f"{name}_{level}"] for level in ("q10", "q50", "q90")]
            shown = digits if max(map(abs, values)) < 1000 else 0
            low, likely, high = (f"{value:,.{shown}f}" for value in values)
            cells.append(f"{likely} ({low}…{high})" if row[f"{name}_q90"] else "–")
        grid.add_row(str(row["days"]), *cells)
    console.print(grid, highlight=False)
    console.print("At what a kWh cost and earned you in the last four weeks; fixed charge and peak share come on top.")


def _history_of(premise: str) -> tuple[pl.DataFrame, pl.DataFrame, ZoneConfig, float | None]:
    """Return up to 14 months of daily use of a premise and some neighbours, its settled days, its zone and latitude."""
    import polars as pl

    from energy_assets.contracts import METERS, READINGS_INTERVAL, SETTLEMENT_DAYS, SITES, Window
    from energy_assets.lake import Lake
    from energy_assets.prices.daily import zones_of
    from energy_assets.prices.outlook import daily_use
    from energy_assets.prices.periods import on_slots
    from energy_assets.prices.usage import READ_COLUMNS, counted_meters, use_of_days

    settings = load_settings()
    lake = Lake.from_settings(settings, author="cli")
    settled = lake.read(SETTLEMENT_DAYS, where={"premise_id": premise}).sort("local_date")
    if settled.is_empty():
        lake.close()
        raise ContractError(f"{premise} has no settled day; the night, or `energy nightly`, settles them.")
    members = counted_meters(lake.read(METERS, where={"site_id": settled["zone_id"][-1]}))
    neighbours = sorted(set(members["premise_id"].to_list()) - {premise})[:_NEIGHBOURS]
    members = members.filter(members["premise_id"].is_in([premise, *neighbours]))
    sites = lake.read(SITES, where={"site_id": settled["zone_id"][-1]})
    (zone,) = zones_of(settings.home / "zones", sites=sites, currency_code=settings.currency_code)
    last = settled["local_date"][-1]
    dates = [last - timedelta(days=back) for back in range(_HISTORY_DAYS, -1, -1)]
    window = Window.of_days(dates[0], last + timedelta(days=1))
    meters = members["meter_id"].to_list()
    readings = lake.read(READINGS_INTERVAL, window, columns=READ_COLUMNS, where={"meter_id": meters})
    lake.close()
    no_curves = pl.DataFrame(
        schema={"zone_id": pl.String, "delivery_date": pl.Date, "revision": pl.Int64, "interval_minutes": pl.Int64}
    )
    days = on_slots([(zone, each) for each in dates], curves=no_curves, members=members)
    return daily_use(use_of_days(readings, members=members, days=days)), settled, zone, sites["latitude"][0]
