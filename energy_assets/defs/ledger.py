"""The transparency log: published curves, settlements and changes of champions, signed, so that a stranger can check.

The log's files are the truth. What is remembered of it in the lake is what a rewritten log is found out by.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    LEDGER_CHECKPOINTS,
    LEDGER_ENTRIES,
    PRICES_CURVES,
    SETTLEMENT_STATEMENTS,
)
from energy_assets.defs.automation import FRESH_EVERY_MORNING
from energy_assets.defs.contract_checks import checked_window, contract_checks
from energy_assets.defs.partitions import DAILY, DELIVERY_DATE, delivery_dates_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, OWNERS, report, run_message, specs_of
from energy_assets.lake import Change, Lake
from energy_assets.ledger.findings import (
    curve_problems,
    entry_problems,
    gap_problems,
    memory_problems,
    published_curves,
    unknown_promotions,
)
from energy_assets.ledger.keeping import (
    checkpoint_rows,
    entry_rows,
    log_curves,
    log_promotions,
    open_ledger,
    promotion_entries,
)
from energy_assets.ledger.keys import salt_secret
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.settlements import log_publications, publication_entry, settlement_identity
from energy_assets.models.registry import Registry, UnresolvedModelError
from energy_assets.prices.statements import standing
from energy_assets.settings import Settings
from energy_assets.sql import Query

_TABLES = (LEDGER_ENTRIES, LEDGER_CHECKPOINTS)
PRICE_LEDGER, SETTLEMENT_LEDGER, PROMOTION_LEDGER = (
    ["ledger", name] for name in ("price_ledger", "settlement_ledger", "promotion_ledger")
)


def _looks(key: list[str]) -> dict[str, Any]:
    return {"key": key, "group_name": "ledger", "owners": OWNERS, "kinds": {"tlog"}}


@dg.asset(
    **_looks(PRICE_LEDGER),
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[PRICES_CURVES.asset_key],
    freshness_policy=FRESH_EVERY_MORNING,
)
def price_ledger(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Published curves of the delivery dates, and their corrections, in the log; what is there keeps its place."""
    ledger = _ledger(settings)
    places = log_curves(ledger, lake.read(PRICES_CURVES, where={"delivery_date": delivery_dates_of(context)}))
    return _state(ledger, curves=len(places))


