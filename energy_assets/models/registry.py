"""Registered models in MLflow: log a version with all that explains it, move aliases, resolve one into a model.

The only module that imports MLflow, and only inside functions, because the import takes seconds. Works alike on an
embedded store (`sqlite:///…`) and on a server; a version is resolved by its alias, never by search.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from energy_assets.errors import ModelError
from energy_assets.models import pyfunc
from energy_assets.models.archive import ARCHIVE_NAME, FULL, Model, fingerprint, read_archive, write_archive
from energy_assets.models.cache import Found, cached_archive, keep_archive, last_known, remember
from energy_assets.models.card import Metrics, TrainingFacts, card, flat_metrics, judge_first_version, verdict
from energy_assets.models.signature import signature_of
from energy_assets.models.store_probe import shown, trouble_with_store

Alias = Literal["champion", "challenger", "previous_champion"]
Reason = Literal["registry_empty", "no_champion", "registry_unreachable", "archive_unavailable", "model_broken"]

_EXPERIMENT = "load forecasts"
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# Registry calls are small; the uploads of a model go through the same client, hence half a minute and not two seconds.
_CLIENT_LIMITS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "DO_NOT_TRACK": "true",
}


class UnresolvedModelError(ModelError):
    """No model can be had from the registry; `reason` is what the forecast rows of lower rungs say."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A registered version, the aliases it got on registration, and why it did not become champion."""

    name: str
    version: int
    aliases: tuple[Alias, ...]
    not_promoted_because: str | None
    run_id: str


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A version in memory. `notice` tells of trouble that did not prevent it from loading."""

    name: str
    version: int
    variants: Mapping[str, Model]
    tags: Mapping[str, str]
    notice: str | None = None

    @property
    def model_version(self) -> str:
        """Return `name/version`, as forecasts record it."""
        return f"{self.name}/{self.version}"


def registered_name(commodity: str, *, interval_minutes: int) -> str:
    """Return the name of the registered model of a commodity and interval class, as `load-electricity-60min`."""
    return f"load-{commodity.replace('_', '-')}-{interval_minutes}min"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The registry at a tracking URI. `artifact_folder` serves embedded stores only; a server has its own.

    With a `cache_folder`, versions that were loaded once are loaded from there, and the last known champion still
    serves while the server is down.
    """

    tracking_uri: str
    artifact_folder: Path | None = None
    cache_folder: Path | None = None

    def register(
        self,
        variants: Mapping[str, Model],
        *,
        name: str,
        facts: TrainingFacts,
        metrics: Metrics,
        plots: Mapping[str, bytes],
        input_example: pl.DataFrame,
    ) -> ModelVersion:
        """Log a run and register its model; it becomes `challenger`, the first one `champion` if it beats last week.

        `metrics` holds values on unseen days by method, `model` and every baseline; `plots` PNG files by name;
        `input_example` a few rows of features, from which signature and example are made.

        Raises:
            ModelError: the store refuses; UnresolvedModelError with `registry_unreachable`: it is not there.
        """
        with self._session() as client:
            has_champion = _version_of(client, name, "champion") is not None
            obstacle = None if has_champion else judge_first_version(metrics)
            promoted = not has_champion and obstacle is None
            said = verdict(has_champion=has_champion, obstacle=obstacle)
            text = card(name, facts=facts, metrics=metrics, verdict=said)
            tags = facts.tags() | {"verdict": said} | ({"not_promoted_because": obstacle} if obstacle else {})
            run_id, source, model_id, digest = self._log(
                client, variants, facts=facts, metrics=metrics, plots=plots, example=input_example, text=text, name=name
            )
            tags["archive_sha256"] = digest
            _ensure_registered(client, name)
            created = client.create_model_version(
                name, source=source, run_id=run_id, model_id=model_id, tags=tags, description=text
            )
            aliases: tuple[Alias, ...] = ("challenger", "champion") if promoted else ("challenger",)
            for alias in aliases:
                client.set_registered_model_alias(name, alias, created.version)
        return ModelVersion(
            name=name,
            version=int(created.version),
            aliases=aliases,
            not_promoted_because=obstacle,
            run_id=run_id,
        )

    def promote(self, name: str, version: int) -> None:
        """Make a version champion; the champion before it is kept as `previous_champion`.

        Raises:
            ModelError: there is no such version.
        """
        with self._session() as client:
            client.get_model_version(name, str(version))
            before = _version_of(client, name, "champion")
            if before is not None and int(before.version) == version:
                return
            if before is not None:
                client.set_registered_model_alias(name, "previous_champion", before.version)
            client.set_registered_model_alias(name, "champion", str(version))

    def rollback(self, name: str) -> int:
        """Make the previous champion champion again and return its version; the two change places.

        Raises:
            ModelError: no previous champion is known.
        """
        with self._session() as client:
            previous = _version_of(client, name, "previous_champion")
        if previous is None:
            raise ModelError(f"{name} has no previous champion to roll back to; `promote` a version instead.")
        self.promote(name, int(previous.version))
        return int(previous.version)

    def version(self, name: str, *, alias: Alias = "champion") -> int | None:
        """Return the version behind an alias, or None where the model or the alias does not exist."""
        with self._session() as client:
            found = _version_of(client, name, alias)
        return None if found is None else int(found.version)

    def metrics(self, name: str, *, alias: Alias = "champion") -> dict[str, float]:
        """Return what was measured of the version behind an alias on unseen days; empty where there is none."""
        with self._session() as client:
            found = _version_of(client, name, alias)
            return {} if found is None else dict(client.get_run(found.run_id).data.metrics)

    def snapshots_learned_from(self) -> list[int]:
        """Return the lake snapshots that any registered version learned from; they must outlive maintenance."""
        with self._session() as client:
            versions = client.search_model_versions(max_results=1000)
        return sorted({int(each.tags["lake_snapshot_id"]) for each in versions if "lake_snapshot_id" in each.tags})

    def resolve(self, name: str, *, alias: Alias = "champion") -> LoadedModel:
        """Return the version behind an alias, loaded.

        Raises:
            UnresolvedModelError: with reason `registry_empty` (no such model), `no_champion` (no version under the
                alias), `registry_unreachable`, `archive_unavailable` (artifact store) or `model_broken`.
        """
        try:
            found = self._find(name, alias)
        except UnresolvedModelError as error:
            known = None if self.cache_folder is None else last_known(self.cache_folder, name=name, alias=alias)
            if error.reason != "registry_unreachable" or known is None:
                raise
            return self._load(known, notice="registry_unreachable_last_known_version")
        if self.cache_folder is not None:
            remember(self.cache_folder, found, alias=alias)
        return self._load(found, notice=None)

    def load(self, name: str, *, version: int) -> LoadedModel:
        """Return one version, loaded, whatever its aliases are now.

        Raises:
            UnresolvedModelError: as `resolve`; with reason `registry_empty` where there is no such version.
        """
        from mlflow.exceptions import MlflowException

        with self._session() as client:
            try:
                found = client.get_model_version(name, str(version))
            except MlflowException as error:
                raise UnresolvedModelError(
                    f"{name} has no version {version} at {shown(self.tracking_uri)}; it was deleted, or this is "
                    f"another registry.",
                    reason="registry_empty",
                ) from error
            known = Found(name=name, version=version, tags=dict(found.tags))
        return self._load(known, notice=None)

    def _find(self, name: str, alias: Alias) -> Found:
        with self._session() as client:
            found = _version_of(client, name, alias)
            if found is not None:
                return Found(name=name, version=int(found.version), tags=dict(found.tags))
            known = _exists(client, name)
        if known:
            raise UnresolvedModelError(
                f"{name} has versions but no {alias}; promote one: energy models promote.", reason="no_champion"
            )
        raise UnresolvedModelError(
            f"No model {name} is registered at {shown(self.tracking_uri)}; train one.", reason="registry_empty"
        )

    def _load(self, found: Found, *, notice: str | None) -> LoadedModel:
        with tempfile.TemporaryDirectory() as scratch:
            path = None if self.cache_folder is None else cached_archive(self.cache_folder, found)
            if path is None:
                path = self._fetch(found, Path(scratch))
                if self.cache_folder is not None:
                    keep_archive(self.cache_folder, found, path)
            if fingerprint(path) != found.digest:
                raise UnresolvedModelError(
                    f"The archive of {found.name} version {found.version} is not the one that was registered "
                    f"(SHA-256 differs); roll back or register again.",
                    reason="model_broken",
                )
            try:
                variants = read_archive(path)
            except ModelError as error:
                raise UnresolvedModelError(str(error), reason="model_broken") from error
        return LoadedModel(name=found.name, version=found.version, variants=variants, tags=found.tags, notice=notice)

    def _fetch(self, found: Found, scratch: Path) -> Path:
        with self._session():
            import mlflow
            from mlflow.exceptions import MlflowException

            try:
                folder = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"models:/{found.name}/{found.version}", dst_path=str(scratch)
                )
            except (MlflowException, OSError) as error:
                raise UnresolvedModelError(
                    f"The artifacts of {found.name} version {found.version} cannot be fetched: {error}",
                    reason="archive_unavailable",
                ) from error
        path = Path(folder) / "data" / ARCHIVE_NAME
        if not path.is_file():
            raise UnresolvedModelError(
                f"{found.name} version {found.version} holds no {ARCHIVE_NAME}; register it again.",
                reason="archive_unavailable",
            )
        return path

    def _log(
        self,
        client: Any,
        variants: Mapping[str, Model],
        *,
        facts: TrainingFacts,
        metrics: Metrics,
        plots: Mapping[str, bytes],
        example: pl.DataFrame,
        text: str,
        name: str,
    ) -> tuple[str, str, str, str]:
        """Log one run with its model and return run id, model URI, model id and the archive's SHA-256."""
        import mlflow

        title = f"{name} to {facts.training_ends_at_utc:%Y-%m-%d}"
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / ARCHIVE_NAME
            digest = write_archive(variants, path)
            predicted = variants[FULL].predict(example)
            with mlflow.start_run(experiment_id=self._experiment(client), run_name=title) as run:
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
                mlflow.log_text(text, "model_card.md")
                for file, content in plots.items():
                    picture = Path(scratch) / file
                    picture.write_bytes(content)
                    mlflow.log_artifact(str(picture), "plots")
        return run.info.run_id, logged.model_uri, logged.model_id, digest

    def _experiment(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        location = None
        if self.artifact_folder is not None:
            self.artifact_folder.mkdir(parents=True, exist_ok=True)
            location = self.artifact_folder.resolve().as_uri()
        known = client.get_experiment_by_name(_EXPERIMENT)
        if known is None:
            try:
                return str(client.create_experiment(_EXPERIMENT, artifact_location=location))
            except MlflowException:  # another process made it in between; if not, the next line fails
                known = client.get_experiment_by_name(_EXPERIMENT)
        return str(known.experiment_id)

    @contextlib.contextmanager
    def _session(self) -> Iterator[Any]:
        """Yield a client of the store; its failures become errors of ours, its own warnings stay its own."""
        trouble = trouble_with_store(self.tracking_uri)
        if trouble is not None:
            raise UnresolvedModelError(trouble, reason="registry_unreachable")
        for variable, value in _CLIENT_LIMITS.items():
            os.environ.setdefault(variable, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow
            import mlflow.pyfunc
            from mlflow.exceptions import MlflowException

            for noisy in ("mlflow", "alembic"):
                logging.getLogger(noisy).setLevel(logging.ERROR)
            mlflow.set_tracking_uri(self.tracking_uri)
            mlflow.set_registry_uri(self.tracking_uri)
            try:
                yield mlflow.MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
            except MlflowException as error:
                raise _as_ours(error, self.tracking_uri) from error


def _version_of(client: Any, name: str, alias: Alias) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


def _ensure_registered(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=f"{name}: see the card of each version.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _exists(client: Any, name: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return False
        raise
    return True


def _as_ours(error: Any, tracking_uri: str) -> ModelError:
    message = f"The model registry at {shown(tracking_uri)} answers: {error}"
    if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"):
        return UnresolvedModelError(message, reason="registry_unreachable")
    return ModelError(message)
