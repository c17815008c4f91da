"""Contracts of settlement: days, pools, statements and bills to date, in whole units that add up exactly."""

from energy_assets.contracts.table import Column, Table, day, integer, text, time

AMOUNT_UNITS_PER_CURRENCY = 100_000_000  # a price unit (1e-5 currency/kWh) times a watt-hour
COMMUNITY_RULES = ("none", "d_nem", "mid_market", "supply_demand_ratio", "bill_sharing")
COMMUNITY_KEYS = ("proportional", "static", "dynamic")

_AMOUNT = "1e-8 currency"

_COUNTS: tuple[Column, ...] = (
    integer("slots", "Slots that are settled", 0, "a count"),
    integer(
        "estimated_slots",
        "Slots whose energy was not read: import counts as the baseline, export as none",
        0,
        "a count",
    ),
    integer("unpriced_slots", "Slots without a published price, billed at the flat rates", 0, "a count"),
    integer("import_wh", "Energy drawn, Wh", 0, "import and export are kept apart"),
    integer("export_wh", "Energy fed in, Wh", 0, "import and export are kept apart"),
    integer("baseline_wh", "Energy of the baseline, Wh", 0, "a baseline is of imports"),
    integer("local_wh", "Energy that came from members of the community, Wh", 0, "a part of the import"),
)
_ENERGY_AMOUNTS: tuple[Column, ...] = (
    integer("baseline_amount", f"Baseline at the flat rate, {_AMOUNT}"),
    integer("deviation_amount", f"Import beyond the baseline at the dynamic price, {_AMOUNT}"),
    integer(
        "baseline_credit",
        f"What the flat rate on the baseline spares against the dynamic price, shown apart, {_AMOUNT}",
    ),
    integer("feed_in_credit", f"Energy fed in at the feed-in price, {_AMOUNT}"),
    integer("community_credit", f"What membership spares against being alone, {_AMOUNT}"),
)
_BILL: tuple[Column, ...] = (
    integer("fixed_amount", f"Fixed charge, {_AMOUNT}"),
    integer("peak_amount", f"Share of the zone's peak cost, {_AMOUNT}"),
    integer("total_amount", f"To be paid, {_AMOUNT}; negative is owed to the premise"),
    integer("flat_amount", f"What a flat tariff would have cost, {_AMOUNT}"),
    integer("saved_amount", f"Flat tariff less total, {_AMOUNT}"),
)

SETTLEMENT_DAYS = Table(
    schema="settlement",
    name="days",
    description="Energy and money of a premise on a local day: what statements and bills to date are summed from.",
    columns=(
        text("premise_id", "Premise"),
        text("zone_id", "Price zone"),
        day("local_date", "Local day of the zone"),
        time("starts_at_utc", "Start of the local day"),
        integer("interval_minutes", "Length of a slot", 1, "the finest cadence we keep"),
        text("currency_code", "ISO 4217"),
        *_COUNTS,
        integer("peak_wh", "Energy drawn in the slot of the zone's highest import of the day, Wh", 0, "an import"),
        *_ENERGY_AMOUNTS,
        integer("grid_amount", f"Own part of the grid's bill to the community, {_AMOUNT}"),
        integer("local_amount", f"Paid to other members, {_AMOUNT}; negative is paid by them; sums to zero"),
        integer("flat_amount", f"What the energy would have cost at the flat rates, {_AMOUNT}"),
    ),
    key=("premise_id", "local_date"),
    window_column="starts_at_utc",
    sorted_by=("premise_id", "starts_at_utc"),
)

SETTLEMENT_POOLS = Table(
    schema="settlement",
    name="pools",
    description="The account of a zone's community on a local day: what the grid bills it, and how it shares.",
    columns=(
        text("zone_id", "Price zone"),
        day("local_date", "Local day of the zone"),
        time("starts_at_utc", "Start of the local day"),
        text("currency_code", "ISO 4217"),
        text("rule", "How the grid's bill is shared", allowed=COMMUNITY_RULES),
        text("key", "Who gets local energy", allowed=COMMUNITY_KEYS),
        integer("members", "Premises", 0, "a count"),
        integer("import_wh", "Energy that members drew, Wh", 0, "a sum of imports"),
        integer("export_wh", "Energy that members fed in, Wh", 0, "a sum of exports"),
        integer("grid_import_wh", "Energy that the grid bills, Wh", 0, "an import"),
        integer("grid_export_wh", "Energy that the grid pays for, Wh", 0, "an export"),
        integer("local_wh", "Energy that members got from each other, Wh", 0, "energy"),
        integer("grid_amount", f"The grid's bill to the community, {_AMOUNT}"),
    ),
    key=("zone_id", "local_date"),
    window_column="starts_at_utc",
)

SETTLEMENT_STATEMENTS = Table(
    schema="settlement",
    name="statements",
    description="Two-part bill per premise and month: baseline at the flat rate, deviation at the dynamic price.",
    columns=(
        text("premise_id", "Premise"),
        text("zone_id", "Price zone"),
        day("period_start", "First local day of the period"),
        day("period_end", "First local day after the period"),
        integer("revision", "0 is the first statement; corrected readings make the next", 0, "a count"),
        integer("publication", "Which publication of the zone and period brought this revision, from 0", 0, "a count"),
        time("starts_at_utc", "Start of the period"),
        text("currency_code", "ISO 4217"),
        integer("days", "Local days of the period that are settled", 0, "a count"),
        *_COUNTS,
        *_ENERGY_AMOUNTS,
        *_BILL,
    ),
    key=("premise_id", "period_start", "revision"),
    window_column="starts_at_utc",
    sorted_by=("premise_id", "starts_at_utc"),
)

SETTLEMENT_TO_DATE = Table(
    schema="settlement",
    name="to_date",
    description="The bill of the running month: what is settled, and where the month's end is expected to be.",
    columns=(
        text("premise_id", "Premise"),
        text("zone_id", "Price zone"),
        day("period_start", "First local day of the period"),
        day("period_end", "First local day after the period"),
        day("settled_until", "First local day that is not settled yet"),
        text("currency_code", "ISO 4217"),
        integer("days", "Local days of the period that are settled", 0, "a count"),
        *_COUNTS,
        *_ENERGY_AMOUNTS,
        *_BILL,
        integer("forecast_days", "Days of the rest that a forecast covers", 0, "a count"),
        integer("typical_days", "Days of the rest that are taken to be like the last four weeks", 0, "a count"),
        integer("low_amount", f"Total at the month's end, lower end of its range, {_AMOUNT}", nullable=True),
        integer("expected_amount", f"Total at the month's end as expected, {_AMOUNT}", nullable=True),
        integer("high_amount", f"Total at the month's end, upper end of its range, {_AMOUNT}", nullable=True),
    ),
    key=("premise_id", "period_start"),
    sorted_by=("premise_id",),
)

DAY_SUMS: tuple[str, ...] = tuple(column.name for column in (*_COUNTS, *_ENERGY_AMOUNTS))
"""Columns of days that statements and bills to date sum up under the same name."""
