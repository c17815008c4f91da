"""Night by night and all at once give the same events; a second run, or an old day judged again, changes no id."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_assets.anomalies.events import merged_events
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.nightly import EventChanges, follow, incidents_since, spans_of
from energy_assets.contracts import ANOMALIES_EVENTS, ANOMALIES_FEEDBACK, ANOMALIES_FLAGS, Window
from energy_assets_tests.anomalies.meters import MONDAY
from energy_assets_tests.anomalies.test_events import flag, registry, said, table

DAYS = 10
METERS = registry(6)
LIMITS = Limits(least_alerts_a_day=1, most_alerts_a_day=2, incident_least_meters=4)


def day_window(day: int, last: int | None = None) -> Window:
    return Window.of_days((MONDAY + timedelta(day)).date(), (MONDAY + timedelta(day if last is None else last)).date())


def night(
    stored: pl.DataFrame,
    flags: pl.DataFrame,
    *,
    window: Window,
    as_of_utc: datetime,
    said_so: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, EventChanges]:
    """Return the stored events after a window was judged: what the asset does, on frames."""
    inside = flags.filter(pl.col("starts_at_utc") >= window.starts_at_utc, pl.col("starts_at_utc") < window.ends_at_utc)
    spans = spans_of(stored, flagged=inside, window=window, limits=LIMITS)
    since = incidents_since(stored.filter(pl.col("meter_id").is_null())["starts_at_utc"], window=window)
    needed = (
        flags.join(spans, on="meter_id", validate="m:1")
        .filter(pl.col("starts_at_utc") >= pl.col("from_utc"), pl.col("starts_at_utc") < pl.col("until_utc"))
        .drop("from_utc", "until_utc")
    )
    changes = follow(
        needed, spans=spans, since_utc=since, stored=stored, meters=METERS, window=window, as_of_utc=as_of_utc,
        feedback=said_so, limits=LIMITS,
    )  # fmt: skip
    rest = stored.filter(~pl.col("event_id").is_in(changes.stale_ids))
    return pl.concat([rest, changes.rows]).sort("starts_at_utc", "event_id"), changes


def night_by_night(flags: pl.DataFrame, *, said_so: pl.DataFrame | None = None) -> pl.DataFrame:
    stored = ANOMALIES_EVENTS.empty()
    for day in range(DAYS):
        until = MONDAY + timedelta(days=day + 1)
        known = flags.filter(pl.col("starts_at_utc") < until)
        stored, _ = night(stored, known, window=day_window(day), as_of_utc=until, said_so=said_so)
    return stored


RULES_DRAWN = ("residual_high", "residual_low", "level_change", "gap", "stuck", "clock_shift")
stretches = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 24 * DAYS - 30), st.integers(1, 40), st.sampled_from(RULES_DRAWN),
        st.sampled_from([0.6, 0.7, 0.8, 0.89]), st.booleans(),
    ),
    min_size=1, max_size=14,
)  # fmt: skip


def flags_of(drawn: list[tuple[int, int, int, str, float, bool]]) -> pl.DataFrame:
    rows = {}
    for meter, first, length, rule, score, is_over in drawn:
        for hour in range(first, min(first + length, 24 * DAYS)):
            above = rule != "residual_low" and is_over
            more = {"score": score, "actual_kwh": 12.0 if above else 8.0} if rule not in {"gap", "stuck"} else {}
            rows[meter, hour, rule] = flag(f"m{meter}", hour, rule, **more)
    return table(*rows.values()).sort(ANOMALIES_FLAGS.key)


@settings(max_examples=6)
@given(drawn=stretches)
@example(drawn=[(meter, 50, 30, "gap", 0.8, True) for meter in range(5)] + [(5, 52, 3, "gap", 0.8, True)])
def test_nights_give_what_all_days_at_once_give(drawn: list[tuple[int, int, int, str, float, bool]]) -> None:
    flags = flags_of(drawn)
    at_once = merged_events(flags, meters=METERS, as_of_utc=MONDAY + timedelta(days=DAYS), limits=LIMITS)
    nights = night_by_night(flags)
    assert nights.select("event_id", "starts_at_utc", "ends_at_utc", "slots", "cause", "state").equals(
        at_once.select("event_id", "starts_at_utc", "ends_at_utc", "slots", "cause", "state")
    )
    for column in ("actual_kwh", "expected_kwh", "excess_kwh"):
        assert (nights[column] - at_once[column]).abs().max() in (None, 0) or (
            (nights[column] - at_once[column]).abs().max() < 1e-9  # type: ignore[operator]
        )


@settings(max_examples=6)
@given(drawn=stretches, first=st.integers(0, DAYS - 1), days=st.integers(1, 4))
def test_a_second_run_writes_nothing(
    drawn: list[tuple[int, int, int, str, float, bool]], first: int, days: int
) -> None:
    flags = flags_of(drawn)
    stored = night_by_night(flags)
    window = day_window(first, min(first + days, DAYS) - 1)
    _, changes = night(stored, flags, window=window, as_of_utc=MONDAY + timedelta(days=DAYS))
    _, again = night(
        pl.concat([stored.filter(~pl.col("event_id").is_in(changes.stale_ids)), changes.rows]), flags,
        window=window, as_of_utc=MONDAY + timedelta(days=DAYS),
    )  # fmt: skip
    assert {*changes.rows["event_id"]} <= {*stored["event_id"]}
    assert again.rows.is_empty()
    assert again.stale_ids == []


@settings(max_examples=6)
@given(drawn=stretches, late=stretches, day=st.integers(0, DAYS - 1))
def test_late_flags_of_a_day_leave_other_events_their_ids(
    drawn: list[tuple[int, int, int, str, float, bool]], late: list[tuple[int, int, int, str, float, bool]], day: int
) -> None:
    before, more = flags_of(drawn), flags_of(late)
    of_day = pl.col("starts_at_utc").dt.truncate("1d") == MONDAY + timedelta(days=day)
    after = pl.concat([before.filter(~of_day), more.filter(of_day)]).sort(ANOMALIES_FLAGS.key)
    stored = night_by_night(before)
    now, _ = night(stored, after, window=day_window(day), as_of_utc=MONDAY + timedelta(days=DAYS))
    assert now["event_id"].is_unique().all()
    fresh = merged_events(after, meters=METERS, as_of_utc=MONDAY + timedelta(days=DAYS), limits=LIMITS)
    spans = ["meter_id", "family", "starts_at_utc", "ends_at_utc", "slots", "cause"]
    single = pl.col("meter_id").is_not_null()
    assert now.filter(single).select(spans).sort(spans).equals(fresh.filter(single).select(spans).sort(spans))
    untouched = stored.filter(single).join(now.filter(single), on=spans, how="semi")
    assert {*untouched["event_id"]} <= {*now["event_id"]}


@settings(max_examples=6)
@given(drawn=stretches)
def test_events_of_one_meter_and_cause_never_overlap(drawn: list[tuple[int, int, int, str, float, bool]]) -> None:
    events = night_by_night(flags_of(drawn)).sort("meter_id", "cause", "starts_at_utc")
    previous = pl.col("ends_at_utc").shift().over("meter_id", "site_id", "family", "cause")
    assert not events.select((pl.col("starts_at_utc") < previous).any()).item()


def test_an_event_that_loses_its_first_slot_keeps_its_name_and_a_later_one_gets_its_own() -> None:
    rows = [flag("m0", hour) for hour in (5, 30, 60)]
    stored = night_by_night(table(*rows))
    name = stored["event_id"].item()
    later = night(stored, table(*rows[1:]), window=day_window(0), as_of_utc=MONDAY + timedelta(days=DAYS))[0]
    assert later.select("event_id", "starts_at_utc").row(0) == (name, MONDAY + timedelta(hours=30))
    split = night(
        later, table(rows[0], flag("m0", 75)), window=day_window(0, 3), as_of_utc=MONDAY + timedelta(days=DAYS)
    )[0]
    assert split["event_id"].is_unique().all()
    assert split.height == 2


def test_an_old_alert_stands_when_a_stronger_one_comes_on_another_day() -> None:
    weak, strong = flag("m0", 5, score=0.75), flag("m1", 24 * 3, score=0.89)
    first = night_by_night(table(weak))
    both = night(first, table(weak, strong), window=day_window(3), as_of_utc=MONDAY + timedelta(days=DAYS))[0]
    assert both.sort("meter_id")["is_alert"].to_list() == [True, True]
    assert both.sort("meter_id")["alerted_at_utc"].to_list() == [MONDAY + timedelta(days=1), MONDAY + timedelta(days=4)]


def test_a_verdict_of_weeks_ago_silences_tonight_from_the_stored_events() -> None:
    flags = table(flag("m0", 5), flag("m0", 24 * 9 + 5))
    stored = night_by_night(flags.head(1))
    words = ANOMALIES_FEEDBACK.conform(pl.DataFrame([said(stored["event_id"].item(), "expected", 0)]))
    after = night(stored, flags, window=day_window(9), as_of_utc=MONDAY + timedelta(days=10), said_so=words)[0]
    assert after.sort("starts_at_utc").select("state", "is_alert").rows() == [("expected", False), ("open", False)]


def test_an_open_event_closes_when_nothing_more_comes() -> None:
    flags = table(flag("m0", 5))
    stored, _ = night(ANOMALIES_EVENTS.empty(), flags, window=day_window(0), as_of_utc=MONDAY + timedelta(days=1))
    assert stored["state"].item() == "open"
    stored, _ = night(stored, flags, window=day_window(9), as_of_utc=MONDAY + timedelta(days=10))
    assert stored["state"].item() == "closed"
