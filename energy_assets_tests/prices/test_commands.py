"""The commands of prices on people's own files: good ones, cut ones, and ones that end in an error that names them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from energy_assets.cli import app
from energy_assets.errors import EnergyAssetsError
from energy_assets.prices import wholesale as wholesale_module
from energy_assets.prices.zones import load_zone

ROME = 'zone_id = "alp"\ntimezone = "Europe/Rome"\nramp_per_hour = 0.1\n'


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def table(starts: datetime, *, slots: int, minutes: int = 60) -> pl.DataFrame:
    times = [starts + timedelta(minutes=minutes * n) for n in range(slots)]
    load = [30.0 + 20.0 * (17 <= at.hour < 21) for at in times]
    text = [at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in times]
    return pl.DataFrame(
        {"starts_at_utc": text, "q10": [x - 3 for x in load], "q50": load, "q90": [x + 3 for x in load]}
    )


def priced(tmp_path: Path, frame: pl.DataFrame, *, zone: str = "") -> tuple[Result, dict[str, object]]:
    frame.write_csv(tmp_path / "load.csv")
    (tmp_path / "zone.toml").write_text(zone)
    done = run(
        "price", "--net-load", tmp_path / "load.csv", "--zone", tmp_path / "zone.toml",
        "--out", tmp_path / "out.csv", "--report", tmp_path / "report.json", "--openadr", tmp_path / "events.json",
    )  # fmt: skip
    report = tmp_path / "report.json"
    return done, json.loads(report.read_text()) if report.exists() else {}


@pytest.mark.parametrize("minutes", [15, 30, 60])
@pytest.mark.parametrize(
    ("begins", "hours"),
    [
        pytest.param(datetime(2026, 3, 28, 23, tzinfo=UTC), 23, id="spring"),
        pytest.param(datetime(2026, 6, 1, 22, tzinfo=UTC), 24, id="usual"),
        pytest.param(datetime(2026, 10, 24, 22, tzinfo=UTC), 25, id="autumn"),
    ],
)
def test_every_cadence_and_length_of_day(tmp_path: Path, begins: datetime, hours: int, minutes: int) -> None:
    done, report = priced(tmp_path, table(begins, slots=hours * 60 // minutes, minutes=minutes), zone=ROME)
    assert done.exit_code == 0, done.output
    assert "1 day priced" in done.output
    assert re.search(r"EUR/kWh, by welfare; social cost [\d.]+, at the flat rate [\d.]+", done.output)
    out = pl.read_csv(tmp_path / "out.csv")
    assert out.height == hours * 60 // minutes
    assert out["interval_minutes"].unique().to_list() == [minutes]
    assert out["price_units"].diff().abs().max() <= 0.1 * minutes / 60 * 1e5 + 1e-6  # type: ignore[operator]
    assert report["skipped"] == {}
    (event,) = json.loads((tmp_path / "events.json").read_text())
    assert event["programID"] == "alp"
    assert len(event["intervals"]) == out.height
    assert event["intervalPeriod"]["start"] == begins.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_days_that_the_file_cuts_off_are_named_and_left_out(tmp_path: Path) -> None:
    done, report = priced(
        tmp_path, table(datetime(2026, 6, 1, tzinfo=UTC), slots=72), zone=ROME
    )  # 1 June 02:00 in Rome and on
    assert done.exit_code == 0, done.output
    days = report["days"]
    assert isinstance(days, list)
    assert [day["delivery_date"] for day in days] == ["2026-06-02", "2026-06-03"]
    assert report["skipped"] == {
        "2026-06-01": "the file holds 22 of its 24 slots",
        "2026-06-04": "the file holds 2 of its 24 slots",
    }
    assert "2026-06-04 is left out" in done.output


def bad(change: str) -> pl.DataFrame:
    good = table(datetime(2026, 6, 1, tzinfo=UTC), slots=72)
    at = pl.int_range(pl.len())
    changes = {
        "nan": good.with_columns(q50=pl.when(at == 5).then(float("nan")).otherwise("q50")),
        "null": good.with_columns(q50=pl.when(at == 5).then(None).otherwise("q50")),
        "text": good.with_columns(q50=pl.when(at == 5).then(pl.lit("abc")).otherwise(pl.col("q50").cast(pl.String))),
        "infinite": good.with_columns(q50=pl.when(at == 5).then(float("inf")).otherwise("q50")),
        "hole": good.filter(at != 30),
        "repeated": pl.concat([good, good.slice(30, 1)]),
        "shifted": good.with_columns(pl.col("starts_at_utc").str.replace("T05:00", "T05:10")),
        "crossing": good.with_columns(q10=pl.when(at == 5).then(99.0).otherwise("q10")),
        "no column": good.drop("q10"),
        "no rows": good.head(0),
        "half a day": good.head(12),
        "german times": good.with_columns(starts_at_utc=pl.lit("01.06.2026 00:00")),
        "two hours": good.gather_every(2),
    }
    return changes[change]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param("nan", "1 in column q50, the first at 2026-06-01 05:00", id="nan"),
        pytest.param("null", "1 in column q50, the first at 2026-06-01 05:00", id="null"),
        pytest.param("text", "1 in column q50, the first at 2026-06-01 05:00", id="text"),
        pytest.param("infinite", "1 in column q50", id="infinite"),
        pytest.param("hole", "23 slots", id="hole"),
        pytest.param("repeated", "25 slots", id="repeated"),
        pytest.param("shifted", "not the even slots", id="shifted"),
        pytest.param("crossing", "crossing quantiles", id="crossing"),
        pytest.param("no column", "lacks .*q10", id="no column"),
        pytest.param("no rows", "no slots", id="no rows"),
        pytest.param("half a day", "12 slots", id="half a day"),
        pytest.param("german times", "is not a time; write UTC", id="german times"),
        pytest.param("two hours", "not the even slots", id="two hours"),
    ],
)
def test_a_nasty_file_is_an_error_that_names_it(tmp_path: Path, change: str, message: str) -> None:
    done, _ = priced(tmp_path, bad(change))
    assert done.exit_code != 0
    assert isinstance(done.exception, EnergyAssetsError), done.exception
    assert pl.Series([str(done.exception)]).str.contains(message).all(), done.exception
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_that_is_absent_is_named(tmp_path: Path) -> None:
    table(datetime(2026, 6, 1, tzinfo=UTC), slots=24).write_csv(tmp_path / "load.csv")
    done = run("price", "--net-load", tmp_path / "load.csv", "--out", tmp_path / "none" / "out.csv")
    assert isinstance(done.exception, EnergyAssetsError)
    assert "cannot be written" in str(done.exception)


def test_the_cheapest_hours_of_a_priced_file(tmp_path: Path) -> None:
    priced(tmp_path, table(datetime(2026, 6, 1, tzinfo=UTC), slots=24))
    done = run("cheapest", "--curve", tmp_path / "out.csv", "--hours", 3, "--together")
    assert done.exit_code == 0, done.output
    assert done.output.count("2026-06-01") == 3
    assert not any(f" {hour}:00" in done.output for hour in (17, 18, 19, 20))


def market(path: Path, *, days: int) -> None:
    chance = np.random.default_rng(2)
    starts = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(24 * days)]
    hours = np.arange(len(starts)) % 24
    load = 50 + 10 * np.sin((hours - 8) / 24 * 2 * np.pi) + chance.normal(0, 1, len(starts))
    price = pl.Series(20 + load + chance.normal(0, 1, len(starts)))
    frame = pl.DataFrame({"starts_at_utc": starts, "price_per_mwh": price, "load_forecast": load})
    coming = pl.int_range(pl.len()) >= 24 * (days - 1)
    frame.with_columns(
        pl.col("starts_at_utc").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        price_per_mwh=pl.when(coming).then(None).otherwise("price_per_mwh"),
    ).write_csv(path)


def test_a_market_file_is_forecast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wholesale_module, "BACKCAST_DAYS", 9)
    market(tmp_path / "market.csv", days=140)
    done = run("wholesale", "--market", tmp_path / "market.csv", "--out", tmp_path / "prices.csv", "--days", 3)
    assert done.exit_code == 0, done.output
    assert "not forecast" not in done.output
    made = pl.read_csv(tmp_path / "prices.csv")
    assert made.group_by("origin", maintain_order=True).len().rows() == [
        ("published", 24),
        ("forecast", 24),
        ("profile", 48),
    ]
    forecast = made.filter(pl.col("origin") == "forecast")
    load = pl.read_csv(tmp_path / "market.csv")["load_forecast"].tail(24)
    assert (forecast["q50_per_mwh"] - (20 + load)).abs().mean() < 2  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--timezone", "Mars/Base"], "not an IANA", id="time zone"),
        pytest.param(["--country", "Atlantis"], "holidays are known", id="country"),
    ],
)
def test_a_market_that_cannot_be_placed_is_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    market(tmp_path / "market.csv", days=130)
    done = run("wholesale", "--market", tmp_path / "market.csv", "--out", tmp_path / "p.csv", *arguments)
    assert isinstance(done.exception, EnergyAssetsError)
    assert message in str(done.exception)


def test_a_learned_merit_order_is_part_of_a_zone_file(tmp_path: Path) -> None:
    load = np.linspace(5, 100, 1000)
    pl.DataFrame({"net_load_kw": load, "price_per_mwh": 30 + load}).write_csv(tmp_path / "history.csv")
    done = run("supply", "--history", tmp_path / "history.csv", "--out", tmp_path / "supply.toml", "--steps", 5)
    assert done.exit_code == 0, done.output
    (tmp_path / "zone.toml").write_text("export = []\n" + (tmp_path / "supply.toml").read_text())
    zone = load_zone(tmp_path / "zone.toml")
    assert [block.price for block in zone.supply] == pytest.approx([0.0445, 0.0635, 0.0825, 0.1015, 0.1205], abs=1e-4)
    assert zone.supply[-1].capacity_kw is None


def test_a_curve_is_extended_past_its_last_day(tmp_path: Path) -> None:
    priced(tmp_path, table(datetime(2026, 6, 1, tzinfo=UTC), slots=48))
    done = run("horizon", "--curve", tmp_path / "out.csv", "--out", tmp_path / "week.csv", "--days", 5)
    assert done.exit_code == 0, done.output
    made = pl.read_csv(tmp_path / "week.csv")
    assert made["origin"].to_list() == ["published"] * 48 + ["profile"] * 120
    assert "120 profile, 48 published" in done.output
    # Two equal days were published, so every day after them has their prices.
    assert made["price_units"].tail(24).to_list() == pl.read_csv(tmp_path / "out.csv")["price_units"].head(24).to_list()
