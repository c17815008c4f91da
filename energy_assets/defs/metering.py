"""Sites, premises and meters, as the declared sources describe them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from energy_assets.contracts import METERS, PREMISES, SITES
from energy_assets.defs.contract_checks import contract_checks
from energy_assets.defs.reporting import report, run_message, specs_of
from energy_assets.ingestion import register
from energy_assets.lake import Lake
from energy_assets.readings.source import load_sources
from energy_assets.settings import Settings

_TABLES = (SITES, PREMISES, METERS)


@dg.multi_asset(
    name="metering_registry",
    specs=specs_of(_TABLES),
)
def metering_registry(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Sites, premises and meters that the declared sources name; nothing about a meter is guessed."""
    sources = load_sources(settings.sources_folder)
    commit = register(lake, sources, now=datetime.now(UTC), message=run_message(context))
    for table in _TABLES:
        yield report(commit, table, sources=len(sources))


checks = contract_checks(_TABLES)
