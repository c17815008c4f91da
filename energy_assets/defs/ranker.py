"""The supervised ranker of anomalies, trained from what people said and off until they said enough; events by it."""

from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from energy_assets.anomalies.flags import judge
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.ranker import NAME, UNSUPERVISED, RankerSpec, TrainedRanker, judge_ranker, train_ranker
from energy_assets.anomalies.ranker_features import ranker_features
from energy_assets.anomalies.ranker_labels import labels_of_feedback, shortage
from energy_assets.anomalies.ranker_plots import ranker_plots
from energy_assets.contracts import (
    ANOMALIES_EVENTS,
    ANOMALIES_FEEDBACK,
    ANOMALIES_FLAGS,
    ANOMALIES_RANKING,
    METERS,
    READINGS_INTERVAL,
    SITES,
    WEATHER_OBSERVED,
    Window,
)
from energy_assets.defs.contract_checks import contract_check
from energy_assets.defs.partitions import DAILY, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, OWNERS, looks_of, report, run_message
from energy_assets.features.matrix import features_hash
from energy_assets.lake import Lake
from energy_assets.models.archive import FULL
from energy_assets.models.card import TrainingFacts
from energy_assets.models.promotion import Decision
from energy_assets.models.registry import LoadedModel, Registry, UnresolvedModelError
from energy_assets.revision import code_revision
from energy_assets.settings import Settings

_SEED = 0
_DAYS_AT_ONCE = 31
_REVIEWED = timedelta(days=8)


