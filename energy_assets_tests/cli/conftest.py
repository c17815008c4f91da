"""Homes for tests of commands: made once, copied for each module, because a new model store takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from energy_assets_tests.models.constant_model import ConstantModel
from energy_assets_tests.models.instance import make_instance


@pytest.fixture(scope="session")
def template_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with readings and weather of four offices, and one champion, a constant."""
    home = tmp_path_factory.mktemp("template") / "home"
    made = make_instance(home)
    made.register(ConstantModel(1.0))
    made.lake.close()
    return home


@pytest.fixture(scope="module")
def home(template_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the template for the tests of a module."""
    return Path(shutil.copytree(template_home, tmp_path_factory.mktemp("copy") / "home"))
