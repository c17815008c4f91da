"""Models: trained on what the lake holds, judged on days they have not seen, registered in MLflow."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import dagster as dg
import polars as pl
from pydantic import Field

from energy_assets.contracts import METERS, READINGS_INTERVAL, WEATHER_OBSERVED
from energy_assets.defs.reporting import OWNERS, table_of
from energy_assets.defs.training_rows import HELD_ROWS, training_rows
from energy_assets.features.matrix import FEATURE_GROUPS, FEATURES, features_hash
from energy_assets.forecasts.champions import model_names
from energy_assets.lake import Lake
from energy_assets.models.archive import FULL
from energy_assets.models.boosting import checked_device
from energy_assets.models.card import TrainingFacts
from energy_assets.models.plots import plots_of
from energy_assets.models.promotion import Decision, decide
from energy_assets.models.ranges import ranges_of
from energy_assets.models.registry import LoadedModel, ModelVersion, Registry, UnresolvedModelError, registered_name
from energy_assets.models.spec import SPECS, ModelSpec
from energy_assets.models.training import Trained, train
from energy_assets.revision import code_revision
from energy_assets.settings import Settings
from energy_assets.sql import Query

_SEED = 0
_CLASSES_FED = 4
"""Commodities among which the rows are shared: with this many, none learns from much less than it may."""


class TrainingScope(dg.Config):
    """Which models a training is for."""

    only: list[str] = Field(default=[], description="Names of registered models; all that the meters need if empty.")


@dg.asset(
    key=["models", "load"],
    group_name="models",
    owners=OWNERS,
    kinds={"xgboost", "mlflow"},
    deps=[READINGS_INTERVAL.asset_key, WEATHER_OBSERVED.asset_key, METERS.asset_key],
)
def load_models(
    context: dg.AssetExecutionContext,
    config: TrainingScope,
    lake: dg.ResourceParam[Lake],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Quantile models per commodity and interval class, registered with metrics against the plain baselines.

    A new version becomes `challenger`. It becomes `champion` only on evidence: the first one if it beats every plain
    baseline, a later one if a paired block bootstrap on days that neither has seen favours it over the champion and its
    80 % band holds what it claims. The figures of each decision are tags of the version and metadata here.
    """
    snapshot_id = lake.snapshot_id()
    meters = meters_of(lake.read(METERS), names=config.only)
    issues = training_issues(lake, settings=settings)
    if not issues or meters.is_empty():
        return dg.MaterializeResult(metadata={"models": "nothing to learn from: no readings, or no meter", "issues": 0})
    spec = checked_spec(settings)
    wanted = settings.training_rows
    if wanted <= HELD_ROWS:
        wanted = min(wanted, _CLASSES_FED * spec.training_rows)
    decisions: list[Decision] = []
    rows: list[dict[str, object]] = []
    with training_rows(lake, meters=meters, issues=issues, rows=wanted, settings=settings) as learned:
        for (commodity, minutes), group in learned.held.items():
            name = registered_name(commodity, interval_minutes=minutes)
            trained = train(
                group,
                spec=spec,
                seed=_SEED,
                threads=settings.threads,
                tuning_s=settings.training_tuning_s,
                store=learned.stores.get((commodity, minutes)),
            )
            if isinstance(trained, str):
                rows.append({"model": name, "decision": "not trained", "why": trained})
                continue
            decision = decide(
                group,
                challenger=trained.variants[FULL],
                learned_until_utc=trained.training_ends_at_utc,
                champion=champion_of(registry, name),
                seed=_SEED,
            )
            version = registry.register(
                trained.variants,
                name=name,
                facts=_facts(trained, group, snapshot_id=snapshot_id, spec=trained.spec),
                metrics=trained.metrics,
                plots=plots_of(trained.unseen),
                decision=decision,
                input_example=group.head(5).select(pl.exclude("energy_kwh", "energy_known_at_utc")),
            )
            rows.append(_summary(name, version, trained, decision))
            decisions.append(decision)
            context.log.info("%s version %d: %s", name, version.version, decision.verdict)
    summary = pl.DataFrame(rows, infer_schema_length=None)
    return dg.MaterializeResult(
        metadata={
            "models": table_of(summary.drop("why")),
            "decisions": table_of(summary.select("model", decision="why")),
            "promoted": sum(decision.is_promoted for decision in decisions),
            "lake_snapshot": snapshot_id,
            "issues": len(issues),
            "rows": learned.count,
            "mlflow": registry.tracking_uri,
        }
    )


