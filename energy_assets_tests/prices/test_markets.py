"""Markets of an instance: what was known when, the night's forecast with its memory, and zones that live on it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import (
    FORECASTS_LOAD,
    PRICES_CURVES,
    PRICES_HORIZON,
    PRICES_WHOLESALE,
    PRICES_WHOLESALE_MEMBERS,
    SITES,
    UTC_TIME,
)
from energy_assets.contracts.forecasts import QUANTILE_COLUMNS
from energy_assets.defs.jobs import PARTITION_RANGE_END, PARTITION_RANGE_START
from energy_assets.defs.prices import price_curves
from energy_assets.defs.wholesale import price_horizon, wholesale_prices
from energy_assets.errors import ConfigError
from energy_assets.lake import Lake
from energy_assets.prices import markets as markets_module
from energy_assets.prices import wholesale as wholesale_module
from energy_assets.prices.daily import with_wholesale
from energy_assets.prices.markets import Market, as_known, markets_of, wholesale_delivery
from energy_assets.prices.wholesale import MEMBER_NAMES
from energy_assets.prices.zones import ZoneConfig
from energy_assets.settings import Settings

FIRST, DELIVERY = date(2026, 1, 1), date(2026, 6, 2)
ISSUED = datetime(2026, 6, 1, tzinfo=UTC)
MARKET = 'file = "hub.csv"\ntimezone = "Europe/Rome"\ncurrency_code = "EUR"\ncountry_codes = ["IT"]\n'


def write_market(folder: Path, *, after: int = 3) -> None:
    """Write a market of hourly prices that follow a load, to some days after the delivery date."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hub.toml").write_text(MARKET)
    starts = pl.datetime_range(
        datetime(2025, 12, 31, 23, tzinfo=UTC),
        datetime(2026, 6, 2, 22, tzinfo=UTC) + timedelta(days=after),
        interval="1h",
        closed="left",
        eager=True,
    )
    chance = np.random.default_rng(4)
    hours = np.arange(len(starts))
    load = 40 + 8 * np.sin((hours % 24 - 8) / 24 * 2 * np.pi) + chance.normal(0, 1, len(starts))
    price = 60 + 1.5 * (load - 40) + chance.normal(0, 2, len(starts))
    frame = pl.DataFrame({"starts_at_utc": starts, "price_per_mwh": price, "load_forecast": load})
    frame.with_columns(pl.col("starts_at_utc").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv(folder / "hub.csv")


def test_what_was_not_known_is_taken_out() -> None:
    starts = [datetime(2026, 5, 31, 22, tzinfo=UTC) + timedelta(hours=n) for n in range(72)]  # 1, 2, 3 June in Rome
    table = pl.DataFrame(
        {"starts_at_utc": starts, "price_per_mwh": [1.0] * 72, "load": [2.0] * 72},
        schema_overrides={"starts_at_utc": UTC_TIME},
    )
    market = Market(market_id="hub", file="x", timezone="Europe/Rome")
    # At midnight UTC before 2 June: 1 June has begun, 2 June begins in 22 hours, 3 June in 46.
    known = as_known(table, market=market, at=ISSUED)
    assert known["price_per_mwh"].is_not_null().sum() == 24
    assert known["load"].is_not_null().sum() == 48
    # At 13 UTC the auction of 2 June has been held.
    assert as_known(table, market=market, at=ISSUED + timedelta(hours=13))["price_per_mwh"].count() == 48


def test_an_instance_without_markets_has_none(tmp_path: Path) -> None:
    assert markets_of(tmp_path / "markets") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("timezone = 1\n", "file: Field required", id="no table"),
        pytest.param('file = "x.csv"\ntimezone = "Mars/Base"\n', "IANA", id="time zone"),
        pytest.param("file = \n", "cannot be read", id="not TOML"),
    ],
)
def test_a_bad_market_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "hub.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        markets_of(tmp_path)


def test_prices_that_ended_long_ago_are_no_forecast(tmp_path: Path) -> None:
    write_market(tmp_path, after=-20)
    made = wholesale_delivery(
        markets_of(tmp_path),
        delivery_date=DELIVERY,
        issued_at_utc=ISSUED,
        remembered=PRICES_WHOLESALE_MEMBERS.empty(),
    )
    assert made.prices.is_empty()
    assert "end on 2026-05-13" in made.skipped["hub"]


def test_each_slot_takes_the_price_of_its_hour() -> None:
    starts = [datetime(2026, 6, 2, tzinfo=UTC) + timedelta(minutes=15 * n) for n in range(12)]
    load = pl.DataFrame({"starts_at_utc": starts}, schema={"starts_at_utc": UTC_TIME})
    hours = pl.DataFrame(
        {
            "market_id": ["hub", "hub", "other"],
            "starts_at_utc": [starts[0], starts[4], starts[8]],
            "q50_per_mwh": [50.0, 80.0, 1.0],
        },
        schema_overrides={"starts_at_utc": UTC_TIME},
    )
    zone = ZoneConfig(supply_kind="wholesale", market="hub")
    made = with_wholesale(load, wholesale=hours, zone=zone)["wholesale_price"].to_list()
    assert made == [0.05] * 4 + [0.08] * 4 + [None] * 4


