"""Champions follow what became known: the same bits from any road to the state, and nothing of what came later."""

from datetime import UTC, datetime, timedelta
from functools import cache

import polars as pl
import pytest

from energy_assets.forecasts.following import Followers, follows_until, is_counted, stride_of
from energy_assets.forecasts.ladder import Champion
from energy_assets.models.archive import FULL, WITHOUT_WEATHER
from energy_assets.models.fitting import fit
from energy_assets.models.registry import LoadedModel, UnresolvedModelError
from energy_assets.models.spec import Model, ModelSpec
from energy_assets_tests.features.frames import meters
from energy_assets_tests.models.worlds import office_features, split

NAME = "load-electricity-60min"
OFFICES = meters("m0", "m1")


@cache
def past_and_nights() -> tuple[pl.DataFrame, pl.DataFrame]:
    return split(office_features(days=48, meter_count=2), test_days=13)


@cache
def model() -> Model:
    return fit(past_and_nights()[0], spec=ModelSpec(rounds=4, spread_rounds=2, leaves=8), seed=1)


def champion(learned_until: datetime | None = None) -> dict[str, Champion]:
    until = learned_until or past_and_nights()[1]["issued_at_utc"].min()
    tags = {"training_ends_at_utc": until.isoformat()}  # type: ignore[union-attr]
    return {NAME: LoadedModel(name=NAME, version=3, variants={FULL: model(), WITHOUT_WEATHER: model()}, tags=tags)}


def followers(champions: dict[str, Champion]) -> Followers:
    return Followers(champions, meters=OFFICES, stride=1)


def said(of: Followers, issue: datetime, *, variant: str = FULL) -> pl.DataFrame:
    answer = of.at(issue)[NAME]
    assert isinstance(answer, LoadedModel)
    return answer.variants[variant].predict(past_and_nights()[1].filter(issued_at_utc=issue))


def nights() -> list[datetime]:
    return past_and_nights()[1]["issued_at_utc"].unique().sort().to_list()


@pytest.mark.parametrize(
    ("issued", "until"),
    [
        # 1970-01-01 and every third day from then on; 2026-01-02 is day 20,455 = 3 x 6,818 + 1.
        pytest.param(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), id="on-the-day"),
        pytest.param(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), id="day-after"),
        pytest.param(datetime(2026, 1, 3, 23, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), id="evening"),
        pytest.param(datetime(2026, 1, 4, 5, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC), id="morning-of-the-next"),
    ],
)
def test_outcomes_count_from_fixed_days_on(issued: datetime, until: datetime):
    assert follows_until(issued) == until


def test_a_night_alone_says_the_same_bits_as_one_after_the_other():
    _, rows = past_and_nights()
    together, last = followers(champion()), nights()[-1]
    for night in nights():  # as a back-test: each night's outcomes are there from the start, and wait
        together.learn(rows.filter(issued_at_utc=night))
        one_by_one = said(together, night)
    alone = followers(champion())
    alone.learn(rows.filter(pl.col("energy_known_at_utc") <= last).sample(fraction=1, shuffle=True, seed=1))
    assert said(alone, last).equals(one_by_one)
    assert not one_by_one.equals(model().predict(rows.filter(issued_at_utc=last)))


def test_what_became_known_later_changes_nothing():
    _, rows = past_and_nights()
    issue = nights()[8]
    later = pl.col("energy_known_at_utc") > follows_until(issue)
    honest, spoiled = followers(champion()), followers(champion())
    honest.learn(rows)
    spoiled.learn(rows.with_columns(energy_kwh=pl.when(later).then(1e6).otherwise("energy_kwh").cast(pl.Float32)))
    assert said(spoiled, issue).equals(said(honest, issue))
    assert not said(spoiled, nights()[-1]).equals(said(honest, nights()[-1]))


def test_a_version_does_not_follow_what_it_learned_from():
    _, rows = past_and_nights()
    issue = nights()[-1]
    knows_all = followers(champion(learned_until=issue))
    knows_all.learn(rows)
    assert knows_all.unseen_since == issue
    assert said(knows_all, issue).equals(model().predict(rows.filter(issued_at_utc=issue)))


def test_with_weather_only_nights_that_had_weather_count():
    _, rows = past_and_nights()
    blind = rows.with_columns(temperature_c=pl.lit(float("nan"), pl.Float32))
    of = followers(champion())
    of.learn(blind)
    issue = nights()[-1]
    asked = rows.filter(issued_at_utc=issue)
    assert said(of, issue).equals(model().predict(asked))
    assert not said(of, issue, variant=WITHOUT_WEATHER).equals(model().predict(asked))


def test_what_cannot_follow_serves_as_it_is():
    absent = UnresolvedModelError("none", reason="registry_empty")
    silent = LoadedModel(name=NAME, version=1, variants={FULL: model()}, tags={})
    for answer in (absent, silent):
        of = followers({NAME: answer})
        of.learn(past_and_nights()[1])
        assert of.at(nights()[-1]) == {NAME: answer}
        assert of.unseen_since is None


@pytest.mark.parametrize(
    ("meter_count", "stride"),
    [
        # 42 days of 48 slots: 2,016 rows a meter; 60,000 hold 29 meters. 100 meters: every fourth hour, so every fifth.
        pytest.param(4, 1, id="all"),
        pytest.param(29, 1, id="just-all"),
        pytest.param(100, 5, id="every-fifth"),
        pytest.param(2380, 83, id="a-night-of-2380"),
    ],
)
def test_of_many_meters_some_hours_count(meter_count: int, stride: int):
    many = meters(*(f"m{number}" for number in range(meter_count)))
    assert stride_of(many, horizon_hours=48) == stride


def test_every_hour_of_the_day_is_met():
    hours = pl.DataFrame({"starts_at_utc": [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in range(168)]})
    met = hours.filter(is_counted(stride=7))["starts_at_utc"]
    assert met.len() == 24
    assert met.dt.hour().n_unique() == 24
