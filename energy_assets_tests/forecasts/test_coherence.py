"""What is stored adds up: in the lake, read back from Parquet, and a row that was changed afterwards is found."""

from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_LOAD, FORECASTS_RECIPES
from energy_assets.forecasts.coherence import judge_sums
from energy_assets.lake import Lake
from energy_assets_tests.forecasts import portfolio as given
from energy_assets_tests.forecasts.test_outcomes import DELIVERY


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return forecast and recipe of an issue as they come back from a lake."""
    folder: Path = tmp_path_factory.mktemp("lake")
    lake = Lake(catalog=f"sqlite:{folder / 'c.sqlite'}", data_path=str(folder / "data"), work_folder=folder / "work")
    lake.replace(FORECASTS_LOAD, DELIVERY.rows)
    lake.replace(FORECASTS_RECIPES, DELIVERY.recipe)
    read = lake.read(FORECASTS_LOAD), lake.read(FORECASTS_RECIPES)
    lake.close()
    return read


def test_what_comes_back_from_the_lake_adds_up(stored):
    judged = judge_sums(stored[0], meters=given.METER_ROWS, recipe=stored[1])
    assert judged.holds, judged.offenders
    nodes = stored[0].filter(pl.col("node_kind") != "meter")
    assert f"medians: {nodes.height:,}, off by" in judged.evidence
    assert "scenarios:" in judged.evidence
    assert "quantiles:" in judged.evidence


@pytest.mark.parametrize(
    ("node", "column", "what"),
    [
        pytest.param("t.a.electricity", "q50", "medians", id="a-meter's-median"),
        pytest.param("portfolio|electricity|net", "q50", "medians", id="the-portfolio's"),
        pytest.param("t.berlin|electricity|grid_import", "q50", "medians", id="a-site's"),
    ],
)
def test_a_millionth_more_in_one_slot_is_found(stored, node: str, column: str, what: str):
    rows = stored[0]
    one = (pl.col("node_id") == node) & (pl.col("starts_at_utc") == rows["starts_at_utc"].sort()[500])
    assert rows.filter(one).height == 1
    changed = rows.with_columns(pl.when(one).then(pl.col(column) * 1.00001).otherwise(column).alias(column))
    judged = judge_sums(changed, meters=given.METER_ROWS, recipe=stored[1])
    assert not judged.holds
    assert set(judged.offenders["what"]) >= {what}


def test_bands_of_other_scenarios_are_found(stored):
    recipe = stored[1].with_columns(
        value=pl.when(pl.col("parameter") == "seed").then(pl.col("value") + 1).otherwise("value")
    )
    judged = judge_sums(stored[0], meters=given.METER_ROWS, recipe=recipe)
    assert set(judged.offenders["what"]) == {"quantiles"}
