"""Simulated meters: the same seed says the same, faults are as ordered, and the ledger counts what was lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from energy_assets.contracts import READINGS_RAW
from energy_assets.errors import ConfigError, SourceError
from energy_assets.lake import Lake
from energy_assets.message_landing import land_dumps
from energy_assets.messaging import staging
from energy_assets.messaging.dumps import read_dump
from energy_assets.messaging.formats import FORMATS, MOST_METERS
from energy_assets.messaging.ledger_file import LedgerFile, read_ledger
from energy_assets.messaging.payloads import BUILT_IN, load_payload_mapping, mapping_file
from energy_assets.messaging.simulation import LATE_ROUNDS, LEDGER, Loads, Plan, Round, account_of, rounds
from energy_assets.metering.units import KW_PER_UNIT, KWH_PER_UNIT
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
        pytest.param(
            {"meters": 2, "message_format": "dsmr_reader"},
            "choose 1 to 1, which is all that dsmr",
            id="two of one house",
        ),
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


def dumped(found: list[Round], file: Path) -> Path:
    """Return a dump of what was sent, each message at its round's instant."""
    with file.open("w") as lines:
        for one in found:
            for message in one.messages:
                payload = message.payload.decode("utf-8", errors="replace")
                line = {"topic": message.topic, "payload": payload, "arrived_at_utc": one.at.isoformat()}
                lines.write(json.dumps(line) + "\n")
    return file


def test_every_built_in_mapping_has_a_format() -> None:
    assert set(FORMATS) == {file.stem for file in BUILT_IN.glob("*.toml")}


@pytest.mark.parametrize("name", FORMATS)
def test_the_energy_that_is_read_is_the_energy_that_was_used(name: str, tmp_path: Path) -> None:
    mapping = load_payload_mapping(Path(name))
    minutes = mapping.messages[0].interval_minutes
    assert minutes is not None
    wanted = plan(
        message_format=name,
        meters=MOST_METERS.get(name, 3),
        rounds=30,
        interval=timedelta(minutes=minutes),
        first_at=datetime(2026, 3, 14, tzinfo=UTC),
    )
    dump = dumped(list(rounds(wanted)), tmp_path / "dump.jsonl")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        staging.begin(connection, [staging.Batch(batch_id="b", name="dump")])
        for frame in read_dump(dump, mapping=mapping):
            staging.add_frame(connection, frame)
        staging.judge(connection, mapping, source="s")
        read = connection.execute(
            "SELECT meter_id, starts_at_utc, value, measure, unit "
            "FROM temp.staged_rows JOIN temp.staged_rules USING (rule)"
        ).pl()
    measure, unit = read["measure"][0], read["unit"][0]
    hours = minutes / 60
    by_meter = read.sort("starts_at_utc").group_by("meter_id")
    used = loads_of(wanted) * hours
    if measure == "register":  # which counts from its first message on
        kwh = by_meter.agg(pl.col("value").last() - pl.col("value").first())["value"].sum() * KWH_PER_UNIT[unit]
        expected = used[1:].sum()
    elif measure == "power":
        kwh, expected = read["value"].sum() * KW_PER_UNIT[unit] * hours, used.sum()
    else:
        kwh, expected = read["value"].sum() * KWH_PER_UNIT[unit], used.sum()
    assert kwh == pytest.approx(expected, rel=0.01)


def loads_of(wanted: Plan) -> NDArray[np.float64]:
    """Return the power in kW of each round and meter."""
    loads = Loads(wanted)
    return np.array(
        [loads.power_kw(wanted.first_at + number * wanted.interval) for number in range(wanted.rounds or 0)]
    )


@pytest.fixture(scope="module")
def one_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    lake = Lake.from_settings(Settings(home=tmp_path_factory.mktemp("home")))
    yield lake
    lake.close()


@pytest.mark.parametrize("name", FORMATS)
def test_what_every_format_says_is_what_its_built_in_mapping_reads(name: str, tmp_path: Path, one_lake: Lake) -> None:
    faults = {"drop": 0.03, "duplicate": 0.1, "late": 0.05, "reorder": 0.05, "garbage": 0.05, "reset": 0.01}
    meters = MOST_METERS.get(name, 20)
    wanted = plan(message_format=name, meters=meters, rounds=60, interval=timedelta(minutes=15), faults=faults)
    found = list(rounds(wanted))
    dump = dumped(found, tmp_path / "dump.jsonl")
    source = Source(name=name, kind="mqtt", path=tmp_path, mapping=mapping_file(Path(name)))
    counts = land_dumps(one_lake, source, [dump], form=None, now=START)
    assert counts.is_balanced
    raw = one_lake.read(READINGS_RAW, where={"source": name})
    stored = raw.with_columns(meter=pl.col("meter_id").str.strip_prefix(f"{name}."))
    account = account_of(ledger_of(found), stored)
    assert account["readings"] > 45 * meters
    assert (account["lost"], account["extra"]) == (0, 0)


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
