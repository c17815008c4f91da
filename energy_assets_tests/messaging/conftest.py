"""Fixtures of messages: a lake that the cases of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from energy_assets.lake import Lake


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One lake for cases that each are a source of their own."""
    home = tmp_path_factory.mktemp("lake")
    lake = Lake(catalog=f"sqlite:{home / 'catalog.sqlite'}", data_path=str(home / "data"), work_folder=home / "work")
    yield lake
    lake.close()
