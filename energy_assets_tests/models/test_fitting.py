"""What holds for every family: shape, order, storage, scale, small data, weather or none; and that learning pays."""

import importlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.errors import ModelError
from energy_assets.features.matrix import FEATURES, KEY
from energy_assets.models.archive import FULL, read_archive, write_archive
from energy_assets.models.blend import Blend
from energy_assets.models.evaluation import metrics_of
from energy_assets.models.fitting import fit
from energy_assets.models.spec import Model, ModelSpec
from energy_assets_tests.models.worlds import office_features, split, values_of

FAMILIES = ("blend", "trees", "trees_only", "linear", "last_week", "weekday_mean", "analogue")
QUICK = {"rounds": 30, "spread_rounds": 8, "borders": (0.6, 0.8)}
DAYS = 56

_fitted: dict[tuple[str, float], Model] = {}


def spec_of(family: str) -> ModelSpec:
    """Few rounds; without a line to start from they must be longer."""
    return ModelSpec(family=family, learning_rate=0.25 if family == "trees_only" else 0.08, **QUICK)  # type: ignore[arg-type]


def model_of(family: str, *, factor: float = 1.0) -> Model:
    if (family, factor) not in _fitted:
        training, _ = split(office_features(days=DAYS, factor=factor), test_days=7)
        _fitted[family, factor] = fit(training, spec=spec_of(family), seed=1)
    return _fitted[family, factor]


def unseen(*, factor: float = 1.0) -> pl.DataFrame:
    return split(office_features(days=DAYS, factor=factor), test_days=7)[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_has_ordered_quantiles(family):
    predicted = model_of(family).predict(unseen())
    assert predicted.columns == [*KEY, *QUANTILE_COLUMNS]
    assert predicted.select(KEY).equals(unseen().select(KEY))
    values = values_of(predicted)
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values >= 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_predicts_the_same_bits(family, tmp_path):
    model = model_of(family)
    model.save(tmp_path)
    loaded = importlib.import_module(type(model).__module__).load(tmp_path)
    assert loaded.predict(unseen()).equals(model.predict(unseen()))
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".json", ".ubj", ".npy")]


@pytest.mark.parametrize("family", FAMILIES)
def test_archive_of_the_registry_takes_it(family, tmp_path):
    write_archive({FULL: model_of(family)}, tmp_path / "variants.zip")
    loaded = read_archive(tmp_path / "variants.zip")[FULL]
    assert loaded.predict(unseen()).equals(model_of(family).predict(unseen()))


