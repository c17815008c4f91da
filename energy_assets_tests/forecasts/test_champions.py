"""Which champions a night may use: none that has learned from what became known after its issue."""

from datetime import datetime, timedelta

import pytest

from energy_assets.forecasts.champions import known_at
from energy_assets.models.registry import LoadedModel, UnresolvedModelError
from energy_assets_tests.forecasts import portfolio as given
from energy_assets_tests.forecasts.test_ladder import forecast, meter_rows


def learned_until(instant: datetime) -> dict[str, str]:
    return {"training_ends_at_utc": instant.isoformat()}


@pytest.mark.parametrize(
    ("tags", "serves"),
    [
        pytest.param(learned_until(given.ISSUE - timedelta(days=14)), True, id="a fortnight before"),
        pytest.param(learned_until(given.ISSUE), True, id="up to the issue"),
        pytest.param(learned_until(given.ISSUE + timedelta(seconds=1)), False, id="a second after"),
        pytest.param({}, True, id="does not say"),
    ],
)
def test_a_champion_that_learned_later_serves_no_night_before(tags: dict[str, str], *, serves: bool):
    champions = known_at(given.champions(tags=tags), issued_at_utc=given.ISSUE)
    assert {isinstance(each, LoadedModel) for each in champions.values()} == {serves}
    rows = meter_rows(forecast(champions=champions))
    expected = {("champion", None)} if serves else {("analogue", "learned_later")}
    assert set(rows.select("method", "reason").iter_rows()) == expected


def test_what_the_registry_could_not_give_stays_as_it_is():
    trouble = UnresolvedModelError("away", reason="registry_unreachable")
    assert known_at({"a": trouble}, issued_at_utc=given.ISSUE) == {"a": trouble}
