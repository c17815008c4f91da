"""The example of docs/prices.md: its command, run as it stands, makes the table that the page shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts.prices import PRICE_COMPONENTS

ROOT = Path(__file__).parents[2]
VALUES = ("price_units", "export_price_units", *(f"{name}_component" for name in PRICE_COMPONENTS))


def test_the_command_of_the_page_makes_its_table(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "prices.md").read_text("utf-8")
    (command,) = re.findall(r"^    energy (price .*)$", text, flags=re.MULTILINE)
    shown = re.findall(r"^\| (\d\d:\d\d) \| (.*) \|$", text, flags=re.MULTILINE)
    assert len(shown) == 3
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    energy = Path(sys.executable).parent / "energy"
    subprocess.run([energy, *command.split()], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    made = pl.read_csv(tmp_path / "curve.csv")
    for hour, cells in shown:
        (slot,) = made.filter(pl.col("starts_at_utc").str.contains(f"T{hour}:", literal=True)).iter_rows(named=True)
        expected = [float(cell) for cell in cells.split(" | ")]
        assert [slot[name] for name in VALUES] == pytest.approx(expected, abs=0.006)
        assert sum(slot[name] for name in VALUES[2:]) == pytest.approx(slot["price_units"], abs=1e-9)
