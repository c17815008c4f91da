"""Fits that are no registered model, logged as MLflow runs: parameters, figures, texts and pictures.

Clusters, for one, are stored in the lake; MLflow keeps how they came about. Speaks to MLflow by the registry's client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_assets.models.registry import Registry
from energy_assets.models.run_log import log_files


def log_fit(
    registry: Registry,
    *,
    experiment: str,
    title: str,
    parameters: Mapping[str, object],
    figures: Mapping[str, float],
    tags: Mapping[str, str],
    files: Mapping[str, str | bytes],
) -> str:
    """Log one finished run under an experiment and return its id; `files` are texts and pictures by their path.

    Raises:
        ModelError: the store refuses; UnresolvedModelError with `registry_unreachable`: it is not there.
    """
    with registry._session() as client:
        run = client.create_run(_experiment(client, experiment, registry=registry), run_name=title, tags=dict(tags))
        run_id = str(run.info.run_id)
        for name, value in parameters.items():
            client.log_param(run_id, name, value)
        for name, figure in figures.items():
            client.log_metric(run_id, name, figure)
        log_files(client, run_id, files)
        client.set_terminated(run_id)
    return run_id


def _experiment(client: Any, name: str, *, registry: Registry) -> str:
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    location = None
    if registry.artifact_folder is not None:
        registry.artifact_folder.mkdir(parents=True, exist_ok=True)
        location = registry.artifact_folder.resolve().as_uri()
    return str(client.create_experiment(name, artifact_location=location))