@dg.asset_check(asset=["models", "load"], name="champions_beat_last_week")
def champions_beat_last_week(registry: dg.ResourceParam[Registry], lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Every model that the meters need has a champion; a first one must beat the plain baselines on unseen days."""
    names = model_names(lake.read(METERS))
    without = [name for name in names if registry.version(name) is None]
    return dg.AssetCheckResult(
        passed=not without,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"no champion: {', '.join(without)}" if without else f"{len(names)} models have a champion",
    )


def checked_spec(settings: Settings, *, effort: Literal["quick", "full"] | None = None) -> ModelSpec:
    """Return what is trained: the effort with the machine's device and memory, and more rows where these are asked for.

    Raises:
        ModelError: a GPU is wanted and there is none.
    """
    spec = SPECS[effort or settings.training_effort]
    rows = spec.training_rows
    if settings.training_rows > Settings.model_fields["training_rows"].default:
        rows = max(rows, min(settings.training_rows, HELD_ROWS) // _CLASSES_FED)
    changes = {
        "family": settings.training_family,
        "groups": tuple(FEATURE_GROUPS) if settings.training_features == "all" else spec.groups,
        "device": checked_device(settings.training_device),
        "matrix_gb": settings.training_memory_gb,
        "training_rows": rows,
    }
    return spec.model_copy(update=changes)


def champion_of(registry: Registry, name: str) -> LoadedModel | UnresolvedModelError:
    """Return the champion of a model, or the error that says why there is none to be had."""
    try:
        return registry.resolve(name)
    except UnresolvedModelError as error:
        return error


def meters_of(meters: pl.DataFrame, *, names: Sequence[str]) -> pl.DataFrame:
    """Return the rows of METERS that registered models of these names serve; all where none is named."""
    if not names:
        return meters
    classes = meters.select("commodity", "interval_minutes").unique()
    wanted = [registered_name(commodity, interval_minutes=minutes) in names for commodity, minutes in classes.rows()]
    return meters.join(classes.filter(pl.Series(wanted)), on=["commodity", "interval_minutes"], how="semi")


def training_issues(lake: Lake, *, settings: Settings) -> list[datetime]:
    """Return the issue times to learn from: midnights between the first and the last reading, newest first kept.

    The step between them is a whole number of days that is no multiple of seven, so that every weekday is met.
    """
    first, newest = first_reading(lake), newest_issue(lake, settings=settings)
    if first is None or newest is None:
        return []
    first = first.replace(hour=0, minute=0, second=0, microsecond=0)
    newest = newest.replace(hour=0)
    days = (newest - first).days - 14
    step = max(1, days // settings.training_issues)
    step += step % 7 == 0
    recent = [newest - timedelta(days=day) for day in range(28) if day < days]
    older = [newest - timedelta(days=day) for day in range(28, max(days, 28), step)]
    return sorted(issue + timedelta(hours=settings.issue_hour_utc) for issue in recent + older)


def newest_issue(lake: Lake, *, settings: Settings) -> datetime | None:
    """Return the newest issue time whose first day has been read; None where nothing was."""
    last = _reading_span(lake)[1]
    if last is None:
        return None
    midnight = last.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=1) + timedelta(hours=settings.issue_hour_utc)


def first_reading(lake: Lake) -> datetime | None:
    """Return the time of the oldest reading; None where there is none."""
    return _reading_span(lake)[0]


def _reading_span(lake: Lake) -> tuple[datetime | None, datetime | None]:
    span = lake.query(Query.from_file("energy_assets.defs", "reading_span")).row(0)
    first, last = (None if moment is None else moment.astimezone(UTC) for moment in span)
    return first, last


def _facts(trained: Trained, features: pl.DataFrame, *, snapshot_id: int, spec: ModelSpec) -> TrainingFacts:
    return TrainingFacts(
        lake_snapshot_id=snapshot_id,
        git_commit=code_revision(),
        feature_columns=FEATURES,
        features_hash=features_hash(features.head(1)),
        # The fingerprint leaves the target out, by its name; what was learned includes it.
        data_hash=features_hash(features.rename({"energy_kwh": "learned_kwh"})),
        training_starts_at_utc=trained.training_starts_at_utc,
        training_ends_at_utc=trained.training_ends_at_utc,
        training_rows=trained.training_rows,
        meters=features["meter_id"].n_unique(),
        seed=_SEED,
        unseen_starts_at_utc=trained.unseen_starts_at_utc,
        unseen_ends_at_utc=trained.unseen_ends_at_utc,
        parameters=spec.parameters(),
        feature_ranges=ranges_of(features.filter(pl.col("issued_at_utc") < trained.training_ends_at_utc)),
    )


def _summary(name: str, version: ModelVersion, trained: Trained, decision: Decision) -> dict[str, object]:
    model, last_week = trained.metrics["model"], trained.metrics.get("last_week", {})

    def percent(share: float | None) -> str | None:
        return None if share is None else f"{share:.1%}"

    return {
        "model": name,
        "version": version.version,
        "decision": "champion" if decision.is_promoted else "stays challenger",
        "NMAE, unseen days": percent(model.get("nmae")),
        "of last week": percent(last_week.get("nmae")),
        "in 80 % band": percent(model.get("coverage_80")),
        "rows": trained.training_rows,
        "why": decision.verdict,
    }


checks = [champions_beat_last_week]
