"""What `energy run` prints, by its parts: the drawing of prices and the names made from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from energy_assets.showcase import price_drawing, slug_of


@pytest.mark.parametrize(
    ("prices", "drawn"),
    [
        pytest.param([0.0, 0.7], "▁█", id="lowest and highest"),
        pytest.param([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], "▁▂▃▄▅▆▇█", id="every step"),
        pytest.param([0.3] * 3, "▁▁▁", id="flat"),
        pytest.param([-0.1, 0.0, 0.6], "▁▂█", id="negative"),
    ],
)
def test_prices_are_drawn_from_lowest_to_highest(prices: list[float], drawn: str) -> None:
    assert price_drawing(prices) == drawn


@pytest.mark.parametrize(
    ("file", "slug"),
    [
        pytest.param("Meter Readings (2025).csv", "meter_readings_2025", id="spaces and signs"),
        pytest.param("2025.parquet", "table_2025", id="starts with a digit"),
        pytest.param("Zähler.csv", "z_hler", id="not ASCII"),
    ],
)
def test_a_file_gives_a_source_its_name(file: str, slug: str) -> None:
    assert slug_of(Path(file)) == slug
