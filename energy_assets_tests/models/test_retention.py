"""Which versions may go, as counted by hand."""

from datetime import UTC, datetime

import pytest

from energy_assets.models.retention import superseded, versions_by_model
from energy_assets.models.versions import Listed


def listed(version: int, *aliases: str) -> Listed:
    at = datetime(2026, 1, version, tzinfo=UTC)
    return Listed(name="m", version=version, aliases=aliases, tags={}, metrics={}, registered_at_utc=at)


VERSIONS = [
    *(listed(1), listed(2, "previous_champion"), listed(3), listed(4, "champion"), listed(5), listed(6)),
    listed(7, "challenger"),
]


@pytest.mark.parametrize(
    ("newest", "used", "gone"),
    [
        pytest.param(2, set(), [5, 3, 1], id="old-and-nobodys"),
        pytest.param(2, {3, 99}, [5, 1], id="a-forecast-was-made-with-3"),
        pytest.param(1, set(), [6, 5, 3, 1], id="one-stays-as-newest"),
        pytest.param(7, set(), [], id="all-are-new"),
    ],
)
def test_versions_that_may_go(newest: int, used: set[int], gone: list[int]) -> None:
    assert [each.version for each in superseded(VERSIONS[::-1], newest=newest, used=used)] == gone
    assert [each.version for each in superseded(VERSIONS, newest=newest, used=used)] == gone


def test_versions_are_told_from_what_forecasts_say() -> None:
    served = ["load-gas-60min/3", "load-gas-60min/4", "load-electricity-15min/1"]
    assert versions_by_model(served) == {"load-gas-60min": {3, 4}, "load-electricity-15min": {1}}
