"""From readings to the slots of a bill: what was drawn, what is usual, what was not read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.prices import gathering
from energy_assets.prices.gathering import LocalDay, gatherings, windows_read
from energy_assets.prices.usage import DayUse, counted_meters, use_of_days, use_of_gathered
from energy_assets.prices.zones import BillTerms, ZoneConfig
from energy_assets_tests.prices.strategies import often
from energy_assets_tests.prices.use import hours_of, meters, readings

DAY = date(2026, 6, 15)
ZONE = ZoneConfig(bill=BillTerms(baseline_weeks=2))
ONE = meters(("m", "p", "consumption"))


def used(frame: pl.DataFrame, declared: pl.DataFrame, *, day: LocalDay | None = None) -> DayUse:
    chosen = day or LocalDay(zone=ZONE, local_date=DAY, interval_minutes=60)
    (made,) = use_of_days(frame, members=counted_meters(declared), days=[chosen])
    return made


def weeks_of(*values: float) -> dict[datetime, float | None]:
    """Return a constant hourly use on DAY and on the same weekday of the weeks before."""
    return {at: kwh for week, kwh in enumerate(values) for at in hours_of(DAY - timedelta(weeks=week))}


def test_the_baseline_is_the_mean_of_the_same_weekday_before() -> None:
    made = used(readings({"m": weeks_of(5.0, 1.0, 2.0, 99.0)}), ONE)
    assert made.import_wh[:, 0].tolist() == [5000] * 24
    assert made.baseline_wh[:, 0].tolist() == [1500] * 24  # two weeks, not three
    assert not made.is_estimated.any()


def test_without_history_what_was_drawn_is_usual() -> None:
    made = used(readings({"m": weeks_of(5.0)}), ONE)
    assert made.baseline_wh.tolist() == made.import_wh.tolist()


def test_what_was_not_read_counts_as_usual_and_is_marked() -> None:
    rows = weeks_of(5.0, 1.0, 2.0)
    at = hours_of(DAY)
    rows[at[3]] = None
    del rows[at[4]]
    made = used(readings({"m": rows}), ONE)
    assert made.import_wh[2:6, 0].tolist() == [5000, 1500, 1500, 5000]
    assert np.flatnonzero(made.is_estimated[:, 0]).tolist() == [3, 4]
    whole = used(readings({"m": {t: v for t, v in rows.items() if t < at[0]}}), ONE)
    assert whole.import_wh[:, 0].tolist() == [1500] * 24
    assert whole.is_estimated.all()


def test_what_became_known_later_is_no_part_of_a_baseline() -> None:
    late = hours_of(DAY - timedelta(weeks=1))[:2]
    made = used(readings({"m": weeks_of(5.0, 1.0, 2.0)}, late=late), ONE)
    assert made.baseline_wh[:3, 0].tolist() == [2000, 2000, 1500]


@pytest.mark.parametrize(
    ("directions", "expected"),
    [
        pytest.param({"grid_import": 2.0, "grid_export": 0.5}, (2000, 500), id="grid meters apart"),
        pytest.param({"consumption": 2.0, "production": 0.5}, (1500, 0), id="net drawn"),
        pytest.param({"consumption": 2.0, "production": 2.5}, (0, 500), id="net fed in"),
        pytest.param({"production": 2.5}, (0, 2500), id="production alone"),
        pytest.param(
            {"grid_import": 2.0, "grid_export": 0.5, "production": 9.0}, (2000, 500), id="behind the grid meter"
        ),
    ],
)
def test_what_a_premise_draws_and_feeds_in(directions: dict[str, float], expected: tuple[int, int]) -> None:
    declared = meters(*((name, "p", name) for name in directions))
    made = used(readings({name: dict.fromkeys(hours_of(DAY), kwh) for name, kwh in directions.items()}), declared)
    assert (made.import_wh[0, 0], made.export_wh[0, 0]) == expected


def test_an_export_that_was_not_read_earns_nothing_until_it_is() -> None:
    declared = meters(("i", "p", "grid_import"), ("e", "p", "grid_export"))
    rows = {"i": dict.fromkeys(hours_of(DAY), 1.0), "e": dict.fromkeys(hours_of(DAY)[1:], 2.0)}
    made = used(readings(rows), declared)
    assert made.export_wh[:2, 0].tolist() == [0, 2000]
    assert made.import_wh[:2, 0].tolist() == [1000, 1000]
    assert made.is_estimated[:2, 0].tolist() == [True, False]


def test_quarter_hours_are_summed_to_the_slots_of_the_price_and_a_part_is_no_whole() -> None:
    quarters = [hours_of(DAY)[0] + timedelta(minutes=15 * i) for i in range(96)]
    rows = dict.fromkeys(quarters, 0.25)
    del rows[quarters[5]]
    made = used(readings({"m": rows}, minutes=15), meters(("m", "p", "consumption"), minutes=15))
    assert made.import_wh[:3, 0].tolist() == [1000, 0, 1000]
    assert made.is_estimated[:3, 0].tolist() == [False, True, False]


def test_a_meter_coarser_than_the_price_is_left_out() -> None:
    day = LocalDay(zone=ZONE, local_date=DAY, interval_minutes=30)
    assert list(use_of_days(readings({"m": weeks_of(1.0)}), members=counted_meters(ONE), days=[day])) == []


def test_an_exchanged_meter_is_one_meter() -> None:
    declared = meters(("old", "p", "consumption"), ("new", "p", "consumption"))
    noon = hours_of(DAY)[12]
    declared = declared.with_columns(
        valid_to_utc=pl.when(pl.col("meter_id") == "old").then(pl.lit(noon)),
        valid_from_utc=pl.when(pl.col("meter_id") == "new").then(pl.lit(noon)),
    )
    rows = {"old": dict.fromkeys(hours_of(DAY)[:12], 1.0), "new": dict.fromkeys(hours_of(DAY)[12:], 2.0)}
    made = used(readings(rows), declared)
    assert made.import_wh[:, 0].tolist() == [1000] * 12 + [2000] * 12
    assert not made.is_estimated.any()


@pytest.mark.parametrize(
    ("local_date", "slots", "expected"),
    [
        # Summer time begins on 29 March: 02:00 does not exist on it, so it says nothing about the week after.
        pytest.param(date(2026, 3, 29), 23, [0, 1, 3, 4], id="an hour is skipped"),
        pytest.param(date(2026, 4, 5), 24, [0, 1, 2, 3], id="the week after it"),
        # It ends on 25 October: both hours that a clock calls 02:00 are compared with that of the week before.
        pytest.param(date(2026, 10, 25), 25, [0, 1, 2, 2, 3], id="an hour is repeated"),
    ],
)
def test_the_same_time_is_that_of_the_clock_on_the_wall(local_date: date, slots: int, expected: list[int]) -> None:
    zone = ZoneConfig(timezone="Europe/Berlin", bill=BillTerms(baseline_weeks=1))
    day = LocalDay(zone=zone, local_date=local_date, interval_minutes=60)
    starts = [
        at + timedelta(hours=hour)
        for at in [datetime(local_date.year, local_date.month, local_date.day, tzinfo=UTC) - timedelta(days=8)]
        for hour in range(24 * 10)
    ]
    rows = {at: float(at.astimezone(zone.zoneinfo).hour) for at in starts}
    made = used(readings({"m": rows}), ONE, day=day)
    assert made.baseline_wh.shape == (slots, 1)
    hours = [at.astimezone(zone.zoneinfo).hour for at in day.slots]
    assert [round(wh / 1000) for wh in made.import_wh[:, 0]] == hours
    if local_date == date(2026, 4, 5):
        # 02:00 of the week before does not exist; what was drawn stands in
        assert made.baseline_wh[2, 0] == 2000
    assert [round(wh / 1000) for wh in made.baseline_wh[: len(expected), 0]] == expected


@given(seed=st.integers(0, 2**32 - 1), parts=st.integers(1, 9))
@often(30)
def test_parts_in_any_order_add_up_to_the_same_use(seed: int, parts: int) -> None:
    """As many parts as there are, and however their rows are mixed: a lake promises no order."""
    declared = pl.concat(
        [
            meters(("a", "p", "consumption"), ("b", "p", "production"), zone_id="north"),
            meters(("c", "q", "grid_import"), ("d", "q", "grid_export"), zone_id="south", minutes=15),
        ]
    )
    chance = np.random.default_rng(seed)
    starts = [hours_of(DAY - timedelta(weeks=2))[0] + timedelta(minutes=15 * slot) for slot in range(96 * 16)]
    frames = []
    for name, minutes in {"a": 60, "b": 60, "c": 15, "d": 15}.items():
        known = [at for at in starts if at.minute % minutes == 0 and chance.random() < 0.97]
        late = [at for at in known if chance.random() < 0.05]
        energy = {at: None if chance.random() < 0.03 else round(float(chance.gamma(1, 1)), 9) for at in known}
        frames.append(readings({name: energy}, minutes=minutes, late=late))
    rows, members = pl.concat(frames), counted_meters(declared)
    zones = [ZONE.model_copy(update={"zone_id": name}) for name in ("north", "south")]
    days = [LocalDay(zone=zone, local_date=DAY, interval_minutes=60) for zone in zones]
    (gathered,) = gatherings(days, members=members)
    narrow = gathered.narrowed(rows).sample(fraction=1.0, shuffle=True, seed=seed)
    for part in range(parts):
        gathered.add(narrow.gather_every(parts, part))
    at_once, in_parts = list(use_of_days(rows, members=members, days=days)), list(use_of_gathered(gathered))
    assert [use.premise_ids for use in in_parts] == [["p"], ["q"]]
    for one, other in zip(at_once, in_parts, strict=True):
        for name in ("import_wh", "export_wh", "baseline_wh", "is_estimated"):
            assert (getattr(one, name) == getattr(other, name)).all(), name


def test_zones_that_do_not_fit_together_are_gathered_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = pl.concat([meters((f"m{i}", f"p{i}", "consumption"), zone_id=f"z{i}") for i in range(3)])
    zones = [ZONE.model_copy(update={"zone_id": f"z{i}"}) for i in range(3)]
    days = [LocalDay(zone=zone, local_date=DAY, interval_minutes=60) for zone in zones]
    monkeypatch.setattr(gathering, "CELLS_AT_ONCE", 170)  # a day and two before it, with two hours at each end: 80
    found = list(gatherings(days, members=counted_meters(declared)))
    assert [[day.zone.zone_id for day in each.days] for each in found] == [["z0", "z1"], ["z2"]]


def test_what_is_read_covers_the_days_and_their_references_once() -> None:
    days = [LocalDay(zone=ZONE, local_date=DAY + timedelta(days=i), interval_minutes=60) for i in range(2)]
    windows = windows_read(days)
    assert [(w.starts_at_utc.date(), w.ends_at_utc.date()) for w in windows] == [
        (date(2026, 5, 31), date(2026, 6, 3)),
        (date(2026, 6, 7), date(2026, 6, 10)),
        (date(2026, 6, 15), date(2026, 6, 17)),
    ]
    month = [LocalDay(zone=ZONE, local_date=DAY + timedelta(days=i), interval_minutes=60) for i in range(9)]
    assert len(windows_read(month)) == 1
    assert windows_read([]) == []


def test_a_zone_without_readings_has_no_day() -> None:
    frame = readings({"m": weeks_of(1.0)}).clear()
    day = LocalDay(zone=ZONE, local_date=DAY, interval_minutes=60)
    assert list(use_of_days(frame, members=counted_meters(ONE), days=[day])) == []