@pytest.mark.parametrize("family", FAMILIES)
def test_meters_sixteen_times_as_large_get_forecasts_sixteen_times_as_large(family):
    ours = values_of(model_of(family).predict(unseen()))
    large = values_of(model_of(family, factor=16.0).predict(unseen(factor=16.0)))
    assert large == pytest.approx(16 * ours, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_training_gives_the_same_model(family):
    training, _ = split(office_features(days=DAYS), test_days=7)
    again = fit(training, spec=spec_of(family), seed=1)
    assert again.predict(unseen()).equals(model_of(family).predict(unseen()))
    shuffled = fit(training.sample(fraction=1, shuffle=True, seed=2), spec=spec_of(family), seed=1)
    assert shuffled.predict(unseen()).equals(model_of(family).predict(unseen()))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_alone_is_predicted_as_among_many(family):
    everything = model_of(family).predict(unseen())
    assert model_of(family).predict(unseen()[37:38]).equals(everything[37:38])
    assert model_of(family).predict(unseen()[:0]).height == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_meters_without_any_reading_are_left_to_the_ladder(family):
    load = [name for name in FEATURES if name.endswith("_kwh")]
    blank = unseen().with_columns(pl.lit(float("nan"), pl.Float32).alias(name) for name in [*load, "scale_kwh"])
    assert model_of(family).predict(blank).select(QUANTILE_COLUMNS).null_count().row(0) == (blank.height,) * 7


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
@pytest.mark.parametrize("family", FAMILIES)
def test_quantiles_never_cross_whatever_is_missing_or_odd(family, seed, share):
    random = np.random.default_rng(seed)
    rows = unseen()[::97]
    odd = rows.with_columns(
        (pl.col(name) * pl.Series(random.choice([-50, 0, 1, 1e4, np.nan], rows.height))).cast(pl.Float32).alias(name)
        for name in FEATURES
        if name not in ("lead_hours", "local_hour") and random.random() < share
    )
    values = values_of(model_of(family).predict(odd))
    whole = np.isfinite(values).all(axis=1)
    assert (np.isfinite(values).any(axis=1) == whole).all()
    assert (np.diff(values[whole], axis=1) >= 0).all()


def test_trees_learn_more_than_the_baselines_and_their_bands_are_honest():
    rows = unseen()
    frames = [
        pl.concat([model_of(family).predict(rows), rows.select("energy_kwh")], how="horizontal").with_columns(
            model=pl.lit(family)
        )
        for family in FAMILIES
    ]
    measured = metrics_of(pl.concat(frames), by=["model"])
    of = {(row["model"], row["metric"]): row["value"] for row in measured.to_dicts()}
    plain = min(of[family, "nmae"] for family in FAMILIES[4:])
    for learned, most in (("blend", 0.9), ("trees", 0.9), ("trees_only", 1.0), ("linear", 1.0)):
        assert of[learned, "nmae"] < most * plain
    for family in FAMILIES:
        assert 0.7 < of[family, "coverage_80"] < 0.9


@pytest.mark.parametrize("days", [pytest.param(14, id="six issues"), pytest.param(21, id="two weeks of issues")])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_few_weeks_suffice(family, days):
    training, test = split(office_features(days=days, meter_count=2, first_issue=7), test_days=1)
    model = fit(training, spec=spec_of(family), seed=1)
    predicted = pl.concat([model.predict(test), test.select("energy_kwh", model=pl.lit("a"))], how="horizontal")
    errors = dict(metrics_of(predicted, by=["model"]).select("metric", "value").iter_rows())
    assert errors["nmae"] < 0.35


@pytest.mark.parametrize("family", FAMILIES)
def test_too_little_is_refused_with_a_remedy(family):
    with pytest.raises(ModelError, match="read more history"):
        fit(office_features(days=11, meter_count=2), spec=spec_of(family), seed=1)


def test_without_weather_the_weather_makes_no_difference():
    training, test = split(office_features(days=DAYS), test_days=7)
    model = fit(training, spec=ModelSpec(**QUICK).without("weather"), seed=1)
    spoiled = test.with_columns(pl.col("^(temperature|heating|cooling|cloud).*$") * 100 + 3)
    assert model.predict(spoiled).equals(model.predict(test))
    assert not model_of("blend").predict(spoiled).equals(model_of("blend").predict(test))


def test_dead_meters_stay_at_zero():
    dead = unseen().with_columns(pl.lit(0, pl.Float32).alias("scale_kwh"))
    assert (values_of(model_of("trees").predict(dead)) == 0).all()


def test_meters_that_feed_in_may_be_negative():
    rows = unseen().with_columns(pl.col("^.*_kwh$") - pl.col("scale_kwh") * 1.2)
    values = values_of(model_of("last_week").predict(rows))
    assert values.min() < 0


def test_unknown_groups_and_torn_files_are_refused(tmp_path):
    with pytest.raises(ValidationError, match="moon"):
        ModelSpec(groups=("load", "moon"))
    for family, file in (("trees", "spread.ubj"), ("blend", "on_linear.ubj"), ("blend", "shape.ubj")):
        module = importlib.import_module(f"energy_assets.models.{family}")
        folder = tmp_path / file
        folder.mkdir()
        with pytest.raises(ModelError, match="train and save it again"):
            module.load(folder)
        model_of(family).save(folder)
        (folder / file).write_bytes(b"torn")
        with pytest.raises(ModelError, match="not a booster"):
            module.load(folder)


def test_a_blend_adapts_to_a_load_that_it_did_not_learn():
    days = 70
    training, later = split(office_features(days=days), test_days=21)
    spoiled = later.with_columns(energy_kwh=(pl.col("energy_kwh") * 1.6).cast(pl.Float32))
    first, last = split(spoiled, test_days=7)
    model = fit(training, spec=ModelSpec(**QUICK), seed=1)
    assert isinstance(model, Blend)
    covered = []
    for each in (model, model.adapted(model.outcomes_of(first))):
        predicted = pl.concat([each.predict(last), last.select("energy_kwh", model=pl.lit("a"))], how="horizontal")
        covered.append(metrics_of(predicted, by=["model"]).filter(metric="coverage_80")["value"][0])
    assert covered[0] < 0.5
    assert covered[1] > covered[0] + 0.15
    assert model.adapted(model.outcomes_of(last.clear())) is model


def test_a_meter_that_comes_back_from_a_standstill_unsettles_no_other():
    """One of four meters stands at a two-thousandth for the first half of the days and then returns for good."""
    training, test = split(office_features(days=70), test_days=10)
    border = training["issued_at_utc"].to_list()[training.height // 2]
    kwh = [name for name in training.columns if name.endswith("_kwh")]
    stood = (pl.col("meter_id") == "m0") & (pl.col("issued_at_utc") < border)
    slept = training.with_columns(pl.when(stood).then(pl.col(name) / 2000).otherwise(name).alias(name) for name in kwh)
    woke = (pl.col("meter_id") == "m0") & (pl.col("issued_at_utc") == border)
    features = [name for name in kwh if name != "energy_kwh"]
    slept = slept.with_columns(pl.when(woke).then(pl.col(n) / 2000).otherwise(n).alias(n) for n in features)
    others = test.filter(pl.col("meter_id") != "m0")
    errors = []
    for rows in (training, slept):
        predicted = fit(rows, spec=ModelSpec(**QUICK), seed=1).predict(others)
        compared = pl.concat([predicted, others.select("energy_kwh", model=pl.lit("a"))], how="horizontal")
        errors.append(metrics_of(compared, by=["model"]).filter(metric="nmae")["value"][0])
    assert errors[1] < 1.1 * errors[0]


def test_a_meter_that_no_expert_of_the_training_knew_is_blended_as_any():
    strangers = unseen().with_columns(meter_id=pl.lit("stranger ") + pl.col("meter_id"))
    predicted = model_of("blend").predict(strangers)
    assert np.isfinite(values_of(predicted)).all()
