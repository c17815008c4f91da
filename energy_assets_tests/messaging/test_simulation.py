"""Simulated meters: the same seed says the same, faults are as ordered, and the ledger counts what was lost."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import READINGS_RAW
from energy_assets.errors import ConfigError, SourceError
from energy_assets.lake import Lake
from energy_assets.message_landing import land_dumps
from energy_assets.messaging.formats import FORMATS
from energy_assets.messaging.ledger_file import LedgerFile, read_ledger
from energy_assets.messaging.payloads import mapping_file
from energy_assets.messaging.simulation import LATE_ROUNDS, LEDGER, Plan, Round, account_of, rounds
from energy_assets.readings.source import Source
from energy_assets.settings import Settings

START = datetime(2026, 3, 14, 12, tzinfo=UTC)


def plan(**changes: object) -> Plan:
    usual: dict[str, object] = {
        "meters": 30,
        "message_format": "system_003",
        "first_at": START,
        "interval": timedelta(minutes=1),
        "rounds": 40,
    }
    return Plan(**(usual | changes))  # type: ignore[arg-type]


def ledger_of(found: list[Round]) -> pl.DataFrame:
    return pl.DataFrame([row for one in found for row in one.made], schema=LEDGER, orient="row")


def test_the_same_seed_sends_the_same_and_another_does_not() -> None:
    faults = {"drop": 0.1, "duplicate": 0.1, "late": 0.1, "garbage": 0.1}
    one, again, other = (list(rounds(plan(faults=faults, seed=seed))) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_without_faults_each_meter_says_each_round_what_it_used() -> None:
    found = list(rounds(plan()))
    assert [len(one.messages) for one in found] == [30] * 40
    assert [one.at for one in found] == [START + timedelta(minutes=minute) for minute in range(40)]
    first = json.loads(found[0].messages[0].payload)
    assert first["meterId"] == "household_1"
    assert first["timestamp"] == "2026-03-14T13:00:00+01:00"
    kw = [json.loads(message.payload)["consumptionKwh"] for one in found for message in one.messages]
    assert 0.1 < sum(kw) / len(kw) < 3


@pytest.mark.parametrize("name", ["tasmota", "zigbee2mqtt", "shelly_gen1", "home_assistant"])
def test_registers_only_grow_but_for_resets(name: str) -> None:
    def grows(**changes: object) -> bool:
        rows = ledger_of(list(rounds(plan(message_format=name, **changes))))
        return bool((rows.group_by("meter").agg((pl.col("value").diff().drop_nulls() >= 0).all())["value"]).all())

    assert grows()
    assert not grows(faults={"reset": 0.05})


def test_faults_come_as_often_as_ordered_and_the_ledger_names_them() -> None:
    shares = {"drop": 0.05, "duplicate": 0.1, "late": 0.1, "reorder": 0.05, "garbage": 0.05, "skew": 0.3}
    found = list(rounds(plan(meters=100, faults=shares)))
    ledger = ledger_of(found)
    sent = Counter(message.number for one in found for message in one.messages)
    assert ledger.height == 100 * 40
    assert dict(ledger.filter(pl.col("copies") > 0).select("number", "copies").iter_rows()) == sent
    counted = dict(ledger.group_by("fault").len().iter_rows())
    for name in ("drop", "duplicate", "late", "reorder", "garbage"):
        assert counted[name] == pytest.approx(4000 * shares[name], rel=0.35)
    skewed = ledger.with_columns(
        off=(pl.col("starts_at_utc") - START - pl.duration(minutes=pl.col("number") // 100)).abs()
    )
    assert skewed.filter(pl.col("off") > timedelta(0))["meter"].n_unique() == pytest.approx(30, abs=15)
    assert skewed["off"].max() <= timedelta(minutes=2)  # type: ignore[operator]


def test_late_messages_come_twenty_rounds_later_and_none_is_forgotten() -> None:
    found = list(rounds(plan(faults={"late": 0.2})))
    made_in = {number: number // 30 for number in range(1200)}
    delays = {number: index - made_in[number] for index, one in enumerate(found) for number in _numbers(one)}
    assert len(delays) == 1200
    late = [number for number, delay in delays.items() if delay]
    assert all(delays[number] == LATE_ROUNDS for number in late if made_in[number] < 20)
    assert len(late) == pytest.approx(240, rel=0.3)


def _numbers(one: Round) -> list[int]:
    return [message.number for message in one.messages]


def test_what_is_lost_is_counted_and_what_nobody_promised_is_not() -> None:
    ledger = ledger_of(list(rounds(plan(faults={"drop": 0.1, "garbage": 0.1, "duplicate": 0.2}))))
    fine = ledger.filter(pl.col("copies") > 0, pl.col("fault").ne_missing("garbage"))
    stored = fine.select("meter", "starts_at_utc", "value")
    whole = account_of(ledger, stored)
    assert (whole["lost"], whole["extra"]) == (0, 0)
    assert whole["stored"] == whole["readings"] == stored.unique().height
    assert whole["made"] == 1200
    assert whole["dropped"] + whole["damaged"] + fine.height == 1200
    assert whole["sent"] == ledger["copies"].sum()

    assert account_of(ledger, stored.head(stored.height - 7))["lost"] == 7
    unsure = ledger.with_columns(is_acknowledged=pl.col("number") < 1190)
    assert account_of(unsure, stored.filter(pl.col("starts_at_utc") < START + timedelta(minutes=39)))["lost"] < 30
    foreign = stored.with_columns(meter=pl.lit("somebody"))
    assert account_of(ledger, foreign)["extra"] == foreign.unique().height


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"message_format": "morse"}, "'morse' is unknown; choose from system_003", id="format"),
        pytest.param({"meters": 0}, "choose 1 to 100000", id="none"),
        pytest.param({"meters": 100_001}, "choose 1 to 100000", id="too many"),
        pytest.param({"interval": timedelta(milliseconds=1)}, "too short", id="interval"),
        pytest.param({"faults": {"drop": 2.0}}, "drop=2 is not understood", id="share"),
        pytest.param({"faults": {"fire": 0.1}}, "fire=0.1 is not understood", id="fault"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        plan(**changes)


def test_a_hundred_thousand_meters_have_sizes_of_their_own() -> None:
    (one,) = rounds(plan(meters=100_000, rounds=1, message_format="system_003"))
    assert len(one.messages) == 100_000
    assert len({message.topic for message in one.messages}) == 100_000


@pytest.mark.parametrize("name", FORMATS)
def test_what_every_format_says_is_what_its_built_in_mapping_reads(name: str, tmp_path: Path) -> None:
    faults = {"drop": 0.03, "duplicate": 0.1, "late": 0.05, "reorder": 0.05, "garbage": 0.05, "reset": 0.01}
    found = list(rounds(plan(message_format=name, meters=20, rounds=60, interval=timedelta(minutes=15), faults=faults)))
    dump = tmp_path / "dump.jsonl"
    with dump.open("w") as file:
        for one in found:
            for message in one.messages:
                payload = message.payload.decode("utf-8", errors="replace")
                line = {"topic": message.topic, "payload": payload, "arrived_at_utc": one.at.isoformat()}
                file.write(json.dumps(line) + "\n")
    lake = Lake.from_settings(Settings(home=tmp_path / "home"))
    source = Source(name="live", kind="mqtt", path=tmp_path, mapping=mapping_file(Path(name)))
    counts = land_dumps(lake, source, [dump], form=None, now=START)
    assert counts.is_balanced
    stored = lake.read(READINGS_RAW).with_columns(meter=pl.col("meter_id").str.strip_prefix("live."))
    account = account_of(ledger_of(found), stored)
    assert account["readings"] > 900
    assert (account["lost"], account["extra"]) == (0, 0)
    lake.close()


def test_a_ledger_is_read_back_and_others_are_refused(tmp_path: Path) -> None:
    made = [row for one in rounds(plan(faults={"drop": 0.2})) for row in one.made]
    with LedgerFile(tmp_path / "sent.parquet") as book:
        book.add(made)
        book.forget([3, 5])
    ledger = read_ledger(tmp_path / "sent.parquet")
    assert ledger.height == 1200
    assert not ledger.filter(pl.col("number").is_in([3, 5]))["is_acknowledged"].any()
    assert not ledger.filter(pl.col("copies") == 0)["is_acknowledged"].any()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(SourceError, match="is no ledger of `energy simulate`: it has a"):
        read_ledger(tmp_path / "other.parquet")
