"""Whether a challenger may become champion: judged on days that neither it nor the champion has seen, or it stays.

A first model must beat every plain baseline; a later one must beat the champion by more than the luck of the days
explains. Both must hold what their 80 % band claims. Nothing here knows where models are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.errors import ModelError
from energy_assets.features.lags import ANALOGUE_COLUMNS
from energy_assets.models.archive import FULL, Model
from energy_assets.models.evaluation import Skill, skill_of
from energy_assets.models.versions import LoadedModel, UnresolvedModelError

CHALLENGER = "challenger"
CHAMPION = "champion"
BASELINES = ("last_week", "mean_4_weeks", "analogue")
METRIC_AGAINST_CHAMPION = "pinball"
METRIC_AGAINST_BASELINES = "nmae"
"""Two of the baselines are points, so only the median is compared."""
CONFIDENCE = 0.95
NOMINAL_COVERAGE = 0.80
COVERAGE_TOLERANCE = 0.10
"""As the nightly check of the bands allows for four weeks; months must keep five points."""
FEWEST_DAYS = 7
_BLOCKS = 7
_MODEL_FAILURES = (ModelError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What two methods did on the same slots of days that neither has seen."""

    rival: str
    metric: str
    skill: Skill
    coverage: float
    rival_coverage: float | None
    starts_at_utc: datetime
    ends_at_utc: datetime
    days: int
    meters: int

    def sentence(self) -> str:
        """Return the evidence as a person reads it."""
        value, low, high = (f"{share:+.1%}" for share in (self.skill.value, self.skill.low, self.skill.high))
        return (
            f"skill in {self.metric} against {self.rival} {value} ({CONFIDENCE:.0%} interval {low} to {high}) on "
            f"{self.days} unseen days and {self.meters:,} meters, {self.coverage:.0%} of readings in its 80 % band"
        )

    def tags(self) -> dict[str, str]:
        """Return the figures as tags of a model version."""
        tags = {
            "compared_with": self.rival,
            "skill": f"{self.skill.value:+.4f} in {self.metric}",
            "skill_interval": f"{self.skill.low:+.4f} to {self.skill.high:+.4f} ({CONFIDENCE:.0%})",
            "coverage_80": f"{self.coverage:.3f}",
            "judged_on": f"{self.starts_at_utc:%Y-%m-%d}..{self.ends_at_utc:%Y-%m-%d}, {self.days} days, "
            f"{self.meters} meters",
        }
        return (
            tags if self.rival_coverage is None else {**tags, "coverage_80_of_champion": f"{self.rival_coverage:.3f}"}
        )


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether the challenger becomes champion, why in words, and the evidence; `all_evidence` beside the decisive."""

    is_promoted: bool
    is_first: bool
    verdict: str
    evidence: Evidence | None = None
    all_evidence: Mapping[str, Evidence] = field(default_factory=dict)

    def tags(self) -> dict[str, str]:
        """Return the decision with its figures as tags of a model version."""
        tags = {"verdict": self.verdict, **(self.evidence.tags() if self.evidence else {})}
        for rival, evidence in self.all_evidence.items():
            tags[f"skill_against_{rival}"] = (
                f"{evidence.skill.value:+.4f} in {evidence.metric} ({evidence.skill.low:+.4f} to "
                f"{evidence.skill.high:+.4f})"
            )
        return tags if self.is_promoted else {**tags, "not_promoted_because": self.verdict}


def still_valid(decision: Decision, *, champion: int | None) -> Decision:
    """Return the decision, or one against promotion where another version is champion than it was made against."""
    rival = decision.evidence.rival if decision.evidence else None
    if not decision.is_promoted or decision.is_first or rival == f"version {champion}":
        return decision
    verdict = f"stays challenger: better than {rival}, but version {champion} has become champion meanwhile"
    return replace(decision, is_promoted=False, verdict=verdict)


def decide(
    features: pl.DataFrame,
    *,
    challenger: Model,
    learned_until_utc: datetime,
    champion: LoadedModel | UnresolvedModelError,
    seed: int,
) -> Decision:
    """Return what becomes of a challenger, from what the registry answers for the champion.

    `features` are rows of `build_features` with targets of one commodity and interval class; `learned_until_utc` is
    when the challenger's training ends. A champion that is there but cannot be used counts as none.

    Raises:
        UnresolvedModelError: the registry cannot be reached, so nobody knows who is champion.
    """
    trouble = None
    if isinstance(champion, LoadedModel):
        try:
            unseen = max(learned_until_utc, champion.learned_until_utc)
            rows = side_by_side(features, challenger=challenger, champion=champion.variants[FULL], starts_at_utc=unseen)
            return judge_against_champion(rows, champion=f"version {champion.version}", seed=seed)
        except ModelError as error:
            trouble = str(error)
    elif champion.reason == "registry_unreachable":
        raise champion
    elif champion.reason not in ("registry_empty", "no_champion"):
        trouble = str(champion)
    judged = judge_first(side_by_side(features, challenger=challenger, starts_at_utc=learned_until_utc), seed=seed)
    return (
        judged if trouble is None else replace(judged, verdict=f"{judged.verdict}; no champion to compare: {trouble}")
    )


def side_by_side(
    features: pl.DataFrame, *, challenger: Model, champion: Model | None = None, starts_at_utc: datetime
) -> pl.DataFrame:
    """Return what every method says of the issues from an instant on: model, node_id, key, energy_kwh, q05 .. q95.

    `features` are rows of `build_features` with targets, of one commodity and interval class. Methods are `challenger`,
    `champion` if given, and the BASELINES; a point has the same value in all levels.

    Raises:
        ModelError: the champion cannot digest these features; judge the challenger as a first model then.
    """
    rows = features.filter(
        pl.col("issued_at_utc") >= starts_at_utc, pl.col("energy_kwh").is_finite(), pl.col("scale_kwh") > 0
    )
    about = rows.select("issued_at_utc", "starts_at_utc", "energy_kwh", node_id="meter_id")
    frames = [_beside(about, _quantiles(challenger.predict(rows)), name=CHALLENGER)]
    if champion is not None:
        try:
            frames.append(_beside(about, _quantiles(champion.predict(rows)), name=CHAMPION))
        except _MODEL_FAILURES as error:
            raise ModelError(f"The champion cannot predict from these features ({error}); train it again.") from error
    points = {"last_week": "lag_7d_kwh", "mean_4_weeks": "weeks_4_mean_kwh"}
    for name, column in points.items():
        frames.append(_beside(about, rows.select(**dict.fromkeys(QUANTILE_COLUMNS, pl.col(column))), name=name))
    analogues = dict(zip(QUANTILE_COLUMNS, map(pl.col, ANALOGUE_COLUMNS), strict=True))
    return pl.concat([*frames, _beside(about, rows.select(**analogues), name="analogue")])


def judge_first(rows: pl.DataFrame, *, seed: int) -> Decision:
    """Return whether a first model beats every baseline on its unseen days; `rows` are those of `side_by_side`."""
    evidence = {
        name: _evidence(rows, rival=name, metric=METRIC_AGAINST_BASELINES, seed=seed)
        for name in BASELINES
        if _has(rows, name)
    }
    if not evidence:
        return Decision(is_promoted=False, is_first=True, verdict="not measured: no baseline serves its unseen days")
    hardest = min(evidence.values(), key=lambda each: each.skill.value)
    if not hardest.skill.value > 0:
        return Decision(
            is_promoted=False,
            is_first=True,
            verdict=f"stays challenger, {hardest.rival} is at least as good: {hardest.sentence()}",
            evidence=hardest,
            all_evidence=evidence,
        )
    return Decision(
        is_promoted=True,
        is_first=True,
        verdict=f"champion, first of its kind and better than every baseline: {hardest.sentence()}",
        evidence=hardest,
        all_evidence=evidence,
    )


def judge_against_champion(rows: pl.DataFrame, *, champion: str, seed: int) -> Decision:
    """Return whether the challenger replaces the champion; `rows` are those of `side_by_side` with both.

    It does if the whole interval of its skill in pinball loss lies above zero and its 80 % band covers 80 % within
    ten points, or is nearer to it than the champion's. `champion` is its name in words, as `version 3`.
    """
    days = rows.filter(pl.col("model") == CHALLENGER)["issued_at_utc"].dt.date().n_unique()
    if days < FEWEST_DAYS:
        verdict = f"stays challenger: {days} days that neither it nor {champion} has seen are too few to judge"
        return Decision(is_promoted=False, is_first=False, verdict=verdict)
    found = _evidence(rows, rival=CHAMPION, metric=METRIC_AGAINST_CHAMPION, seed=seed, shown_as=champion)
    both = {
        name: _evidence(rows, rival=name, metric=METRIC_AGAINST_BASELINES, seed=seed)
        for name in BASELINES
        if _has(rows, name)
    }
    obstacle = _obstacle(found)
    return Decision(
        is_promoted=obstacle is None,
        is_first=False,
        verdict=f"{'champion' if obstacle is None else f'stays challenger, {obstacle}'}: {found.sentence()}",
        evidence=found,
        all_evidence=both,
    )


def _obstacle(found: Evidence) -> str | None:
    if found.skill.low == found.skill.high == 0:
        return "it forecasts the same"
    if found.skill.high < 0:
        return "it is worse"
    if not found.skill.low > 0:
        return "the days leave open which is better"
    missed = abs(found.coverage - NOMINAL_COVERAGE)
    rival_missed = abs(found.rival_coverage - NOMINAL_COVERAGE) if found.rival_coverage is not None else 0.0
    if missed > max(COVERAGE_TOLERANCE, rival_missed):
        return "its 80 % band does not hold what it claims"
    return None


def _evidence(rows: pl.DataFrame, *, rival: str, metric: str, seed: int, shown_as: str | None = None) -> Evidence:
    ours = rows.filter(pl.col("model") == CHALLENGER)
    days = ours["issued_at_utc"].dt.date().n_unique()
    skill = skill_of(
        rows,
        model=CHALLENGER,
        baseline=rival,
        metric=metric,
        seed=seed,
        # Seven blocks at least: resampling two blocks of a week would make any fortnight look certain.
        block_days=max(1, min(7, days // _BLOCKS)),
        confidence=CONFIDENCE,
    )
    first, last = ours["issued_at_utc"].min(), ours["issued_at_utc"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return Evidence(
        rival=shown_as or rival,
        metric=metric,
        skill=skill,
        coverage=_coverage(rows, CHALLENGER),
        rival_coverage=_coverage(rows, CHAMPION) if rival == CHAMPION else None,
        starts_at_utc=first,
        ends_at_utc=last,
        days=days,
        meters=ours["node_id"].n_unique(),
    )


def _coverage(rows: pl.DataFrame, name: str) -> float:
    known = rows.filter(pl.col("model") == name, pl.col("q10").is_finite(), pl.col("q90").is_finite())
    return float(known.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item() or 0.0)


def _has(rows: pl.DataFrame, name: str) -> bool:
    of_both = rows.filter(pl.col("model").is_in([name, CHALLENGER]), pl.col("q50").is_finite())
    return of_both.group_by("node_id", "issued_at_utc", "starts_at_utc").len()["len"].max() == 2


def _quantiles(predicted: pl.DataFrame) -> pl.DataFrame:
    return predicted.select(QUANTILE_COLUMNS)


def _beside(about: pl.DataFrame, quantiles: pl.DataFrame, *, name: str) -> pl.DataFrame:
    values = quantiles.select(pl.col(QUANTILE_COLUMNS).cast(pl.Float64))
    return about.with_columns(pl.col("energy_kwh").cast(pl.Float64), model=pl.lit(name)).hstack(values)
