"""Promotion on evidence: who becomes champion on days that neither model has seen, and who stays challenger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import QUANTILE_COLUMNS, UTC_TIME
from energy_assets.features.lags import ANALOGUE_COLUMNS
from energy_assets.models.promotion import (
    CHALLENGER,
    CHAMPION,
    decide,
    judge_against_champion,
    judge_first,
    side_by_side,
)
from energy_assets.models.versions import LoadedModel, UnresolvedModelError

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
METERS, HOURS = 6, 24
NORMAL = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])


def features(days: int, *, baseline_error: float = 0.3) -> pl.DataFrame:
    """Rows of six meters at 10 kWh that vary by a day's luck; baselines err by a share of it."""
    random = np.random.default_rng(1)
    rows = pl.DataFrame(
        [
            (f"m{meter}", FIRST + timedelta(days=day), FIRST + timedelta(days=day, hours=hour))
            for day in range(days)
            for meter in range(METERS)
            for hour in range(HOURS)
        ],
        schema={"meter_id": pl.String, "issued_at_utc": UTC_TIME, "starts_at_utc": UTC_TIME},
        orient="row",
    )
    energy = 10 * (1 + 0.2 * random.normal(size=rows.height))
    off = energy * (1 + baseline_error * random.normal(size=rows.height))
    columns = ("lag_7d_kwh", "weeks_4_mean_kwh", *ANALOGUE_COLUMNS)
    return rows.with_columns(energy_kwh=pl.Series(energy), scale_kwh=10.0, **{name: pl.Series(off) for name in columns})


@dataclass(frozen=True)
class Guess:
    """A model whose error has a size and a luck of its own, and whose band is `width` times what it should be."""

    error: float
    seed: int
    width: float = 1.0
    knows_until: datetime | None = None

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        random = np.random.default_rng(self.seed)
        energy = rows["energy_kwh"].to_numpy()
        day = rows["issued_at_utc"].rank("dense").to_numpy().astype(int) - 1
        # A fifth of the variance belongs to the day, as in life: what many slots share is no independent evidence.
        luck = np.sqrt(0.2) * random.normal(size=day.max() + 1)[day] + np.sqrt(0.8) * random.normal(size=rows.height)
        error = self.error * luck
        if self.knows_until is not None:
            error = np.where(
                rows["issued_at_utc"].to_numpy() < np.datetime64(self.knows_until.replace(tzinfo=None)), 0, error
            )
        quantiles = energy[:, None] * (1 + error[:, None] + self.width * self.error * NORMAL[None, :])
        return rows.select("meter_id", "issued_at_utc", "starts_at_utc").hstack(
            [pl.Series(name, quantiles[:, index]) for index, name in enumerate(QUANTILE_COLUMNS)]
        )

    def save(self, folder: Path) -> None:
        raise NotImplementedError


def champion(model: Guess, *, learned_until: datetime = FIRST) -> LoadedModel:
    tags = {"training_ends_at_utc": learned_until.isoformat()}
    return LoadedModel(name="load-electricity-60min", version=3, variants={"full": model}, tags=tags)


@pytest.mark.parametrize(
    ("challenger", "defender", "days", "promoted", "why"),
    [
        pytest.param(Guess(0.08, 1), Guess(0.16, 2), 14, True, "champion: skill", id="half the error"),
        pytest.param(Guess(0.16, 1), Guess(0.08, 2), 14, False, "it is worse", id="twice the error"),
        pytest.param(Guess(0.10, 5), Guess(0.10, 6), 14, False, "leave open which is better", id="as good"),
        pytest.param(
            Guess(0.05, 1, width=0.3),
            Guess(0.16, 2),
            14,
            False,
            "does not hold what it claims",
            id="too sure of itself",
        ),
        pytest.param(
            Guess(0.05, 1, width=0.6), Guess(0.16, 2, width=0.2), 14, True, "champion: skill", id="surer champion"
        ),
        pytest.param(Guess(0.08, 1), Guess(0.16, 2), 6, False, "are too few to judge", id="six days"),
    ],
)
def test_a_challenger_replaces_the_champion_only_on_evidence(
    challenger: Guess, defender: Guess, days: int, promoted: bool, why: str
) -> None:
    decision = decide(
        features(days), challenger=challenger, learned_until_utc=FIRST, champion=champion(defender), seed=0
    )
    assert decision.is_promoted == promoted, decision.verdict
    assert why in decision.verdict
    assert not decision.is_first


def test_the_figures_of_the_decision_are_tags_of_the_version() -> None:
    made = decide(
        features(14), challenger=Guess(0.08, 1), learned_until_utc=FIRST, champion=champion(Guess(0.16, 2)), seed=0
    )
    tags = made.tags()
    assert tags["compared_with"] == "version 3"
    assert tags["judged_on"] == "2026-03-01..2026-03-14, 14 days, 6 meters"
    # Half the error is half the pinball loss.
    assert float(tags["skill"].split()[0]) == pytest.approx(0.5, abs=0.12)
    assert made.evidence is not None
    assert made.evidence.skill.low < made.evidence.skill.value < made.evidence.skill.high
    assert float(tags["coverage_80"]) == pytest.approx(0.8, abs=0.08)
    assert {"skill_against_last_week", "skill_against_mean_4_weeks", "skill_against_analogue"} <= set(tags)
    assert "not_promoted_because" not in tags
    assert max(map(len, tags.values())) < 250