class Hub:
    """An instance with one market, one zone that lives on it and one on its merit order, and their net load."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.lake = Lake.from_settings(self.settings)
        write_market(home / "markets")
        (home / "zones").mkdir()
        (home / "zones" / "town.toml").write_text(
            'zone_id = "town"\ntimezone = "Europe/Rome"\nsupply_kind = "wholesale"\nmarket = "hub"\n'
        )
        sites = [
            {"site_id": name, "name": name, "timezone": "Europe/Rome", "source": "test"} for name in ("town", "vale")
        ]
        self.lake.replace(SITES, SITES.conform(pl.DataFrame(sites)))
        self.lake.replace(FORECASTS_LOAD, pl.concat([forecast("town"), forecast("vale")]))

    def night(self) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [wholesale_prices, price_curves, price_horizon],
            tags={PARTITION_RANGE_START: DELIVERY.isoformat(), PARTITION_RANGE_END: DELIVERY.isoformat()},
            resources={"lake": self.lake, "settings": self.settings},
        )


def forecast(site: str) -> pl.DataFrame:
    starts = [ISSUED + timedelta(hours=hour) for hour in range(46)]
    load = [10.0 + 5.0 * (17 <= start.hour < 21) for start in starts]
    facts: dict[str, object] = {
        "node_id": f"{site}|electricity|net", "node_kind": "site", "site_id": site, "commodity": "electricity",
        "direction": "net", "issued_at_utc": ISSUED, "interval_minutes": 60, "method": "sum", "rung": 0,
        "features_hash": "ab",
    }  # fmt: skip
    levels = {name: pl.Series(load) for name in QUANTILE_COLUMNS}
    frame = pl.DataFrame({"starts_at_utc": starts}).with_columns(**levels)
    return FORECASTS_LOAD.conform(frame.with_columns(**{name: pl.lit(value) for name, value in facts.items()}))


def test_a_night_of_wholesale_prices_curves_and_a_week_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wholesale_module, "BACKCAST_DAYS", 14)  # quicker than 56, and all that this test needs
    hub = Hub(tmp_path)
    assert hub.night().success
    wholesale = hub.lake.read(PRICES_WHOLESALE)
    origins = dict(wholesale.group_by("origin").len().iter_rows())
    assert origins == {"published": 24, "forecast": 24, "profile": 24 * markets_module.HORIZON_DAYS}
    of_day = wholesale.filter(pl.col("origin") == "forecast").sort("starts_at_utc")
    assert of_day["starts_at_utc"][0] == datetime(2026, 6, 1, 22, tzinfo=UTC)
    # The auction of the delivery date had not been held: its forecast is near its price, and is not its price.
    held = pl.read_csv(tmp_path / "markets" / "hub.csv", try_parse_dates=True).with_columns(
        pl.col("starts_at_utc").cast(UTC_TIME)
    )
    error = of_day.join(held, on="starts_at_utc").select((pl.col("q50_per_mwh") - pl.col("price_per_mwh")).abs())
    assert 0 < error.to_series().mean() < 4  # type: ignore[operator]

    curves = hub.lake.read(PRICES_CURVES).filter(pl.col("zone_id") == "town").sort("starts_at_utc")
    assert curves.height == 24
    bought = curves.join(of_day, on="starts_at_utc")
    dearer = bought["energy_component"] - bought["q50_per_mwh"] * 100  # a currency/MWh is 100 units/kWh
    assert dearer.to_list() == pytest.approx([250.0] * 24, abs=1.0)  # half of the wholesale spread

    horizon = hub.lake.read(PRICES_HORIZON)
    for zone in ("town", "vale"):
        rows = horizon.filter(pl.col("zone_id") == zone).sort("starts_at_utc")
        assert rows.height == 7 * 24
        assert rows["origin"].to_list() == ["published"] * 24 + ["profile"] * 144
        assert rows["starts_at_utc"].diff().drop_nulls().unique().to_list() == [timedelta(hours=1)]
    assert horizon.filter(pl.col("zone_id") == "town")["price_units"].n_unique() > 48  # the market's shape

    members = hub.lake.read(PRICES_WHOLESALE_MEMBERS)
    assert members.height == 15 * len(MEMBER_NAMES) * 24
    assert hub.night().success
    assert hub.lake.read(PRICES_WHOLESALE).sort("starts_at_utc").equals(wholesale.sort("starts_at_utc"))
    order = list(PRICES_WHOLESALE_MEMBERS.key)
    assert hub.lake.read(PRICES_WHOLESALE_MEMBERS).sort(order).equals(members.sort(order))
    again = hub.lake.read(PRICES_CURVES)
    assert again["revision"].unique().to_list() == [0]
