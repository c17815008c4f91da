"""The example of docs/prices.md: its command, run as it stands, makes the table that the page shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts.prices import PRICE_COMPONENTS
from energy_assets.prices.markets import Market
from energy_assets.prices.zones import load_zone

ROOT = Path(__file__).parents[2]
VALUES = ("price_units", "export_price_units", *(f"{name}_component" for name in PRICE_COMPONENTS))


def test_the_command_of_the_page_makes_its_table(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "prices.md").read_text("utf-8")
    commands = re.findall(r"^    energy ((?:price|cheapest|horizon|supply) .*)$", text, flags=re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["price", "cheapest", "horizon", "supply"]
    shown = re.findall(r"^\| (\d\d:\d\d) \| (.*) \|$", text, flags=re.MULTILINE)
    assert len(shown) == 3
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    energy = Path(sys.executable).parent / "energy"
    said = {
        command.split()[0]: subprocess.run(
            [energy, *command.split()], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120
        ).stdout
        for command in commands
    }
    made = pl.read_csv(tmp_path / "curve.csv")
    for hour, cells in shown:
        (slot,) = made.filter(pl.col("starts_at_utc").str.contains(f"T{hour}:", literal=True)).iter_rows(named=True)
        expected = [float(cell) for cell in cells.split(" | ")]
        assert [slot[name] for name in VALUES] == pytest.approx(expected, abs=0.006)
        assert sum(slot[name] for name in VALUES[2:]) == pytest.approx(slot["price_units"], abs=1e-9)
    for hour, per_kwh in re.findall(r"(\d\d:\d\d) \((0\.\d{5})\)", text):
        assert re.search(rf"{hour} .* {per_kwh} ", said["cheapest"]), hour
    assert "192 slots in week.csv: 168 profile, 24 published" in said["horizon"]
    steps = re.findall(r"^\| ((?:to|above) .* kW) \| (0\.\d+) \|$", text, flags=re.MULTILINE)
    assert len(steps) == 4
    for name, per_kwh in steps:
        assert re.search(rf"{name} .* {per_kwh} ", said["supply"]), name


def test_the_zone_and_the_market_of_the_page_are_ones(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "prices.md").read_text("utf-8")
    blocks = re.findall(r"((?:^    .*\n)+)", text, flags=re.MULTILINE)
    (zone,) = (block for block in blocks if 'supply_kind = "fitted"' in block)
    (market,) = (block for block in blocks if "country_codes" in block)
    shutil.copy(ROOT / "docs" / "examples" / "supply-history.csv", tmp_path)
    (tmp_path / "zone.toml").write_text(textwrap.dedent(zone))
    assert len(load_zone(tmp_path / "zone.toml").supply) == 4
    declared = Market.model_validate({"market_id": "np", **tomllib.loads(textwrap.dedent(market))})
    assert declared.country_codes == ("NO", "SE", "FI", "DK")