def test_luck_alone_promotes_rarely() -> None:
    """With the same error for both, one case in twenty is promoted at most (3.5 % of 200 seeds when measured)."""
    rows = features(14)
    promoted = 0
    for seed in range(60):
        both = side_by_side(
            rows, challenger=Guess(0.1, 1000 + seed), champion=Guess(0.1, 2000 + seed), starts_at_utc=FIRST
        )
        promoted += judge_against_champion(both, champion="version 1", seed=seed).is_promoted
    assert promoted <= 6


def test_days_that_the_champion_has_seen_say_nothing() -> None:
    """The champion knows its own last fortnight by heart; on the days after it, the challenger is the better one."""
    until = FIRST + timedelta(days=14)
    by_heart = Guess(0.09, 2, knows_until=until)
    seen = side_by_side(features(28), challenger=Guess(0.05, 1), champion=by_heart, starts_at_utc=FIRST)
    assert not judge_against_champion(seen, champion="version 3", seed=0).is_promoted
    made = decide(
        features(28),
        challenger=Guess(0.05, 1),
        learned_until_utc=FIRST,
        champion=champion(by_heart, learned_until=until),
        seed=0,
    )
    assert made.is_promoted
    assert made.evidence is not None
    assert (made.evidence.starts_at_utc, made.evidence.days) == (until, 14)


@pytest.mark.parametrize(
    ("error", "promoted", "why"),
    [
        pytest.param(0.1, True, "first of its kind and better than every baseline", id="better"),
        pytest.param(0.5, False, "is at least as good", id="worse"),
    ],
)
def test_a_first_model_must_beat_every_baseline(error: float, promoted: bool, why: str) -> None:
    for reason in ("registry_empty", "no_champion"):
        made = decide(
            features(10),
            challenger=Guess(error, 1),
            learned_until_utc=FIRST,
            champion=UnresolvedModelError("none", reason=reason),  # type: ignore[arg-type]
            seed=0,
        )
        assert (made.is_promoted, made.is_first) == (promoted, True)
        assert why in made.verdict


def test_one_better_baseline_is_enough_to_stay_challenger() -> None:
    rows = features(10).with_columns(weeks_4_mean_kwh=pl.col("energy_kwh") * 1.01)
    made = judge_first(side_by_side(rows, challenger=Guess(0.1, 1), starts_at_utc=FIRST), seed=0)
    assert not made.is_promoted
    assert "mean_4_weeks is at least as good" in made.verdict


def test_without_any_baseline_nothing_is_promoted() -> None:
    rows = features(10).with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in ("lag_7d_kwh", "weeks_4_mean_kwh", *ANALOGUE_COLUMNS)
    )
    made = judge_first(side_by_side(rows, challenger=Guess(0.1, 1), starts_at_utc=FIRST), seed=0)
    assert not made.is_promoted
    assert "not measured" in made.verdict


class Broken(Guess):
    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        raise KeyError("a feature of former days")


@pytest.mark.parametrize(
    "defender",
    [
        pytest.param(champion(Broken(0.1, 1)), id="cannot digest the features"),
        pytest.param(UnresolvedModelError("torn archive", reason="model_broken"), id="broken archive"),
        pytest.param(
            LoadedModel(name="x", version=1, variants={"full": Guess(0.1, 1)}, tags={}), id="nothing says what it saw"
        ),
    ],
)
def test_a_champion_that_cannot_be_used_counts_as_none_and_is_named(
    defender: LoadedModel | UnresolvedModelError,
) -> None:
    made = decide(features(10), challenger=Guess(0.1, 1), learned_until_utc=FIRST, champion=defender, seed=0)
    assert made.is_promoted
    assert made.is_first
    assert "no champion to compare" in made.verdict


def test_while_the_registry_is_out_of_reach_nothing_is_decided() -> None:
    gone = UnresolvedModelError("down", reason="registry_unreachable")
    with pytest.raises(UnresolvedModelError):
        decide(features(10), challenger=Guess(0.1, 1), learned_until_utc=FIRST, champion=gone, seed=0)


def test_methods_stand_side_by_side_on_the_same_rows() -> None:
    rows = side_by_side(
        features(3).with_columns(energy_kwh=pl.when(pl.col("meter_id") != "m0").then("energy_kwh")),
        challenger=Guess(0.1, 1),
        champion=Guess(0.1, 2),
        starts_at_utc=FIRST + timedelta(days=1),
    )
    # Two of three days, five of six meters have readings.
    assert dict(rows.group_by("model").len().iter_rows()) == dict.fromkeys(
        (CHALLENGER, CHAMPION, "last_week", "mean_4_weeks", "analogue"), 2 * 5 * HOURS
    )
