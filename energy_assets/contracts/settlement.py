"""Contracts of settlement: one statement per premise, period and revision, in whole units that add up exactly."""

from energy_assets.contracts.table import Table, day, integer, text, time

AMOUNT_UNITS_PER_CURRENCY = 100_000_000  # a price unit (1e-5 currency/kWh) times a watt-hour

_AMOUNT = "1e-8 currency"

SETTLEMENT_STATEMENTS = Table(
    schema="settlement",
    name="statements",
    description="Two-part bill per premise and period: baseline at the flat rate, deviation at the dynamic price.",
    columns=(
        text("premise_id", "Premise"),
        text("zone_id", "Price zone"),
        day("period_start", "First local day of the period"),
        day("period_end", "First local day after the period"),
        integer("revision", "0 is the first statement; corrected readings make the next", 0, "a count"),
        time("starts_at_utc", "Start of the period"),
        text("currency_code", "ISO 4217"),
        integer("slots", "Slots of the period that are settled", 0, "a count"),
        integer("import_wh", "Energy drawn, Wh", 0, "import and export are kept apart"),
        integer("export_wh", "Energy fed in, Wh", 0, "import and export are kept apart"),
        integer("baseline_wh", "Energy of the baseline, Wh", 0, "a baseline is of imports"),
        integer("baseline_amount", f"Baseline at the flat rate, {_AMOUNT}"),
        integer("deviation_amount", f"Import beyond the baseline at the dynamic price, {_AMOUNT}"),
        integer("baseline_credit", f"What the baseline spares against the dynamic price on it, shown apart, {_AMOUNT}"),
        integer("fixed_amount", f"Fixed charge, {_AMOUNT}"),
        integer("peak_amount", f"Share of the zone's peak cost, {_AMOUNT}"),
        integer("feed_in_credit", f"Energy fed in at the feed-in price, {_AMOUNT}"),
        integer("total_amount", f"To be paid, {_AMOUNT}; negative is owed to the premise"),
        integer("flat_amount", f"What a flat tariff would have cost, {_AMOUNT}"),
        integer("saved_amount", f"Flat tariff less total, {_AMOUNT}"),
    ),
    key=("premise_id", "period_start", "revision"),
    window_column="starts_at_utc",
    sorted_by=("premise_id", "starts_at_utc"),
)
