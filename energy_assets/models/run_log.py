"""What MLflow keeps of a training: a run with the archive, metrics, plots and card, named after what it learned.

Works on a client and the module `mlflow` of a session that the registry opened; nothing here imports MLflow.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from energy_assets.models import pyfunc
from energy_assets.models.archive import ARCHIVE_NAME, FULL, Model, write_archive
from energy_assets.models.card import Metrics, TrainingFacts, card_page, flat_metrics
from energy_assets.models.moved_store import EXPERIMENT
from energy_assets.models.signature import signature_of

_EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_METRICS_A_CALL = 1000
_ABOUT = {
    # MLflow then shows the pages of trainings, and none of chats and prompts.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": (
        "One run per training of a registered model, named after the day up to which it learned. Metrics without a "
        "prefix are its own on unseen days, those of a baseline follow its name, `skill/…` compares the two; `live/…` "
        "and `leaderboard_…` come from the nights in which it served. `model_card.html` has it all on one page."
    ),
}


@dataclass(frozen=True, kw_only=True)
class Logged:
    """Where a training lies in MLflow: run, model with its address, and the SHA-256 of the archive."""

    run_id: str
    model_uri: str
    model_id: str
    archive_sha256: str


def log_training(
    mlflow: Any,
    variants: Mapping[str, Model],
    *,
    name: str,
    experiment_id: str,
    facts: TrainingFacts,
    metrics: Metrics,
    plots: Mapping[str, bytes],
    example: pl.DataFrame,
    text: str,
) -> Logged:
    """Log a finished run with its model, and what `text` (the card) and `plots` say of it."""
    title = f"{facts.training_ends_at_utc:%Y-%m-%d} {name.removeprefix('load-')}"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / ARCHIVE_NAME
        digest = write_archive(variants, path)
        predicted = variants[FULL].predict(example)
        with mlflow.start_run(experiment_id=experiment_id, run_name=title) as run:
            logged = mlflow.pyfunc.log_model(
                name=name,
                loader_module=pyfunc.__name__,
                data_path=str(path),
                signature=signature_of(example, predicted),
                input_example=pyfunc.to_wire(example),
                pip_requirements=pyfunc.requirements(),
            )
            mlflow.log_params(dict(facts.parameters))
            mlflow.log_metrics(flat_metrics(metrics), model_id=logged.model_id)
            mlflow.set_tags(facts.tags() | {"registered_model": name, "mlflow.note.content": text})
            mlflow.MlflowClient().log_inputs(run.info.run_id, datasets=[_learned_from(mlflow, facts)])
            mlflow.log_text(text, "model_card.md")
            mlflow.log_text(card_page(text, plots=plots), "model_card.html")
            for file, content in plots.items():
                picture = Path(scratch) / file
                picture.write_bytes(content)
                mlflow.log_artifact(str(picture), "plots")
    return Logged(run_id=run.info.run_id, model_uri=logged.model_uri, model_id=logged.model_id, archive_sha256=digest)


def log_over_days(mlflow: Any, client: Any, run_id: str, measured: Mapping[datetime, Mapping[str, float]]) -> None:
    """Add metrics by the time that they are of; the step is the day since 1970, the same again changes nothing."""
    metrics = [
        mlflow.entities.Metric(metric, value, int(at.timestamp() * 1000), at.toordinal() - _EPOCH_DAY)
        for at, values in measured.items()
        for metric, value in values.items()
    ]
    for start in range(0, len(metrics), _METRICS_A_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + _METRICS_A_CALL])


def log_files(client: Any, run_id: str, files: Mapping[str, bytes | str]) -> None:
    """Add texts and pictures to a run, in place of those of the same name."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
            path = Path(scratch) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        client.log_artifacts(run_id, scratch)


def experiment_id_of(mlflow: Any, client: Any, *, artifact_folder: Path | None) -> str:
    """Return the id of the experiment of the trainings, made where it is not there yet.

    In a store of our own, MLflow's empty experiment `Default` goes.
    """
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is None:
        location = None
        if artifact_folder is not None:
            artifact_folder.mkdir(parents=True, exist_ok=True)
            location = artifact_folder.resolve().as_uri()
        # Another process may make it in between; if it was something else, the next line fails.
        with contextlib.suppress(mlflow.exceptions.MlflowException):
            client.create_experiment(EXPERIMENT, artifact_location=location, tags=_ABOUT)
            if artifact_folder is not None and not client.search_runs(["0"], max_results=1):
                client.delete_experiment("0")
        known = client.get_experiment_by_name(EXPERIMENT)
    elif any(known.tags.get(key) != value for key, value in _ABOUT.items()):
        for key, value in _ABOUT.items():
            client.set_experiment_tag(known.experiment_id, key, value)
    return str(known.experiment_id)


def _learned_from(mlflow: Any, facts: TrainingFacts) -> Any:
    """Return what a run lists as its dataset: the lake's snapshot, and the hash of the rows that it learned from."""
    entities = mlflow.entities
    dataset = entities.Dataset(
        name=f"lake snapshot {facts.lake_snapshot_id}",
        digest=facts.data_hash[:36],
        source_type="ducklake",
        source=f'{{"snapshot_id": {facts.lake_snapshot_id}}}',
        profile=f'{{"rows": {facts.training_rows}, "meters": {facts.meters}}}',
    )
    return entities.DatasetInput(dataset=dataset, tags=[entities.InputTag("mlflow.data.context", "training")])
