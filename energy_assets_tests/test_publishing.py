"""What is published: known topics and payloads, only what changed, and nothing that is no longer so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import MARTS_DAILY_ENERGY, MARTS_OUTLOOK, PRICES_CURVES, Window
from energy_assets.lake import Lake
from energy_assets.messaging.sending import Sender
from energy_assets.publishing import Memory, Publication, Publisher, publications, troubles_of
from energy_assets.settings import Settings
from energy_assets_tests.messaging.embedded import Embedded
from energy_assets_tests.messaging.listening import listening

NOW = datetime(2026, 3, 20, 8, 20, tzinfo=UTC)
TODAY = date(2026, 3, 20)


def daily(
    premise: str, direction: str, day: int, kwh: float | None, *, commodity: str = "electricity"
) -> dict[str, object]:
    return {
        "meter_id": f"{premise}.{commodity}.{direction}",
        "premise_id": premise,
        "site_id": "s",
        "commodity": commodity,
        "direction": direction,
        "starts_at_utc": datetime(2026, 3, day, tzinfo=UTC),
        "energy_kwh": kwh,
        "coverage_fraction": 1.0,
        "flags": 0,
    }


def curve(zone: str, day: date, *, revision: int = 0, price: int = 20_000) -> pl.DataFrame:
    first = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = pl.DataFrame({"starts_at_utc": [first + timedelta(hours=hour) for hour in range(24)]}).with_columns(
        price_units=price + pl.int_range(24) * 100, export_price_units=pl.lit(8_000)
    )
    parts = {f"{name}_component": 0.0 for name in ("energy", "carbon", "risk", "capacity", "revenue", "clip", "ramp")}
    band = {f"net_load_{level}_kwh": 1.0 for level in ("q10", "q50", "q90")}
    rest = {
        "zone_id": zone,
        "delivery_date": day,
        "revision": revision,
        "interval_minutes": 60,
        "currency_code": "EUR",
        "rung": "welfare",
        "solver_status": "solved",
        "inputs_hash": "0" * 64,
        "published_at_utc": first - timedelta(hours=12),
    }
    return PRICES_CURVES.conform(
        rows.with_columns(**{name: pl.lit(each) for name, each in (parts | band | rest).items()})
    )


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.from_settings(Settings(home=tmp_path / "home"))
    rows = [
        *(daily("h.1", "consumption", day, 8.0 + day / 10) for day in (17, 18, 19)),
        # Its own measurement of use counts, not what the grid delivered beside it.
        *(daily("h.1", "grid_import", day, 5.0) for day in (17, 18, 19)),
        *(daily("h.1", "production", day, 3.0) for day in (18, 19)),
        *(daily("h.2", "grid_import", day, 4.0) for day in (18, 19)),
        daily("h.2", "grid_import", 17, None),
        daily("h.2", "consumption", 19, 77.0, commodity="gas"),
    ]
    lake.replace(MARTS_DAILY_ENERGY, MARTS_DAILY_ENERGY.conform(pl.DataFrame(rows)))
    slots = pl.DataFrame({"starts_at_utc": [NOW.replace(minute=0) + timedelta(hours=hour) for hour in (-3, 0, 1)]})
    outlook = slots.with_columns(
        node_id=pl.lit("h.1|electricity|consumption"),
        node_kind=pl.lit("premise"),
        site_id=pl.lit("s"),
        delivery_date=pl.lit(TODAY),
        issued_at_utc=pl.lit(NOW.replace(hour=0, minute=0)),
        q10_kwh=pl.lit(0.2),
        q50_kwh=pl.lit(0.4),
        q90_kwh=pl.lit(0.9),
        method=pl.lit("champion"),
        price_per_kwh=pl.lit(None, pl.Float64),
        currency_code=pl.lit(None, pl.String),
    )
    lake.replace(MARTS_OUTLOOK, MARTS_OUTLOOK.conform(outlook))
    lake.replace(
        PRICES_CURVES, pl.concat([curve("s", TODAY), curve("s", TODAY + timedelta(days=1)), curve("t", TODAY)])
    )
    yield lake
    lake.close()


def test_topics_and_payloads_are_those_that_subscribers_know(lake: Lake) -> None:
    found = {each.topic: json.loads(each.payload) for each in publications(lake, now=NOW)}
    assert found["energy/h.1/consumption"] == {
        "timestamps": ["2026-03-17 00:00:00", "2026-03-18 00:00:00", "2026-03-19 00:00:00"],
        "consumption": [9.7, 9.8, 9.9],
    }
    assert found["energy/h.2/consumption"]["consumption"] == [4.0, 4.0]
    assert found["energy/h.1/production"]["production"] == [3.0, 3.0]
    assert found["energy/aggregate/consumption"] == [9.9, 4.0]
    assert found["energy/aggregate/production"] == [3.0]
    assert found["energy/aggregate/consumption_history"]["consumption"] == [9.7, 13.8, 13.9]
    assert found["energy/h.1/consumption/forecast"] == {
        "issued_at": "2026-03-20T00:00:00Z",
        "unit": "kWh",
        "timestamps": ["2026-03-20T08:00:00Z", "2026-03-20T09:00:00Z"],
        "q10": [0.2, 0.2],
        "q50": [0.4, 0.4],
        "q90": [0.9, 0.9],
        "method": "champion",
    }
    assert found["energy/price"] == 0.208
    assert found["energy/price/s/2026-03-21"]["slots"][23]["price_per_kwh"] == 0.223
    assert found["energy/price/t/2026-03-20"]["revision"] == 0
    other = {each.topic: json.loads(each.payload) for each in publications(lake, now=NOW, zone="t")}
    assert other["energy/price"] == 0.208


def test_only_what_changed_is_sent_and_the_rest_is_at_the_broker_for_a_new_subscriber(
    lake: Lake, tmp_path: Path
) -> None:
    with Embedded(tmp_path / "broker") as broker:

        def publish(now: datetime) -> int:
            # A new process each time: what was published is known from its file.
            publisher = Publisher(
                lake=lake,
                memory=Memory(tmp_path / "published.json"),
                connect=lambda: Sender(broker.endpoint, client_id="publisher", version="3.1.1"),
                health_file=tmp_path / "health.json",
            )
            return publisher.publish_once(now=now)

        everything = publish(NOW)
        assert everything == len(list(publications(lake, now=NOW)))
        assert publish(NOW) == 0
        assert publish(NOW + timedelta(hours=1)) == 2  # the price of the hour, and the forecast from then on

        lake.replace(
            PRICES_CURVES,
            pl.concat([curve("s", TODAY), curve("s", TODAY, revision=1, price=30_000), curve("t", TODAY)]),
            window=Window.of_days(TODAY),
        )
        assert publish(NOW + timedelta(hours=1)) == 2  # the day in its new revision, and the present price
        lake.replace(PRICES_CURVES, curve("s", TODAY + timedelta(days=1)))
        assert publish(NOW + timedelta(hours=1)) == 3  # two days and the present price are taken back

        with listening(broker.port, "energy/#") as listener:
            there = listener.wait_for(everything - 3)
    assert {topic for topic, _, is_retained in there if is_retained} == {
        *(f"energy/h.{number}/consumption" for number in (1, 2)),
        *(f"energy/aggregate/{flow}{end}" for flow in ("consumption", "production") for end in ("", "_history")),
        "energy/h.1/production",
        "energy/h.1/consumption/forecast",
        "energy/price/s/2026-03-21",
    }


def test_what_the_broker_did_not_take_is_sent_the_next_time(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "published.json")
    wanted = [Publication(topic="a", payload="1"), Publication(topic="b", payload="2")]
    assert memory.changed(wanted) == wanted
    memory.remember(wanted[:1])
    assert Memory(tmp_path / "published.json").changed(wanted) == wanted[1:]
    (tmp_path / "published.json").write_text('{"a": ')
    assert Memory(tmp_path / "published.json").changed(wanted) == wanted


def test_a_broker_that_is_away_is_tried_again_until_it_is_over(lake: Lake, tmp_path: Path) -> None:
    with Embedded(tmp_path / "broker") as broker:
        broker.stop(15)
        looks = 0
        health_file = tmp_path / "health.json"
        assert "start one with `energy publish`" in (troubles_of(health_file, now=NOW) or "")

        def is_over() -> bool:
            nonlocal looks
            looks += 1
            if looks == 5:
                assert "cannot be reached" in (troubles_of(health_file, now=NOW) or "")
                broker.start()
            return (len(found) > 0 and troubles_of(health_file, now=NOW) is None) or looks > 400

        publisher = Publisher(
            lake=lake,
            memory=Memory(tmp_path / "published.json"),
            connect=lambda: Sender(broker.endpoint, client_id="p", version="3.1.1", patience_s=0.1),
            health_file=health_file,
        )
        found: list[int] = []
        began = time.monotonic()

        def clock() -> datetime:
            return NOW + timedelta(seconds=time.monotonic() - began)

        for _, count in publisher.publish_on(every_s=0.3, clock=clock, is_over=is_over):
            found.append(count)
        assert found[0] > 0
        assert troubles_of(health_file, now=NOW) is None
        assert "has been silent since 2026-03-20" in (troubles_of(health_file, now=NOW + timedelta(hours=1)) or "")