@dg.asset(
    key=["models", "ranker"],
    group_name="models",
    owners=OWNERS,
    kinds={"xgboost", "mlflow"},
    deps=[ANOMALIES_EVENTS.asset_key, ANOMALIES_FLAGS.asset_key, READINGS_INTERVAL.asset_key, METERS.asset_key],
)
def ranker_model(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """How likely a flagged slot is a real fault, learned from what people said about events; off until that suffices.

    It is registered in MLflow with its precision on meters that it has not seen, and used when that surely
    beats the detectors' own score.
    """
    snapshot_id = lake.snapshot_id()
    labels = _labels(lake)
    spec = RankerSpec()
    lacking = shortage(labels, minimum=spec.minimum)
    if lacking is not None:
        return dg.MaterializeResult(metadata={"state": f"off: {lacking}", "labels": labels.height})
    features = features_of(lake, labels=labels)
    trained = train_ranker(features, labels=labels, spec=spec, seed=_SEED, threads=settings.threads)
    if isinstance(trained, str):
        return dg.MaterializeResult(metadata={"state": f"off: {trained}", "labels": labels.height})
    decision = _decision(trained, registry=registry)
    version = registry.register(
        {FULL: trained.ranker},
        name=NAME,
        facts=_facts(trained, features, spec=spec, snapshot_id=snapshot_id),
        metrics=trained.metrics,
        plots=ranker_plots(trained.unseen),
        input_example=features.drop_nulls("site_id").head(5),
        decision=decision,
    )
    context.log.info("%s version %d: %s", NAME, version.version, decision.verdict)
    ours, theirs = trained.metrics["model"], trained.metrics[UNSUPERVISED]
    return dg.MaterializeResult(
        metadata={
            "state": decision.verdict,
            "version": version.version,
            "labels": trained.rows,
            "faults": int(trained.unseen["is_fault"].sum()),
            "average_precision": ours["average_precision"],
            "average_precision_of_the_detectors": theirs["average_precision"],
            "gain_at_least": ours["gain_at_least"],
            "calibration_error": ours["calibration_error"],
        }
    )


@dg.asset(
    **looks_of(ANOMALIES_RANKING),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[ANOMALIES_EVENTS.asset_key, ["models", "ranker"]],
)
def event_ranking(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
) -> dg.MaterializeResult[None]:
    """The events of a day in the order in which the ranker would look at them; none while it is off."""
    window = window_of(context)
    model = _champion(lake, registry)
    if isinstance(model, str):
        commit = lake.replace(ANOMALIES_RANKING, ANOMALIES_RANKING.empty(), window=window, message=run_message(context))
        return report(commit, ANOMALIES_RANKING, state=f"off: {model}")
    events = lake.read(ANOMALIES_EVENTS, window).drop_nulls("meter_id")
    slots = _flagged_slots(lake, events)
    if slots.is_empty():
        rows = ANOMALIES_RANKING.empty()
    else:
        scores = model.variants[FULL].predict(features_of(lake, labels=slots))
        rows = _ranked(events, slots=slots, scores=scores, model_version=model.model_version)
    commit = lake.replace(ANOMALIES_RANKING, rows, window=window, message=run_message(context))
    return report(commit, ANOMALIES_RANKING, state=f"by {model.model_version}", likeliest=rows.head(10))


def _champion(lake: Lake, registry: Registry) -> LoadedModel | str:
    """Return the ranker in use, or why there is none; without a word of anybody the registry is not even asked."""
    if lake.count(ANOMALIES_FEEDBACK) == 0:
        return "nobody has said anything about an event"
    try:
        newest = registry.described(NAME, alias="challenger")
        if newest is not None and newest.metrics.get("gain_at_least", 1.0) <= 0:
            return "the newest training found no sure gain over the detectors"
        return registry.resolve(NAME)
    except UnresolvedModelError as error:
        return error.reason


def features_of(lake: Lake, *, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the features of slots (meter_id, starts_at_utc), with the detectors' score of each, a month at a time.

    All meters of the slots' sites are judged, because the detectors compare a meter with its peers.
    """
    registry, sites = lake.read(METERS), lake.read(SITES)
    meters = registry.join(registry.join(labels, on="meter_id", how="semi"), on="site_id", how="semi")
    ids = meters["meter_id"].to_list()
    frames = []
    for piece in _days_of(labels).pieces(days=_DAYS_AT_ONCE):
        judged = piece.padded(before=timedelta(days=Limits().lookback_days))
        readings = lake.read(READINGS_INTERVAL, judged, where={"meter_id": ids})
        weather = lake.read(WEATHER_OBSERVED, judged)
        scores = judge(
            readings, meters=meters, sites=sites, weather=weather, window=piece, every_score=True
        ).scores  # fmt: skip
        frames.append(
            ranker_features(readings, window=piece, meters=meters, sites=sites, scores=scores, only=labels)
        )  # fmt: skip
    return pl.concat(frames)


def _days_of(slots: pl.DataFrame, *, around: timedelta = timedelta(0)) -> Window:
    """Return the whole days that slots fall on, and so much around them."""
    first, last = slots["starts_at_utc"].min(), slots["starts_at_utc"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return Window.of_days((first - around).date(), (last + around).date())


def _labels(lake: Lake) -> pl.DataFrame:
    feedback, events = lake.read(ANOMALIES_FEEDBACK), lake.read(ANOMALIES_EVENTS)
    judged = events.join(feedback, on="event_id", how="semi").drop_nulls("meter_id")
    if judged.is_empty():
        return labels_of_feedback(feedback, events=events, flags=ANOMALIES_FLAGS.empty(), slots=ANOMALIES_FLAGS.empty())
    ends = judged.select(starts_at_utc="ends_at_utc")
    window = _days_of(pl.concat([judged.select("starts_at_utc"), ends]), around=_REVIEWED)
    one = {"meter_id": judged["meter_id"].unique().to_list()}
    slots = lake.read(READINGS_INTERVAL, window, columns=["meter_id", "starts_at_utc"], where=one)
    flags = lake.read(ANOMALIES_FLAGS, window, columns=["meter_id", "starts_at_utc"], where=one)
    return labels_of_feedback(feedback, events=events, flags=flags, slots=slots)


def _decision(trained: TrainedRanker, *, registry: Registry) -> Decision:
    """Return whether a ranker is used: better than the detectors, and not worse than the ranker that is in use."""
    obstacle = judge_ranker(trained.metrics)
    champion = registry.described(NAME)
    before = None if champion is None else champion.metrics.get("average_precision")
    ours = trained.metrics["model"]["average_precision"]
    if obstacle is None and before is not None and ours < before:
        obstacle = f"average precision {ours:.3f} on unseen meters against {before:.3f} of the champion on its own"
    said = f"champion, average precision {ours:.3f} on unseen meters" if obstacle is None else obstacle
    return Decision(is_promoted=obstacle is None, is_first=before is None, verdict=said)


def _facts(trained: TrainedRanker, features: pl.DataFrame, *, spec: RankerSpec, snapshot_id: int) -> TrainingFacts:
    seen = _days_of(trained.unseen)
    return TrainingFacts(
        lake_snapshot_id=snapshot_id,
        git_commit=code_revision(),
        feature_columns=spec.features,
        features_hash=_fingerprint(features.head(1)),
        data_hash=_fingerprint(features),
        training_starts_at_utc=seen.starts_at_utc,
        training_ends_at_utc=seen.ends_at_utc,
        training_rows=trained.rows,
        meters=trained.unseen["meter_id"].n_unique(),
        seed=_SEED,
        unseen_starts_at_utc=seen.starts_at_utc,
        unseen_ends_at_utc=seen.ends_at_utc,
        parameters={name: value for name, value in spec.model_dump().items() if isinstance(value, int | float | str)},
        purpose="probability that a slot of a meter is a fault; measured on meters that the trees have not seen",
    )


def _fingerprint(features: pl.DataFrame) -> str:
    # An issue time, which these features do not have, is part of the key of the function that names features.
    return features_hash(features.with_columns(issued_at_utc="starts_at_utc"))


def _flagged_slots(lake: Lake, events: pl.DataFrame) -> pl.DataFrame:
    """Return event_id, meter_id and starts_at_utc of the flagged slots of events."""
    if events.is_empty():
        return events.select("event_id", "meter_id", "starts_at_utc")
    ends = events.select(starts_at_utc="ends_at_utc")
    flags = lake.read(
        ANOMALIES_FLAGS,
        _days_of(pl.concat([events.select("starts_at_utc"), ends])),
        columns=["meter_id", "starts_at_utc"],
        where={"meter_id": events["meter_id"].unique().to_list()},
    ).unique()
    spans = events.select("event_id", "meter_id", since="starts_at_utc", until="ends_at_utc")
    inside = (pl.col("starts_at_utc") >= pl.col("since")) & (pl.col("starts_at_utc") < pl.col("until"))
    return flags.join(spans, on="meter_id").filter(inside).select("event_id", "meter_id", "starts_at_utc")


def _ranked(events: pl.DataFrame, *, slots: pl.DataFrame, scores: pl.DataFrame, model_version: str) -> pl.DataFrame:
    highest = (
        slots.join(scores, on=["meter_id", "starts_at_utc"], how="inner")
        .group_by("event_id")
        .agg(probability=pl.col("score").max())
    )
    day = pl.col("starts_at_utc").dt.truncate("1d")
    rows = (
        events.join(highest, on="event_id", how="inner", validate="1:1")
        .sort("probability", "event_id", descending=[True, False])
        .with_columns(
            place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(day), model_version=pl.lit(model_version)
        )
    )
    return ANOMALIES_RANKING.conform(rows.select(ANOMALIES_RANKING.column_names)).sort("starts_at_utc", "place")


checks = [contract_check(ANOMALIES_RANKING)]
