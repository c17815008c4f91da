"""The promotion ledger as the night runs it, on a real registry: what it logs, and what its checks find."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from energy_assets.contracts import LEDGER_CHECKPOINTS, LEDGER_ENTRIES
from energy_assets.defs import ledger as ledger_assets
from energy_assets.lake import Lake
from energy_assets.ledger.keeping import checkpoint_rows, entry_rows, open_ledger
from energy_assets.ledger.log import Ledger
from energy_assets.models.registry import Registry
from energy_assets.models.versions import Promotion
from energy_assets.settings import Settings

MODEL = "load-electricity-60min"
NOW = datetime(2026, 3, 19, 5, tzinfo=UTC)
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Night:
    """A home with a registry that knows three changes of champion, and the asset with its checks run on it."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.lake = Lake.from_settings(self.settings)
        self.registry = Registry(tracking_uri=f"sqlite:///{home / 'mlflow.sqlite'}", artifact_folder=home / "artifacts")

    @property
    def client(self) -> Any:
        import mlflow

        return mlflow.MlflowClient(tracking_uri=self.registry.tracking_uri, registry_uri=self.registry.tracking_uri)

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.settings.ledger_folder, name=self.settings.ledger_name)

    def promote(self, number: int, *, reason: str = "better") -> None:
        """Put a change of champion on the registry's record, as `succession.crown` does."""
        made = Promotion(
            name=MODEL, version=number, previous=number - 1 or None, at_utc=NOW + timedelta(days=number), how="by hand",
            reason=reason, archive_sha256="ab" * 32, figures={},
        )  # fmt: skip
        self.client.set_registered_model_tag(MODEL, f"promotion.{number:04d}", made.text())

    def run(self, registry: Registry | None = None) -> dict[str, dg.AssetCheckEvaluation]:
        """Run asset and checks and return what the checks said."""
        done = dg.materialize(
            [ledger_assets.promotion_ledger, ledger_assets.promotion_ledger_holds],
            partition_key="2026-03-20",
            resources={"lake": self.lake, "settings": self.settings, "registry": registry or self.registry},
            run_config=_QUIET,
            raise_on_error=False,
        )
        return {each.check_name: each for each in done.get_asset_check_evaluations()}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    made = Night(tmp_path_factory.mktemp("promotions"))
    made.registry.names()  # makes the store
    made.client.create_registered_model(MODEL)
    for number in (1, 2, 3):
        made.promote(number)
    yield made
    made.lake.close()


def broken(found: dict[str, dg.AssetCheckEvaluation]) -> dict[str, str]:
    return {name: each.severity.value for name, each in found.items() if not each.passed}


def test_the_life_of_the_promotion_ledger(night: Night, tmp_path: Path) -> None:
    found = night.run()
    assert set(found) == {"root_matches", "consistent_with_the_last_checkpoint", "matches_the_registry", "no_gap"}
    assert broken(found) == {}
    assert night.ledger.checkpoint().size == 3
    night.lake.append(LEDGER_ENTRIES, entry_rows(night.ledger, start=0, now=NOW))
    night.lake.append(LEDGER_CHECKPOINTS, checkpoint_rows(night.ledger, now=NOW))
    assert broken(night.run()) == {}
    assert night.ledger.checkpoint().size == 3

    # A registry that does not answer delays entries and comparison; the log itself is still checked.
    away = Registry(tracking_uri="http://127.0.0.1:9", artifact_folder=tmp_path)
    assert broken(night.run(away)) == {"matches_the_registry": "WARN", "no_gap": "WARN"}

    # A promotion that the registry forgot, as one would who wants to hide it, stands in the log.
    night.client.delete_registered_model_tag(MODEL, "promotion.0002")
    found = night.run()
    assert broken(found) == {"matches_the_registry": "WARN"}
    assert found["matches_the_registry"].description == (
        f"model_promotion, {MODEL}, 2026-03-21, 18000 is in the log; the registry does not know it."
    )
    night.promote(2)


def test_what_the_registry_says_otherwise_stops_the_night(night: Night) -> None:
    night.promote(3, reason="worse, as it happens")
    found = {each.check_name: each for each in checks_alone(night)}
    assert broken(found) == {"matches_the_registry": "ERROR"}
    night.promote(3)
    night.promote(4)
    found = {each.check_name: each for each in checks_alone(night)}
    assert broken(found) == {"matches_the_registry": "ERROR", "no_gap": "ERROR"}
    assert broken(night.run()) == {}


def test_a_rewritten_log_is_found(night: Night) -> None:
    tiles = night.settings.ledger_folder / "log" / "tile" / "entries"
    before = {path: path.read_bytes() for path in tiles.rglob("*.p/*")}
    for path, content in before.items():
        path.write_bytes(content.replace(b"better", b"bitter"))
    assert set(broken({each.check_name: each for each in checks_alone(night)})) >= {
        "root_matches", "matches_the_registry",
    }  # fmt: skip
    for path, content in before.items():
        path.write_bytes(content)


def checks_alone(night: Night) -> list[dg.AssetCheckEvaluation]:
    """Run the checks without the asset, which would refuse or mend what they are to find."""
    check = ledger_assets.promotion_ledger_holds
    job = dg.define_asset_job("checks", dg.AssetSelection.checks(check))
    resolved = dg.Definitions(
        assets=[ledger_assets.promotion_ledger],
        asset_checks=[check],
        jobs=[job],
        resources={"lake": night.lake, "settings": night.settings, "registry": night.registry},
    ).resolve_job_def("checks")
    done = resolved.execute_in_process(run_config=_QUIET, raise_on_error=False)
    return done.get_asset_check_evaluations()
