"""Commands of settlement: a premise's bill, as its household reads it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_assets.cli.root import app, console
from energy_assets.errors import ContractError
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    import polars as pl

    from energy_assets.prices.bill import Bill

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
        there = (
            f"There are: {', '.join(months)}." if months else f"Premises with a bill: {', '.join(known) or 'none'}, …"
        )
        of = "the running month" if month is None else f"{month:%Y-%m}"
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
