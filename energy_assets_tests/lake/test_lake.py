"""The lake on both catalogs: windows replaced whole, snapshots that read the past, writers that do not clash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets import contracts
from energy_assets.contracts import READINGS_INTERVAL, SITES, Window
from energy_assets.errors import ContractError, LakeError
from energy_assets.lake import Change, Lake, maintain, opening
from energy_assets.lake.locks import writing
from energy_assets.sql import Query

DAY = Window.of_days(date(2026, 3, 1))
NEXT_DAY = Window.of_days(date(2026, 3, 2))


def readings(window: Window, *, meters: int = 3, energy_kwh: float = 1.0) -> pl.DataFrame:
    hours = pl.datetime_range(
        window.starts_at_utc, window.ends_at_utc, "1h", closed="left", eager=True, time_zone="UTC"
    ).alias("starts_at_utc")
    return (
        pl.DataFrame({"meter_id": [f"m{number}" for number in range(meters)]})
        .join(hours.to_frame(), how="cross")
        .with_columns(
            interval_minutes=60,
            reported_kwh=energy_kwh,
            energy_kwh=energy_kwh,
            quality=pl.lit("measured"),
            available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1),
        )
    )


def test_every_contract_becomes_a_table_that_is_empty_and_readable(any_lake: Lake) -> None:
    for table in contracts.TABLES:
        frame = any_lake.read(table)
        assert frame.schema == table.polars_schema, table.qualified_name
        assert frame.is_empty()


def test_replace_touches_its_window_only_and_running_it_twice_changes_nothing(any_lake: Lake) -> None:
    any_lake.replace(READINGS_INTERVAL, readings(DAY), window=DAY)
    any_lake.replace(READINGS_INTERVAL, readings(NEXT_DAY, energy_kwh=2.0), window=NEXT_DAY)
    first = any_lake.replace(READINGS_INTERVAL, readings(DAY, energy_kwh=5.0), window=DAY, message="run 1")
    second = any_lake.replace(READINGS_INTERVAL, readings(DAY, energy_kwh=5.0), window=DAY, message="run 2")

    assert first.inserted == second.inserted == {"readings.interval": 72}
    assert second.deleted == {"readings.interval": 72}
    assert second.snapshot_id > first.snapshot_id
    assert any_lake.read(READINGS_INTERVAL, DAY)["energy_kwh"].unique().to_list() == [5.0]
    assert any_lake.read(READINGS_INTERVAL, NEXT_DAY)["energy_kwh"].unique().to_list() == [2.0]
    assert any_lake.count(READINGS_INTERVAL) == 144


def test_a_commit_carries_the_revision_of_the_code_that_wrote_it(any_lake: Lake) -> None:
    without = any_lake.replace(READINGS_INTERVAL, readings(DAY), window=DAY)
    any_lake.code = "4ee8832"
    with_it = any_lake.replace(READINGS_INTERVAL, readings(NEXT_DAY), window=NEXT_DAY)

    assert any_lake.code_of(with_it.snapshot_id) == "4ee8832"
    assert any_lake.code_of(without.snapshot_id) is None
    assert any_lake.code_of(10**9) is None


def test_read_pushes_down_columns_window_and_filters(any_lake: Lake) -> None:
    any_lake.replace(READINGS_INTERVAL, readings(DAY), window=DAY)

    frame = any_lake.read(
        READINGS_INTERVAL, DAY, columns=["meter_id", "energy_kwh"], where={"meter_id": ["m0", "m2"], "reason": None}
    )

    assert frame.columns == ["meter_id", "energy_kwh"]
    assert sorted(frame["meter_id"].unique()) == ["m0", "m2"]
    assert any_lake.count(READINGS_INTERVAL, where={"meter_id": "m1"}) == 24


def test_a_snapshot_reads_the_lake_as_it_was(any_lake: Lake) -> None:
    past = any_lake.replace(READINGS_INTERVAL, readings(DAY, energy_kwh=1.0), window=DAY)
    any_lake.replace(READINGS_INTERVAL, readings(DAY, energy_kwh=9.0), window=DAY)

    then = any_lake.read(READINGS_INTERVAL, DAY, snapshot_id=past.snapshot_id)

    assert then["energy_kwh"].sum() == 72.0
    assert any_lake.read(READINGS_INTERVAL, DAY)["energy_kwh"].sum() == 648.0


def test_the_commit_message_names_the_run(any_lake: Lake) -> None:
    commit = any_lake.replace(READINGS_INTERVAL, readings(DAY), window=DAY, message="run 4f2a readings/interval")

    log = any_lake.query(
        Query(
            text="SELECT author, commit_message FROM ducklake_snapshots('lake') WHERE snapshot_id = $snapshot_id",
            parameters={"snapshot_id": commit.snapshot_id},
        )
    )

    assert log.rows() == [("energy_assets", "run 4f2a readings/interval")]


def test_several_tables_commit_together_or_not_at_all(any_lake: Lake) -> None:
    site = pl.DataFrame({"site_id": ["s"], "name": ["S"], "timezone": ["Europe/Athens"], "source": ["test"]})
    any_lake.replace(READINGS_INTERVAL, readings(NEXT_DAY), window=NEXT_DAY)
    broken = Query(text="SELECT * REPLACE (error('a source broke') AS meter_id) FROM readings.interval")

    with pytest.raises(LakeError, match="a source broke"):
        any_lake.commit([Change(table=SITES, rows=site), Change(table=READINGS_INTERVAL, rows=broken, kind="append")])
    assert any_lake.count(SITES) == 0

    any_lake.commit([Change(table=SITES, rows=site), Change(table=READINGS_INTERVAL, rows=readings(DAY), window=DAY)])
    assert (any_lake.count(SITES), any_lake.count(READINGS_INTERVAL, DAY)) == (1, 72)


def test_a_query_over_staged_rows_of_the_same_session_is_stored(lake: Lake) -> None:
    with lake.session() as session:
        session.register("frame", READINGS_INTERVAL.conform(readings(DAY)))
        session.execute("CREATE TEMP TABLE staged AS SELECT * FROM frame")
        commit = lake.commit(
            [Change(table=READINGS_INTERVAL, rows=Query(text="SELECT * FROM temp.staged;"), window=DAY)],
            session=session,
        )

    assert commit.rows == 72


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        pytest.param(readings(DAY).drop("quality"), "lacks .*quality", id="a column is missing"),
        pytest.param(readings(DAY).with_columns(extra=1), "unknown .*extra", id="a column is unknown"),
        pytest.param(readings(DAY).with_columns(energy_kwh=pl.lit("a")), "cannot be cast", id="a type is wrong"),
        pytest.param(readings(NEXT_DAY), "outside the window", id="rows lie outside the window"),
    ],
)
def test_rows_that_break_the_contract_are_refused(lake: Lake, frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        lake.replace(READINGS_INTERVAL, frame, window=DAY)
    assert lake.count(READINGS_INTERVAL) == 0


def test_a_null_where_none_may_be_fails_the_whole_transaction(lake: Lake) -> None:
    with pytest.raises(LakeError, match="NOT NULL"):
        lake.replace(READINGS_INTERVAL, readings(DAY).with_columns(quality=pl.lit(None, pl.String)), window=DAY)


def test_an_unknown_catalog_is_named(tmp_path: Path) -> None:
    lake = Lake(catalog="mysql:db", data_path=str(tmp_path), work_folder=tmp_path / "work")
    with pytest.raises(LakeError, match="neither sqlite:PATH nor postgres"):
        lake.count(SITES)


def test_the_signature_of_an_extension_is_checked_once_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_checked", set())
    trusting = []
    for catalog in ("sqlite:a", "sqlite:b", "postgres:c", "postgres:d"):
        with opening.open_engine(tmp_path, catalog=catalog, memory_limit_gb=1, threads=1) as engine:
            trusting += engine.execute("SELECT current_setting('allow_unsigned_extensions')").fetchone() or ()
    assert trusting == [False, True, False, True]


def test_a_password_does_not_reach_a_message(tmp_path: Path) -> None:
    lake = Lake(
        catalog="postgres:dbname=x host=127.0.0.1 port=1 password=secret",
        data_path=str(tmp_path),
        work_folder=tmp_path / "work",
    )
    with pytest.raises(LakeError, match="failed to attach") as caught:
        lake.count(SITES)
    assert "secret" not in str(caught.value)


def test_a_lake_that_was_moved_is_still_whole_and_one_without_its_files_is_named(tmp_path: Path) -> None:
    def opened(folder: Path) -> Lake:
        return Lake(
            catalog=f"sqlite:{folder / 'c.sqlite'}", data_path=str(folder / "data"), work_folder=tmp_path / "work"
        )

    before = opened(tmp_path / "here")
    before.replace(READINGS_INTERVAL, readings(DAY), window=DAY)
    before.close()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = opened(tmp_path / "there")
    assert moved.count(READINGS_INTERVAL) == 72
    moved.replace(READINGS_INTERVAL, readings(NEXT_DAY), window=NEXT_DAY)
    assert moved.read(READINGS_INTERVAL).height == 144
    moved.close()
    (tmp_path / "there" / "data").rename(tmp_path / "lost")
    with pytest.raises(LakeError, match="data path"):
        Lake(
            catalog=f"sqlite:{tmp_path / 'there' / 'c.sqlite'}",
            data_path=str(tmp_path / "elsewhere"),
            work_folder=tmp_path / "work",
        ).count(READINGS_INTERVAL)


def test_a_column_that_a_contract_gained_is_added(tmp_path: Path) -> None:
    place = {
        "catalog": f"sqlite:{tmp_path / 'c.sqlite'}",
        "data_path": str(tmp_path / "data"),
        "work_folder": tmp_path / "work",
    }
    old = contracts.Table(
        schema=SITES.schema, name=SITES.name, description="old", columns=SITES.columns[:3], key=SITES.key
    )
    nullable = contracts.Table(
        schema=SITES.schema,
        name=SITES.name,
        description="new",
        columns=(*SITES.columns[:3], SITES.column("latitude")),
        key=SITES.key,
    )
    before = Lake(**place, tables=[old])
    before.replace(old, pl.DataFrame({"site_id": ["s"], "name": ["S"], "timezone": ["UTC"]}))
    before.close()

    after = Lake(**place, tables=[nullable])
    assert after.read(nullable).rows() == [("s", "S", "UTC", None)]
    then = after.read(nullable, snapshot_id=after.snapshot_id() - 1)
    assert then.to_dicts() == [{"site_id": "s", "name": "S", "timezone": "UTC"}]

    demanding = Lake(**place, tables=[SITES])
    with pytest.raises(LakeError, match="lacks the column source"):
        demanding.count(SITES)

    after.replace(nullable, nullable.empty())
    emptied = Lake(**place, tables=[SITES])
    assert emptied.read(SITES).schema == SITES.polars_schema
    emptied.close()
    after.close()


def test_writers_in_threads_on_one_table_lose_nothing(any_lake: Lake) -> None:
    windows = [Window.of_days(date(2026, 3, 1) + timedelta(days=number)) for number in range(8)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda window: any_lake.replace(READINGS_INTERVAL, readings(window), window=window), windows * 2))

    days = any_lake.read(READINGS_INTERVAL).group_by(pl.col("starts_at_utc").dt.date()).len()
    assert days["len"].to_list() == [72] * 8


def test_a_second_writer_of_a_table_waits_for_the_first(any_lake: Lake) -> None:
    any_lake.count(READINGS_INTERVAL)  # tables made, so that only the replacement is left to wait
    with ThreadPoolExecutor(1) as pool:
        with writing(any_lake.catalog, [READINGS_INTERVAL.qualified_name]):
            second = pool.submit(any_lake.replace, READINGS_INTERVAL, readings(DAY), window=DAY)
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
        assert second.result().inserted == {READINGS_INTERVAL.qualified_name: 72}


_WRITER = textwrap.dedent(
    """
    import sys
    from datetime import date, timedelta
    from pathlib import Path
    from energy_assets.contracts import READINGS_INTERVAL, Window
    from energy_assets.lake import Lake, opening
    from energy_assets_tests.lake.test_lake import readings

    catalog, folder, first, count, energy = sys.argv[1:]
    lake = Lake(catalog=catalog, data_path=folder + "/data", work_folder=Path(folder, "work" + first))
    for number in range(int(count)):
        window = Window.of_days(date(2026, 3, 1) + timedelta(days=int(first)))
        rows = readings(window, meters=200, energy_kwh=float(energy) + number)
        lake.replace(READINGS_INTERVAL, rows, window=window)
        print("committed", flush=True)
    """
)


def _start_writer(lake: Lake, folder: Path, *, first: int, count: int, energy: float = 1.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, lake.catalog, str(folder), str(first), str(count), str(energy)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )


def test_processes_that_write_at_once_all_succeed(any_lake: Lake, tmp_path: Path) -> None:
    any_lake.count(READINGS_INTERVAL)
    writers = [_start_writer(any_lake, tmp_path, first=number, count=5) for number in range(3)]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0

    days = (
        any_lake.read(READINGS_INTERVAL)
        .group_by(pl.col("starts_at_utc").dt.date())
        .agg(pl.len(), pl.col("energy_kwh").n_unique().alias("versions"))
    )
    assert days["len"].to_list() == [4800] * 3
    assert days["versions"].to_list() == [1] * 3


def test_kill_9_in_the_middle_of_a_replace_leaves_one_version_whole(any_lake: Lake, tmp_path: Path) -> None:
    any_lake.replace(READINGS_INTERVAL, readings(DAY, meters=200, energy_kwh=0.5), window=DAY)
    for delay_s in (0.0, 0.01, 0.03, 0.06, 0.1):
        with _start_writer(any_lake, tmp_path, first=0, count=500) as writer:
            assert writer.stdout is not None
            assert [writer.stdout.readline() for _ in range(2)] == ["committed\n"] * 2
            time.sleep(delay_s)
            writer.send_signal(signal.SIGKILL)
        frame = any_lake.read(READINGS_INTERVAL, DAY)
        assert frame.height == 4800
        assert frame["energy_kwh"].n_unique() == 1
        assert frame["energy_kwh"][0] >= 2.0, "two commits were reported before the kill"


def test_maintenance_merges_files_and_forgets_old_snapshots_but_not_the_kept_one(any_lake: Lake) -> None:
    kept = any_lake.replace(READINGS_INTERVAL, readings(DAY, energy_kwh=1.0), window=DAY).snapshot_id
    forgotten = any_lake.replace(READINGS_INTERVAL, readings(DAY, energy_kwh=2.0), window=DAY).snapshot_id
    for number in range(6):
        window = Window.of_days(date(2026, 3, 2) + timedelta(days=number))
        any_lake.replace(READINGS_INTERVAL, readings(window), window=window)
    before = any_lake.read(READINGS_INTERVAL).sort("meter_id", "starts_at_utc")

    later = datetime.now(UTC) + timedelta(days=31)
    done = maintain(any_lake, now=later, keep_days=30, keep_snapshots=[kept])
    again = maintain(any_lake, now=later, keep_days=30, keep_snapshots=[kept])

    assert done.files_merged > 0
    assert done.snapshots_expired > 0
    assert again.snapshots_expired <= 1
    assert any_lake.read(READINGS_INTERVAL).sort("meter_id", "starts_at_utc").equals(before)
    assert any_lake.read(READINGS_INTERVAL, DAY, snapshot_id=kept)["energy_kwh"].unique().to_list() == [1.0]
    with pytest.raises(Exception, match="snapshot"):
        any_lake.read(READINGS_INTERVAL, DAY, snapshot_id=forgotten)


def test_maintenance_deletes_files_that_a_killed_writer_left(lake: Lake) -> None:
    lake.replace(READINGS_INTERVAL, readings(DAY), window=DAY)
    orphan = Path(lake.data_path) / "readings" / "interval" / "orphan.parquet"
    readings(DAY).write_parquet(orphan)

    fresh = maintain(lake, now=datetime.now(UTC), keep_days=30)
    assert (fresh.orphans_deleted, orphan.exists()) == (0, True), "a running writer may still own a young file"

    done = maintain(lake, now=datetime.now(UTC) + timedelta(days=31), keep_days=30)
    assert done.orphans_deleted == 1
    assert not orphan.exists()
    assert lake.count(READINGS_INTERVAL) == 72
