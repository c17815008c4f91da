"""Registered models in MLflow: log a version with all that explains it, move aliases, resolve one into a model.

The only module that imports MLflow, and only inside functions, because the import takes seconds. Works alike on an
embedded store (`sqlite:///…`) and on a server; a version is resolved by its alias, never by search.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from energy_assets.errors import ModelError
from energy_assets.models.archive import ARCHIVE_NAME, Model
from energy_assets.models.cache import Found, drop_cached, last_known, loaded, remember
from energy_assets.models.card import Metrics, TrainingFacts, card, decision_by_metrics
from energy_assets.models.moved_store import point_to_where_it_lies
from energy_assets.models.promotion import Decision, still_valid
from energy_assets.models.retention import forget
from energy_assets.models.run_log import experiment_id_of, log_files, log_over_days, log_training
from energy_assets.models.store_probe import CLIENT_LIMITS, as_ours, shown, trouble_with_store
from energy_assets.models.succession import CHAMPION_TAG, about, crown, listed, promotions_of, versions_of
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
            import mlflow

            made = decision or decision_by_metrics(
                metrics, has_champion=_version_of(client, name, "champion") is not None
            )
            logged = log_training(
                mlflow,
                variants,
                name=name,
                experiment_id=experiment_id_of(mlflow, client, artifact_folder=self.artifact_folder),
                facts=facts,
                metrics=metrics,
                plots=plots,
                example=input_example,
                text=card(name, facts=facts, metrics=metrics, verdict=made.verdict),
            )
            with self._one_at_a_time():
                before = _version_of(client, name, "champion")
                made = still_valid(made, champion=None if before is None else int(before.version))
                # The first tag is the one that lists of models show.
                first = {CHAMPION_TAG: "none yet"}
                _found(lambda: client.create_registered_model(name, first, description=about(name)), but=_PRESENT)
                created = client.create_model_version(
                    name,
                    source=logged.model_uri,
                    run_id=logged.run_id,
                    model_id=logged.model_id,
                    tags=facts.tags() | made.tags() | {"archive_sha256": logged.archive_sha256},
                    description=card(name, facts=facts, metrics=metrics, verdict=made.verdict),
                )
                client.set_registered_model_alias(name, "challenger", created.version)
                if made.is_promoted:
                    how: How = "evidence" if before is not None and not made.is_first else "first"
                    at_utc = datetime.fromtimestamp(created.creation_timestamp / 1000, tz=UTC)
                    version = client.get_model_version(name, created.version)
                    crown(client, name, version, before=before, how=how, reason=made.verdict, at_utc=at_utc)
        return ModelVersion(
            name=name,
            version=int(created.version),
            aliases=("challenger", "champion") if made.is_promoted else ("challenger",),
            not_promoted_because=None if made.is_promoted else made.verdict,
            run_id=logged.run_id,
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
        instead_of: int | None = None,
    ) -> Promotion | None:
        """Make a version champion and return the record; the champion before it is kept as `previous_champion`.

        A decision is kept with the version as its newest evidence. None where the version is champion already.
        `instead_of` is the champion that the caller decided against; 0 for none.

        Raises:
            ModelError: there is no such version, or another one became champion than the caller knew of.
            UnresolvedModelError: it cannot be loaded, so it could not serve.
        """
        self.load(name, version=version)
        with self._session() as client, self._one_at_a_time():
            before = _version_of(client, name, "champion")
            present = 0 if before is None else int(before.version)
            if present == version:
                return None
            if instead_of is not None and present != instead_of:
                raise ModelError(
                    f"{name}: version {present} became champion while version {version} was judged against "
                    f"{f'version {instead_of}' if instead_of else 'the baselines'}; compare again."
                )
            for key, value in (decision.tags() if decision else {}).items():
                client.set_model_version_tag(name, str(version), key, value)
            found = client.get_model_version(name, str(version))
            return crown(client, name, found, before=before, how=how, reason=reason, at_utc=now)

    def rollback(self, name: str, *, now: datetime, reason: str) -> Promotion:
        """Make the previous champion champion again and return the record; the two change places.

        Raises:
            ModelError: no previous champion is known; UnresolvedModelError: it cannot be loaded.
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

    def log_live(
        self,
        name: str,
        *,
        version: int,
        measured: Mapping[datetime, Mapping[str, float]],
        files: Mapping[str, bytes | str] | None = None,
    ) -> None:
        """Add to a version's run what was measured of it in use, by issue time; MLflow draws it over the days.

        The same figures again change nothing, and files replace those of the same name.
        """
        with self._session() as client:
            import mlflow

            run_id = client.get_model_version(name, str(version)).run_id
            log_over_days(mlflow, client, run_id, measured)
            log_files(client, run_id, files or {})

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
        return loaded(found, folder=self.cache_folder, fetch=self._fetch, notice=notice)

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

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Wait until no other process of this home changes who is champion; registries of other homes are not seen."""
        folder = self.cache_folder or self.artifact_folder
        if folder is None:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".champions.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

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
