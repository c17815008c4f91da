"""Training rows in files: each is dealt once, none that was not known teaches, and boosters of shards are no worse."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.defs import training_rows as of_training
from energy_assets.errors import ModelError
from energy_assets.features.matrix import SCHEMA
from energy_assets.models import row_store
from energy_assets.models.archive import FULL
from energy_assets.models.blend import Blend, learned_target
from energy_assets.models.experts import BOOSTED, fit_experts, recipe_for
from energy_assets.models.row_store import RowStore, Shards
from energy_assets.models.spec import ModelSpec
from energy_assets.models.streaming import fit_streamed
from energy_assets.models.training import Trained, train
from energy_assets_tests.features.frames import START, meters
from energy_assets_tests.models.instance import Instance, make_instance
from energy_assets_tests.models.worlds import office_features, split

SPEC = ModelSpec(rounds=3, spread_rounds=2, leaves=6)
EVERY_ROW = pl.lit(value=True)
ORDER = ["issued_at_utc", "starts_at_utc", "scale_kwh"]


def store_of(rows: pl.DataFrame, folder: Path, *, shards: int = 6, seed: int = 0) -> RowStore:
    folder.mkdir()
    store = RowStore(folder, expected_rows=shards * row_store.ROWS_OF_A_SHARD, seed=seed)
    for part in rows.iter_slices(1000):
        store.add(part)
    return store


@pytest.mark.parametrize("at_once", [pytest.param(10**9, id="one-deal"), pytest.param(1500, id="many-deals")])
def test_every_row_is_in_one_shard_and_every_shard_is_of_all(tmp_path, monkeypatch, at_once: int):
    monkeypatch.setattr(row_store, "_AT_ONCE", at_once)
    rows = office_features(days=60, meter_count=3)
    store = store_of(rows, tmp_path / "a", shards=8)
    shards = list(store.shards())
    assert len(shards) == len(store) == 8
    assert store.rows == rows.height
    assert pl.concat(shards).sort(ORDER).equals(rows.drop("meter_id").sort(ORDER))
    for shard in shards:
        assert shard.height == pytest.approx(rows.height / 8, rel=0.2)
        assert shard["issued_at_utc"].n_unique() == rows["issued_at_utc"].n_unique()
    again = list(store_of(rows, tmp_path / "b", shards=8).shards())
    assert all(one.equals(other) for one, other in zip(shards, again, strict=True))
    assert all(one.equals(other) for one, other in zip(shards, store.shards(), strict=True))  # read twice


def test_boosters_of_six_shards_tell_the_next_weeks_better_than_those_of_one(tmp_path):
    """The same rounds and rows a tree; what differs is that each booster meets two shards instead of half of one."""
    rows, later = split(office_features(days=90, meter_count=4), test_days=21)
    recipe = recipe_for(rows, spec=ModelSpec(leaves=12), seed=0, threads=2)
    rounds = dict.fromkeys(BOOSTED, 30)
    store = store_of(rows, tmp_path / "a")
    shards = Shards(store, seen=pl.col("energy_kwh").is_finite())
    streamed = fit_streamed(rows, shards=shards, recipe=recipe, rounds=rounds)
    half = rows.sample(rows.height // 12, seed=0).sort("issued_at_utc", "meter_id", "starts_at_utc")
    alone = fit_experts(half, recipe=recipe, rounds=rounds)
    target = learned_target(later)
    known = np.isfinite(target)
    ours, theirs = (
        np.abs(each.predict(later)[known, : len(BOOSTED)] - target[known, None]).mean() for each in (streamed, alone)
    )
    assert ours < theirs
    assert shards.rows == rows["energy_kwh"].is_finite().sum()
    assert {name: booster.num_boosted_rounds() for name, booster in streamed.boosters.items()} == rounds
    again = fit_streamed(rows, shards=shards, recipe=recipe, rounds=rounds)
    assert np.array_equal(streamed.predict(later), again.predict(later))


def test_fewer_rounds_than_shards_are_all_grown(tmp_path):
    rows = office_features(days=60, meter_count=2)
    shards = Shards(store_of(rows, tmp_path / "a", shards=17), seen=pl.col("energy_kwh").is_finite())
    recipe = recipe_for(rows, spec=SPEC, seed=0, threads=1)
    grown = fit_streamed(rows, shards=shards, recipe=recipe, rounds=dict.fromkeys(BOOSTED, 2))
    assert all(booster.num_boosted_rounds() == 2 for booster in grown.boosters.values())


def test_files_without_a_row_that_may_teach_are_named(tmp_path):
    rows = office_features(days=60, meter_count=2)
    nothing = Shards(store_of(rows, tmp_path / "a"), seen=~EVERY_ROW)
    recipe = recipe_for(rows, spec=SPEC, seed=0, threads=1)
    with pytest.raises(ModelError, match="none that may be learned from"):
        fit_streamed(rows, shards=nothing, recipe=recipe, rounds=dict.fromkeys(BOOSTED, 2))


def test_what_was_not_known_when_training_ended_teaches_nothing(tmp_path):
    """Targets that became known later, and all of the unseen issues, are other numbers: the same model comes out."""
    features = office_features(days=60, meter_count=2)
    spec = SPEC.without("weather")

    def trained(rows: pl.DataFrame, folder: str) -> Trained:
        found = train(features, spec=spec, seed=1, threads=1, store=store_of(rows, tmp_path / folder))
        assert isinstance(found, Trained)
        return found

    found = trained(features, "a")
    border = found.training_ends_at_utc
    late = (pl.col("energy_known_at_utc") > border) | (pl.col("issued_at_utc") >= border)
    other = features.with_columns(energy_kwh=pl.when(late).then(7.0).otherwise("energy_kwh").cast(pl.Float32))
    assert not other.equals(features)
    assert trained(other, "b").unseen.equals(found.unseen)
    early = features.with_columns(energy_kwh=pl.when(late).then("energy_kwh").otherwise(7.0).cast(pl.Float32))
    assert not trained(early, "c").unseen.equals(found.unseen)  # the files are what is learned from
    assert found.training_rows == features.filter(~late, pl.col("energy_kwh").is_finite()).height
    assert isinstance(found.variants[FULL], Blend)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    return make_instance(tmp_path_factory.mktemp("home"))


def test_rows_beyond_what_memory_may_hold_are_in_files_and_a_part_of_them_in_memory(instance, monkeypatch):
    issues = [START.replace(day=day) for day in range(10, 30)]
    four = meters("m0", "m1", "m2", "m3")
    wanted = {"meters": four, "issues": issues, "rows": 10**6, "settings": instance.settings}
    with of_training.training_rows(instance.lake, **wanted) as whole:
        assert not whole.stores
        rows = whole.held["electricity", 60]
        assert whole.count == rows.height == 20 * 48 * 4
    monkeypatch.setattr(of_training, "HELD_ROWS", 1000)
    monkeypatch.setattr(of_training, "_AT_ONCE", 700)
    with of_training.training_rows(instance.lake, **wanted) as parted:
        store, held = parted.stores["electricity", 60], parted.held["electricity", 60]
        dealt = pl.concat(store.shards())
        assert parted.count == store.rows == rows.height
        assert dealt.sort(ORDER).equals(rows.drop("meter_id").sort(ORDER))
        assert held.height == pytest.approx(1000, rel=0.15)
        assert held.schema == SCHEMA == rows.schema
        assert held.join(rows, on=["meter_id", "issued_at_utc", "starts_at_utc"], how="anti").is_empty()
        folder = store._folder.parent
        assert folder.is_dir()
    assert not folder.exists()
