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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from energy_assets.errors import ModelError
from energy_assets.models import pyfunc
from energy_assets.models.archive import ARCHIVE_NAME, FULL, Model, write_archive
from energy_assets.models.cache import (
    Found,
    cached_archive,
    drop_cached,
    keep_archive,
    last_known,
    read_whole,
    remember,
)
from energy_assets.models.card import Metrics, TrainingFacts, card, card_page, decision_by_metrics, flat_metrics
from energy_assets.models.moved_store import EXPERIMENT, point_to_where_it_lies
from energy_assets.models.promotion import Decision
from energy_assets.models.retention import forget
from energy_assets.models.signature import signature_of
from energy_assets.models.store_probe import CLIENT_LIMITS, as_ours, shown, trouble_with_store
from energy_assets.models.succession import about, crown, listed, promotions_of, versions_of
from energy_assets.models.versions import (
    Alias,
    How,
    Listed,
    LoadedModel,
    ModelVersion,
    Promotion,
    Reason,
    UnresolvedModelError,
    registered_name,
)

__all__ = ["Alias", "LoadedModel", "ModelVersion", "Reason", "Registry", "UnresolvedModelError", "registered_name"]

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_PRESENT = ("RESOURCE_ALREADY_EXISTS",)
_EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_METRICS_A_CALL = 1000


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
        decision: Decision | None = None,
    ) -> ModelVersion:
        """Log a run and register its model as `challenger`; also as `champion` if the decision says so.

        `metrics` holds values on unseen days by method, `model` and every baseline; `plots` PNG files by name;
        `input_example` a few rows of features, from which signature and example are made. Without a decision the
        metrics decide over a first version, and a later one waits as challenger.

        Raises:
            ModelError: the store refuses; UnresolvedModelError with `registry_unreachable`: it is not there.
        """
        with self._session() as client:
            before = _version_of(client, name, "champion")
            made = decision or decision_by_metrics(metrics, has_champion=before is not None)
            text = card(name, facts=facts, metrics=metrics, verdict=made.verdict)
            tags = facts.tags() | made.tags()
            run_id, source, model_id, digest = self._log(
                client, variants, facts=facts, metrics=metrics, plots=plots, example=input_example, text=text, name=name
            )
            tags["archive_sha256"] = digest
            _found(lambda: client.create_registered_model(name, description=about(name)), but=_PRESENT)
            created = client.create_model_version(
                name, source=source, run_id=run_id, model_id=model_id, tags=tags, description=text
            )
            aliases: tuple[Alias, ...] = ("challenger", "champion") if made.is_promoted else ("challenger",)
            client.set_registered_model_alias(name, "challenger", created.version)
            if made.is_promoted:
                how: How = "evidence" if before is not None and not made.is_first else "first"
                at_utc = datetime.fromtimestamp(created.creation_timestamp / 1000, tz=UTC)
                version = client.get_model_version(name, created.version)
                crown(client, name, version, before=before, how=how, reason=made.verdict, at_utc=at_utc)
        return ModelVersion(
            name=name,
            version=int(created.version),
            aliases=aliases,
            not_promoted_because=tags.get("not_promoted_because"),
            run_id=run_id,
        )

    def promote(
        self,
        name: str,
        version: int,
        *,
        now: datetime,
        reason: str,
        how: How = "by hand",
        decision: Decision | None = None,
    ) -> Promotion | None:
        """Make a version champion and return the record; the champion before it is kept as `previous_champion`.

        A decision is kept with the version as its newest evidence. None where the version is champion already.

        Raises:
            ModelError: there is no such version.
        """
        with self._session() as client:
            client.get_model_version(name, str(version))
            before = _version_of(client, name, "champion")
            if before is not None and int(before.version) == version:
                return None
            for key, value in (decision.tags() if decision else {}).items():
                client.set_model_version_tag(name, str(version), key, value)
            found = client.get_model_version(name, str(version))
            return crown(client, name, found, before=before, how=how, reason=reason, at_utc=now)

    def rollback(self, name: str, *, now: datetime, reason: str) -> Promotion:
        """Make the previous champion champion again and return the record; the two change places.

        Raises:
            ModelError: no previous champion is known.
        """
        previous = self.version(name, alias="previous_champion")
        if previous is None:
            raise ModelError(f"{name} has no previous champion to roll back to; `promote` a version instead.")
        done = self.promote(name, previous, now=now, reason=reason, how="rollback")
        if done is None:
            raise ModelError(f"{name} has version {previous} as champion and as previous one; `promote` another.")
        return done

    def promotions(self, name: str | None = None) -> list[Promotion]:
        """Return every change of champion, of one model or of all, oldest first."""
        names = [name] if name else self.names()
        with self._session() as client:
            found = [each for one in names if _exists(client, one) for each in promotions_of(client, one)]
        return sorted(found, key=lambda each: (each.at_utc, each.name))

    def names(self) -> list[str]:
        """Return the names of all registered models."""
        with self._session() as client:
            return sorted(each.name for each in client.search_registered_models(max_results=1000))

    def versions(self, name: str) -> list[Listed]:
        """Return the versions of a model, newest first; none where the model is unknown."""
        with self._session() as client:
            return versions_of(client, name) if _exists(client, name) else []

    def log_live(self, name: str, *, version: int, measured: Mapping[datetime, Mapping[str, float]]) -> None:
        """Add to a version's run what was measured of it in use, by issue time; MLflow draws it over the days.

        The same figures again change nothing; the step is the day since 1970.
        """
        with self._session() as client:
            import mlflow

            run_id = client.get_model_version(name, str(version)).run_id
            metrics = [
                mlflow.entities.Metric(f"live/{metric}", value, int(at.timestamp() * 1000), at.toordinal() - _EPOCH_DAY)
                for at, values in measured.items()
                for metric, value in values.items()
            ]
            for start in range(0, len(metrics), _METRICS_A_CALL):
                client.log_batch(run_id, metrics=metrics[start : start + _METRICS_A_CALL])

    def version(self, name: str, *, alias: Alias = "champion") -> int | None:
        """Return the version behind an alias, or None where the model or the alias does not exist."""
        with self._session() as client:
            found = _version_of(client, name, alias)
        return None if found is None else int(found.version)

    def described(self, name: str, *, alias: Alias = "champion") -> Listed | None:
        """Return the version behind an alias with its tags and metrics; None where there is none."""
        with self._session() as client:
            found = _version_of(client, name, alias)
            return None if found is None else listed(client, found, aliases=(alias,))

    def delete(self, name: str, *, versions: Sequence[int]) -> None:
        """Delete versions with their runs and files; the record of promotions stays. `retention` says which may go."""
        with self._session() as client:
            for version in versions:
                forget(client, name, version, folder=self.artifact_folder)
                drop_cached(self.cache_folder, name=name, version=version)

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
        with self._session() as client:
            found = _found(lambda: client.get_model_version(name, str(version)))
            if found is None:
                raise UnresolvedModelError(
                    f"{name} has no version {version} at {shown(self.tracking_uri)}; it was deleted, or this is "
                    f"another registry.",
                    reason="registry_empty",
                )
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
            variants = read_whole(path, found)
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
                mlflow.log_text(card_page(text, plots=plots), "model_card.html")
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
        known = client.get_experiment_by_name(EXPERIMENT)
        if known is None:
            try:
                return str(client.create_experiment(EXPERIMENT, artifact_location=location))
            except MlflowException:  # another process made it in between; if not, the next line fails
                known = client.get_experiment_by_name(EXPERIMENT)
        return str(known.experiment_id)

    @contextlib.contextmanager
    def _session(self) -> Iterator[Any]:
        """Yield a client of the store; its failures become errors of ours, its own warnings stay its own."""
        trouble = trouble_with_store(self.tracking_uri)
        if trouble is not None:
            raise UnresolvedModelError(trouble, reason="registry_unreachable")
        for variable, value in CLIENT_LIMITS.items():
            os.environ.setdefault(variable, value)
        if self.artifact_folder is not None:
            point_to_where_it_lies(self.tracking_uri, artifact_folder=self.artifact_folder)
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
                raise as_ours(error, self.tracking_uri) from error


def _version_of(client: Any, name: str, alias: Alias) -> Any | None:
    return _found(lambda: client.get_model_version_by_alias(name, alias))


def _exists(client: Any, name: str) -> bool:
    return _found(lambda: client.get_registered_model(name)) is not None


def _found(ask: Callable[[], Any], *, but: Sequence[str] = _ABSENT) -> Any | None:
    """Return what the registry answers; None where it answers with one of the codes in `but`: it has nothing such."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code in but:
            return None
        raise