@dg.asset(
    **_looks(SETTLEMENT_LEDGER),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[SETTLEMENT_STATEMENTS.asset_key],
    freshness_policy=FRESH_EVERY_MORNING,
)
def settlement_ledger(lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """The root over the salted statements of every zone, month and publication in the log; nobody can read a bill."""
    ledger, secret = _ledger(settings), salt_secret(settings.ledger_folder / "keys")
    publications = lake.query(Query.from_file("energy_assets.defs", "publications"))
    rows = list(publications.iter_rows())
    known = ledger.find_all([settlement_identity(*row) for row in rows])
    absent = [row for row, place in zip(rows, known, strict=True) if place is None]
    for zone_id, period in dict.fromkeys((zone_id, period) for zone_id, period, _ in absent):
        published = _statements(lake, zone_id, period)
        numbers = [number for zone, start, number in absent if (zone, start) == (zone_id, period)]
        stood = {number: standing(published, publication=number) for number in numbers}
        log_publications(ledger, stood, secret=secret)
    return _state(ledger, publications=len(absent))


@dg.asset(
    **_looks(PROMOTION_LEDGER),
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[["models", "load"]],
    freshness_policy=FRESH_EVERY_MORNING,
)
def promotion_ledger(
    context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Every change of champion in the log: which version, by whom it was judged, why, and the hash of its archive."""
    ledger = _ledger(settings)
    try:
        promotions = registry.promotions()
    except UnresolvedModelError as error:
        # The registry remembers them: a night without it only delays their entries.
        context.log.warning(f"promotions wait for the registry: {error}")
        promotions = []
    return _state(ledger, promotions=len(log_promotions(ledger, promotions)))


@dg.multi_asset(
    name="ledger_memory",
    # Of no partition: the log is remembered as it is, whichever run appended to it.
    specs=specs_of(
        _TABLES,
        deps=[PRICE_LEDGER, SETTLEMENT_LEDGER, PROMOTION_LEDGER],
        freshness_policy=FRESH_EVERY_MORNING,
    ),
)
def ledger_memory(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """The log's entries and its checkpoint remembered in the lake, once the log was found to be sound."""
    ledger, now = _ledger(settings), datetime.now(UTC)
    # An index that knows more than the log says so in the checks of the log; it is not cut to fit.
    rows = entry_rows(ledger, start=min(lake.count(LEDGER_ENTRIES), ledger.checkpoint().size), now=now)
    checkpoint = checkpoint_rows(ledger, now=now)
    seen = {"size": checkpoint["size"].to_list(), "root_sha256": checkpoint["root_sha256"].to_list()}
    # What another run remembers at the same time is the same: it is replaced, not repeated.
    changes = [Change(table=LEDGER_ENTRIES, rows=rows, where={"log_index": rows["log_index"].to_list()})]
    if not lake.count(LEDGER_CHECKPOINTS, where=seen):
        changes.append(Change(table=LEDGER_CHECKPOINTS, rows=checkpoint, where=seen))
    commit = lake.commit(changes, message=run_message(context))
    for table in _TABLES:
        yield report(commit, table)


def _specs(key: list[str], *, source: str) -> list[dg.AssetCheckSpec]:
    said = {
        "root_matches": "Every entry, read anew, is under the signed root.",
        "consistent_with_the_last_checkpoint": "The log extends every checkpoint and entry that the lake remembers.",
        f"matches_the_{source}": f"What the {source.replace('_', ' ')} says stands in the log as it stands there.",
        "no_gap": f"Everything that the {source.replace('_', ' ')} ever held has an entry.",
    }
    return [dg.AssetCheckSpec(name=name, asset=key, blocking=True, description=text) for name, text in said.items()]


@dg.multi_asset_check(specs=_specs(PRICE_LEDGER, source="price_table"))
def price_ledger_holds(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """The log is sound, the one that was seen before, and holds every published curve."""
    ledger = _ledger(settings)
    revisions = lake.query(Query.from_file("energy_assets.defs", "published_curves"))
    window = checked_window(context)
    dates = list(window.days()) if window else sorted(set(revisions["delivery_date"].to_list()))
    curves = lake.read(PRICES_CURVES, where={"delivery_date": dates})
    yield from _results(
        PRICE_LEDGER,
        root_matches=ledger.verify().problems,
        consistent_with_the_last_checkpoint=_memory(ledger, lake),
        matches_the_price_table=curve_problems(ledger, curves),
        no_gap=gap_problems(ledger, published_curves(revisions)),
    )


@dg.multi_asset_check(specs=_specs(SETTLEMENT_LEDGER, source="statement_table"))
def settlement_ledger_holds(
    lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """The log is sound, the one that was seen before, and holds the root of the statements as they stand."""
    ledger, secret = _ledger(settings), salt_secret(settings.ledger_folder / "keys")
    rows = list(lake.query(Query.from_file("energy_assets.defs", "publications")).iter_rows())
    # In order of period and publication, so that the last one of a zone stays.
    newest = {zone_id: (period, number) for zone_id, period, number in rows}
    # The newest month of every zone, with all its publications: older ones were compared when they were the newest,
    # and a proof of one compares it again.
    entries = []
    for zone_id, (period, last) in newest.items():
        published = _statements(lake, zone_id, period)
        entries += [
            publication_entry(ledger, standing(published, publication=number), publication=number, secret=secret)
            for number in range(last + 1)
        ]
    yield from _results(
        SETTLEMENT_LEDGER,
        root_matches=ledger.verify().problems,
        consistent_with_the_last_checkpoint=_memory(ledger, lake),
        matches_the_statement_table=entry_problems(ledger, entries),
        no_gap=gap_problems(ledger, [settlement_identity(*row) for row in rows]),
    )


@dg.multi_asset_check(specs=_specs(PROMOTION_LEDGER, source="registry"))
def promotion_ledger_holds(
    lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """The log is sound, the one that was seen before, and holds every change of champion that the registry knows."""
    ledger = _ledger(settings)
    found = ledger.verify()
    yield from _results(
        PROMOTION_LEDGER,
        root_matches=found.problems,
        consistent_with_the_last_checkpoint=_memory(ledger, lake),
    )
    try:
        expected = promotion_entries(registry.promotions())
    except UnresolvedModelError as error:
        # As in the asset: what the registry remembers can be compared on another night, so nothing waits for it.
        unasked = [f"Not compared: {error}"]
        yield from _results(
            PROMOTION_LEDGER, severity=dg.AssetCheckSeverity.WARN, matches_the_registry=unasked, no_gap=unasked
        )
        return
    yield from _results(PROMOTION_LEDGER, no_gap=gap_problems(ledger, expected))
    differing, unknown = entry_problems(ledger, expected), unknown_promotions(found.identities, expected)
    # A registry that lost what was logged is to be restored; it does not stop the log from being remembered.
    severity = dg.AssetCheckSeverity.ERROR if differing else dg.AssetCheckSeverity.WARN
    yield from _results(PROMOTION_LEDGER, severity=severity, matches_the_registry=[*differing, *unknown])


def _results(
    key: list[str], *, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR, **problems: Sequence[str]
) -> Iterator[dg.AssetCheckResult]:
    for name, found in problems.items():
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=not found,
            severity=severity,
            description=" ".join(found[:5]) or "holds",
            metadata={"problems": len(found)},
        )


def _memory(ledger: Ledger, lake: Lake) -> list[str]:
    return memory_problems(
        ledger,
        checkpoints=lake.read(LEDGER_CHECKPOINTS, columns=["size", "root_sha256"]),
        entries=lake.read(LEDGER_ENTRIES, columns=["log_index", "leaf_sha256"]),
    )


def _statements(lake: Lake, zone_id: str, period: date) -> pl.DataFrame:
    return lake.read(SETTLEMENT_STATEMENTS, where={"zone_id": zone_id, "period_start": period})


def _ledger(settings: Settings) -> Ledger:
    return open_ledger(settings.ledger_folder, name=settings.ledger_name)


def _state(ledger: Ledger, **figures: int) -> dg.MaterializeResult[None]:
    checkpoint = ledger.checkpoint()
    return dg.MaterializeResult(
        metadata={
            **figures,
            "entries": checkpoint.size,
            "root_sha256": checkpoint.root.hex(),
            "verifier_key": ledger.verifier.text,
        }
    )


checks = [price_ledger_holds, settlement_ledger_holds, promotion_ledger_holds, *contract_checks(_TABLES)]
