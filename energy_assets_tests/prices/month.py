"""A lake with a month of readings and prices of a small community, and the settlement assets run on it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from energy_assets.contracts import METERS, PRICES_CURVES, READINGS_INTERVAL, SITES, Window
from energy_assets.defs import ledger as ledger_assets
from energy_assets.defs import settlement as settlement_assets
from energy_assets.defs.jobs import PARTITION_RANGE_END, PARTITION_RANGE_START
from energy_assets.lake import Lake
from energy_assets.prices.days import day_slots
from energy_assets.prices.zones import ZoneConfig
from energy_assets.settings import Settings
from energy_assets_tests.prices.use import meters, readings

ZONE = ZoneConfig(zone_id="village", timezone="Europe/Berlin")
FIRST, LAST = date(2026, 5, 25), date(2026, 7, 2)
JUNE = date(2026, 6, 1)
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_ZONE_FILE = """
zone_id = "village"
timezone = "Europe/Berlin"
[bill]
fixed_charge = 6.0
peak_cost_per_kw = 0.5
"""


class Village:
    """Two homes that draw and one with panels, hourly, with a price for every day of June."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.lake = Lake.from_settings(self.settings)

    def copy(self, home: Path) -> Village:
        """Return a village that goes on from here in another home."""
        self.lake.close()
        shutil.copytree(self.settings.home, home, dirs_exist_ok=True)
        return Village(home)

    def furnish(self) -> None:
        """Write registry, prices and readings."""
        folder = self.settings.home / "zones"
        folder.mkdir(parents=True)
        (folder / "village.toml").write_text(_ZONE_FILE)
        declared = meters(
            ("a", "a", "consumption"), ("b", "b", "consumption"), ("i", "c", "grid_import"), ("e", "c", "grid_export"),
            zone_id="village",
        )  # fmt: skip
        site = {"site_id": "village", "name": "Village", "timezone": ZONE.timezone, "source": "test"}
        self.lake.replace(SITES, SITES.conform(pl.DataFrame([site])))
        self.lake.replace(METERS, declared)
        self.lake.replace(PRICES_CURVES, pl.concat(curve_of(JUNE + timedelta(days=i)) for i in range(30)))
        self.read(readings({name: use_of_meter(name) for name in ("a", "b", "i", "e")}))

    def read(self, rows: pl.DataFrame) -> None:
        """Put readings in the place of those of the same days."""
        first, last = rows["starts_at_utc"].min(), rows["starts_at_utc"].max()
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        window = Window.of_days(first.date(), last.date())
        kept = self.lake.read(READINGS_INTERVAL, window).join(rows, on=["meter_id", "starts_at_utc"], how="anti")
        self.lake.replace(READINGS_INTERVAL, pl.concat([kept, rows]), window=window)

    def settle(self, first: date, last: date) -> dg.ExecuteInProcessResult:
        """Run settlement and its ledger for days of readings, as the night does."""
        return self._run(
            [
                settlement_assets.settled_days, settlement_assets.statements, ledger_assets.settlement_ledger,
                *settlement_assets.checks[:5], ledger_assets.settlement_ledger_holds,
            ],
            first,
            last,
        )  # fmt: skip

    def bills(self, day: date) -> dg.ExecuteInProcessResult:
        """Run the bill to date and what the lake remembers of the log."""
        return self._run([settlement_assets.bill_to_date, ledger_assets.ledger_memory], day, day)

    def failed_checks(self) -> set[str]:
        """Run the checks alone and return those that do not pass."""
        definitions = [*settlement_assets.checks[:5], ledger_assets.settlement_ledger_holds]
        assets = [settlement_assets.settled_days, settlement_assets.statements, ledger_assets.settlement_ledger]
        job = dg.define_asset_job("checks", dg.AssetSelection.checks(*definitions))
        resolved = dg.Definitions(
            assets=assets, asset_checks=definitions, jobs=[job], resources=self._resources
        ).resolve_job_def("checks")
        done = resolved.execute_in_process(run_config=_QUIET, raise_on_error=False)
        return {each.check_name for each in done.get_asset_check_evaluations() if not each.passed}

    @property
    def _resources(self) -> dict[str, object]:
        return {"lake": self.lake, "settings": self.settings}

    def _run(self, definitions: Sequence[object], first: date, last: date) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            definitions,  # type: ignore[arg-type]
            tags={PARTITION_RANGE_START: first.isoformat(), PARTITION_RANGE_END: last.isoformat()},
            resources=self._resources,
            run_config=_QUIET,
            raise_on_error=False,
        )


def use_of_meter(name: str) -> dict[datetime, float | None]:
    """Return hourly kWh: more on some days than usual, panels by day."""
    hours = [
        datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(hours=hour)
        for hour in range(((LAST - FIRST).days + 1) * 24)
    ]
    base = {"a": 0.3, "b": 0.5, "i": 0.2, "e": 0.0}[name]
    sun = {"i": -0.2, "e": 1.5}.get(name, 0.0)
    evening = 0.0 if name == "e" else 0.8
    return {
        at: round(
            base + (evening if 17 <= at.hour < 21 else 0) + (sun if 8 <= at.hour < 16 else 0) + at.day % 5 / 100, 3
        )
        for at in hours
    }


def curve_of(day: date) -> pl.DataFrame:
    """Return a curve that is dear in the evening and cheap at noon."""
    slots = day_slots(day, zone=ZONE, interval_minutes=60)
    price = [45_000 if 18 <= hour < 22 else 18_000 if 10 <= hour < 16 else 28_000 for hour in range(len(slots))]
    facts: dict[str, object] = {
        "zone_id": "village", "delivery_date": day, "revision": 0, "interval_minutes": 60, "currency_code": "EUR",
        "net_load_q10_kwh": 1.0, "net_load_q50_kwh": 2.0, "net_load_q90_kwh": 3.0, "rung": "welfare",
        "solver_status": "solved", "inputs_hash": "ab" * 32, "published_at_utc": slots[0] - timedelta(hours=22),
        "export_price_units": 8_000,
    }  # fmt: skip
    parts = {name: 0.0 for name in PRICES_CURVES.column_names if name.endswith("_component")}
    frame = pl.DataFrame({"starts_at_utc": slots, "price_units": price}).with_columns(
        **{name: pl.lit(value) for name, value in (facts | parts).items()}
    )
    return PRICES_CURVES.conform(frame)
