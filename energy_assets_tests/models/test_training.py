"""What is trained for the registry: two variants of which one has seen weather, and days kept apart."""

from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.defs.models import checked_spec
from energy_assets.forecasts.following import Followers
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, read_archive, write_archive
from energy_assets.models.blend import Blend
from energy_assets.models.registry import LoadedModel, registered_name
from energy_assets.models.spec import Family, ModelSpec
from energy_assets.models.training import UNSEEN_ISSUES, Trained, train
from energy_assets.settings import Settings
from energy_assets_tests.models.worlds import office_features

TINY = {"rounds": 3, "spread_rounds": 2, "leaves": 6}
SPEC = ModelSpec(rounds=3, spread_rounds=2, leaves=6)


@cache
def trained(*, weather: bool) -> Trained:
    spec = SPEC if weather else SPEC.without("weather")
    found = train(office_features(days=90, meter_count=2), spec=spec, seed=1, threads=1)
    assert isinstance(found, Trained)
    return found


def test_the_variant_without_weather_is_a_spare_of_its_own():
    full, spare = (trained(weather=True).variants[name] for name in (FULL, WITHOUT_WEATHER))
    assert isinstance(full, Blend)
    assert isinstance(spare, Blend)
    assert "weather" in full.spec.groups
    assert "weather" not in spare.spec.groups
    assert full.spec.borders == SPEC.borders
    assert spare.spec.borders == SPEC.borders[-1:]


def test_where_weather_may_not_be_used_there_is_one_model_judged_by_all_folds():
    variants = trained(weather=False).variants
    assert variants[FULL] is variants[WITHOUT_WEATHER]
    assert variants[FULL].spec.borders == SPEC.borders  # type: ignore[attr-defined]


def test_the_newest_issues_are_kept_apart():
    found = trained(weather=True)
    issues = office_features(days=90, meter_count=2)["issued_at_utc"].unique().sort()
    assert found.unseen_starts_at_utc == issues[-UNSEEN_ISSUES] == found.training_ends_at_utc
    assert found.unseen["lead_hours"].len() == 48 * 2 * UNSEEN_ISSUES - found.unseen["energy_kwh"].null_count()


@pytest.mark.parametrize("family", get_args(Family))
def test_every_family_is_trained_and_serves_as_champion(family: Family, tmp_path: Path):
    """`training_family` chooses it; the archive of the registry, followers and the ladder's rows take all alike."""
    spec = checked_spec(Settings(training_family=family, training_effort="quick")).model_copy(update=TINY)
    assert spec.family == family
    features = office_features(days=60, meter_count=2)
    found = train(features, spec=spec, seed=1, threads=1)
    assert isinstance(found, Trained)
    write_archive(found.variants, tmp_path / "variants.zip")
    tags = {"training_ends_at_utc": found.training_ends_at_utc.isoformat()}
    name = registered_name("electricity", interval_minutes=60)
    loaded = LoadedModel(name=name, version=1, variants=read_archive(tmp_path / "variants.zip"), tags=tags)
    meters = pl.DataFrame({"meter_id": ["m0", "m1"], "commodity": "electricity", "interval_minutes": 60})
    following = Followers({name: loaded}, meters=meters, stride=1)
    following.learn(features)
    newest = features.filter(pl.col("issued_at_utc") == pl.col("issued_at_utc").max())
    champion = following.at(newest["issued_at_utc"][0])[name]
    assert isinstance(champion, LoadedModel)
    for variant in (FULL, WITHOUT_WEATHER):
        said = champion.variants[variant].predict(newest).select(QUANTILE_COLUMNS).to_numpy()
        assert np.isfinite(said).all()
        assert (np.diff(said, axis=1) >= 0).all()


def test_readings_that_come_later_than_the_training_ends_teach_nothing():
    features = office_features(days=90, meter_count=2)
    border = trained(weather=False).training_ends_at_utc
    late = pl.col("energy_known_at_utc") > border
    is_seen = pl.col("issued_at_utc") < border
    assert features.filter(late, is_seen).height
    other = features.with_columns(energy_kwh=pl.when(late & is_seen).then(7.0).otherwise("energy_kwh").cast(pl.Float32))
    found = train(other, spec=SPEC.without("weather"), seed=1, threads=1)
    assert isinstance(found, Trained)
    assert found.unseen.equals(trained(weather=False).unseen)


def test_too_little_is_told():
    few = office_features(days=12, meter_count=2)
    assert "too few to train from" in str(train(few, spec=SPEC, seed=1, threads=1))
