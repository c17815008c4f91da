"""Young meters: what their first days weigh beside their peers, worked by hand, and whose shape they take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from energy_assets.contracts import QUANTILE_COLUMNS, SITES
from energy_assets.forecasts.first_days import first_days, with_first_days
from energy_assets.forecasts.shapes import peers

MONDAY = datetime(2026, 3, 9, tzinfo=UTC)
KNOWN = pl.DataFrame({"meter_id": ["new", "old"], "site_id": ["s", "s"], "known_days": [3.0, 56.0]})


def sites(timezone: str) -> pl.DataFrame:
    return SITES.conform(pl.DataFrame([{"site_id": "s", "name": "s", "timezone": timezone, "source": "t"}]))


def read(*hours: tuple[str, datetime, float | None, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "meter_id": meter, "starts_at_utc": at, "interval_minutes": 60, "energy_kwh": kwh,
                "available_at_utc": at + timedelta(hours=1 + late),
            }
            for meter, at, kwh, late in hours
        ],
        schema_overrides={"energy_kwh": pl.Float64},
    )  # fmt: skip


def test_hours_of_the_sites_clock_by_kind_of_day() -> None:
    noon = MONDAY + timedelta(hours=12)
    rows = read(
        ("new", noon, 2.0, 0),
        ("new", noon + timedelta(days=1), 4.0, 0),
        ("new", noon - timedelta(days=1), 9.0, 0),
        ("new", noon + timedelta(hours=1), None, 0),
        ("new", noon + timedelta(days=2), 100.0, 0),  # after the issue
        ("new", noon - timedelta(days=2), 100.0, 999),  # not known then
        ("old", noon, 100.0, 0),  # no newcomer
    )
    found = first_days(rows, known=KNOWN, sites=sites("Europe/Berlin"), issued_at_utc=MONDAY + timedelta(days=2))
    columns = ["meter_id", "local_hour", "is_weekend", "kind_kwh", "kind_days", "any_kwh", "any_days"]
    assert found.select(columns).rows() == [("new", 13, False, 3.0, 2, 5.0, 3), ("new", 13, True, 9.0, 1, 5.0, 3)]


def test_without_newcomers_there_is_nothing() -> None:
    rows = read(("old", MONDAY, 1.0, 0))
    assert first_days(rows, known=KNOWN, sites=sites("UTC"), issued_at_utc=MONDAY + timedelta(days=2)).is_empty()


@pytest.mark.parametrize(
    ("own", "median", "band"),
    [
        pytest.param((None, None, None, None), 10.0, 4.0, id="no own day of this hour"),
        # One day of the kind against peers that count half of one: two thirds of the way from 10 to 4.
        pytest.param((4.0, 1, 4.0, 1), 6.0, 4 * (1 - 0.3 * 2 / 3), id="one day of the kind"),
        # Three days of the other kind against peers that count one.
        pytest.param((None, None, 4.0, 3), 5.5, 4 * (1 - 0.3 * 3 / 4), id="three of the other kind"),
        # Two of the kind: four fifths of 4; of the rest a half (one day against one) is 6, the mean of all days.
        pytest.param((4.0, 2, 6.0, 3), 0.8 * 4 + 0.1 * 6 + 0.1 * 10, 4 * (1 - 0.3 * 0.9), id="both"),
    ],
)
def test_what_own_days_count(own: tuple[float | None, ...], median: float, band: float) -> None:
    slots = pl.DataFrame(
        {"meter_id": ["new"], "starts_at_utc": [MONDAY], "local_hour": [0], "is_weekend": [False]},
        schema_overrides={"local_hour": pl.Int8},
    )
    quantiles = slots.select("meter_id", "starts_at_utc").with_columns(
        **dict(zip(QUANTILE_COLUMNS, map(pl.lit, (4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0)), strict=True))
    )
    names = ["kind_kwh", "kind_days", "any_kwh", "any_days"]
    types = {"kind_kwh": pl.Float64, "kind_days": pl.UInt32, "any_kwh": pl.Float64, "any_days": pl.UInt32}
    seen = slots.select("meter_id", "local_hour", "is_weekend").with_columns(
        pl.Series(name, [value], dtype=types[name]) for name, value in zip(names, own, strict=True)
    )
    found = with_first_days(quantiles, slots=slots, own=seen).row(0, named=True)
    assert found["q50"] == pytest.approx(median)
    assert found["q90"] - found["q50"] == pytest.approx(band)


@pytest.mark.parametrize(
    ("group", "use", "expected"),
    [
        pytest.param("homes", "Office", (1.0, 3.0), id="its peer group before its use"),
        pytest.param("unheard of", "Office", (3.0, 1.0), id="its use where the group has no three"),
        pytest.param(None, "Office", (3.0, 1.0), id="its use without a group"),
        pytest.param(None, "School", (2.0, 2.0), id="everybody without either"),
    ],
)
def test_whose_shape_a_newcomer_takes(group: str | None, use: str, expected: tuple[float, float]) -> None:
    """Three offices use 3 then 1 kWh, three homes 1 then 3; each at its own scale."""
    kinds = {**{f"o{n}": ("offices", "Office", (3.0, 1.0)) for n in range(3)},
             **{f"h{n}": ("homes", "Residential", (1.0, 3.0)) for n in range(3)}}  # fmt: skip
    about = [*((name, *kind[:2], float(2 * scale)) for scale, (name, kind) in enumerate(kinds.items(), start=1)),
             ("new", group, use, 2.0)]  # fmt: skip
    known = pl.DataFrame(
        about, schema=["meter_id", "peer_group", "primary_use", "scale_kwh"], orient="row"
    ).with_columns(
        commodity=pl.lit("electricity"), direction=pl.lit("consumption"), scale_source=pl.lit("own_readings"),
        scale_spread=pl.lit(0.25), is_signed=pl.lit(value=False), interval_minutes=pl.lit(60),
    )  # fmt: skip
    slots = pl.DataFrame(
        [
            {
                "meter_id": name, "issued_at_utc": MONDAY, "starts_at_utc": MONDAY + timedelta(hours=hour),
                "interval_minutes": 60, "local_hour": hour, "is_weekend": False,
            }
            for name in known["meter_id"]
            for hour in (0, 1)
        ]
    )  # fmt: skip
    shape = {name: kind[2] for name, kind in kinds.items()}
    scale = dict(known.select("meter_id", "scale_kwh").iter_rows())
    served = slots.filter(pl.col("meter_id") != "new")
    served = served.with_columns(
        pl.Series(name, [shape[m][h] / 2 * scale[m] for m, h in served.select("meter_id", "local_hour").iter_rows()])
        for name in QUANTILE_COLUMNS
    )
    found = peers(slots.filter(pl.col("meter_id") == "new"), served=served, known=known).sort("starts_at_utc")
    assert found["q50"].to_list() == pytest.approx(expected)
