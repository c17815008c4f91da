"""What assets are given: the settings, the lake and the model registry, each built from the settings once a run."""

from collections.abc import Iterator

import dagster as dg

from energy_assets.lake import Lake
from energy_assets.models.registry import Registry
from energy_assets.revision import code_revision
from energy_assets.settings import Settings, load_settings


@dg.resource(description="Settings of the platform, from the environment.")
def settings(_context: dg.InitResourceContext) -> Settings:
    """Return the settings of this process."""
    return load_settings()


@dg.resource(description="The lake: DuckLake tables on the configured catalog.")
def lake(_context: dg.InitResourceContext) -> Iterator[Lake]:
    """Yield the lake and close it after the run."""
    opened = Lake.from_settings(load_settings(), author="dagster", code=code_revision())
    try:
        yield opened
    finally:
        opened.close()


@dg.resource(description="Registered models, in MLflow.")
def registry(_context: dg.InitResourceContext) -> Registry:
    """Return the registry at the configured tracking URI."""
    return registry_from(load_settings())


def registry_from(chosen: Settings) -> Registry:
    """Return the registry that the settings describe."""
    folder = chosen.home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    # A server keeps artifacts where it can show them itself; only a store that is opened directly needs a folder.
    has_server = chosen.tracking_uri.startswith(("http://", "https://"))
    return Registry(
        tracking_uri=chosen.tracking_uri,
        artifact_folder=None if has_server else folder / "artifacts",
        cache_folder=folder / "served",
    )


RESOURCES = {"settings": settings, "lake": lake, "registry": registry}
