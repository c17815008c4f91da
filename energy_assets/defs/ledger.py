"""The transparency log: every published price curve and correction, signed, so that a stranger can check it."""

from datetime import UTC, datetime

import dagster as dg

from energy_assets.contracts import LEDGER_ENTRIES, PRICES_CURVES
from energy_assets.defs.automation import FRESH_EVERY_MORNING
from energy_assets.defs.contract_checks import contract_check
from energy_assets.defs.partitions import DELIVERY_DATE, delivery_dates_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message
from energy_assets.lake import Lake
from energy_assets.ledger.keeping import entry_rows, log_curves, open_ledger, problems_of
from energy_assets.settings import Settings


@dg.asset(
    **looks_of(LEDGER_ENTRIES, kinds=("ducklake", "tlog")),
    description=LEDGER_ENTRIES.description,
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[PRICES_CURVES.asset_key],
    freshness_policy=FRESH_EVERY_MORNING,
)
def price_ledger(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Published curves of the delivery dates appended to the log; what is there already keeps its place."""
    ledger = open_ledger(settings.ledger_folder, name=settings.ledger_name)
    curves = lake.read(PRICES_CURVES, where={"delivery_date": delivery_dates_of(context)})
    places = log_curves(ledger, curves)
    size, known = ledger.checkpoint().size, lake.count(LEDGER_ENTRIES)
    # An index that knows more than the log says so in the check below; it is not cut to fit.
    rows = entry_rows(ledger, start=min(known, size), now=datetime.now(UTC))
    commit = lake.append(LEDGER_ENTRIES, rows, message=run_message(context))
    return report(
        commit,
        LEDGER_ENTRIES,
        curves=len(places),
        entries=size,
        root_sha256=ledger.checkpoint().root.hex(),
        verifier_key=ledger.verifier.text,
    )


@dg.asset_check(asset=LEDGER_ENTRIES.asset_key, name="log_holds_what_was_published", blocking=True)
def log_holds_what_was_published(
    lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """The log has the signed root, is the one that the index remembers, and holds every published curve."""
    ledger = open_ledger(settings.ledger_folder, name=settings.ledger_name)
    index = lake.read(LEDGER_ENTRIES)
    dates = index["entry_date"].unique().to_list()
    curves = lake.read(PRICES_CURVES, where={"delivery_date": dates}) if dates else PRICES_CURVES.empty()
    problems = problems_of(ledger, index=index, curves=curves)
    return dg.AssetCheckResult(
        passed=not problems,
        description=" ".join(problems[:5]) or f"{index.height} entries, all as signed and as published",
        metadata={"problems": len(problems)},
    )


checks = [contract_check(LEDGER_ENTRIES), log_holds_what_was_published]
