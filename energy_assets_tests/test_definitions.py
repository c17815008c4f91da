"""The graph as text: a reviewer sees every change of keys and edges; and what the automation may and may not do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from energy_assets.contracts import TABLES
from energy_assets.definitions import defs
from energy_assets.defs.jobs import (
    JOBS,
    PARTITION_RANGE_END,
    PARTITION_RANGE_START,
    SCHEDULES,
    nightly_day,
    nightly_delivery,
    nightly_skill,
    spans_of,
)
from energy_assets.defs.partitions import DAILY, DELIVERY_DATE, issue_time

GRAPH = Path(__file__).with_name("graph.txt")


def drawn() -> str:
    graph = defs.resolve_asset_graph()
    lines = []
    for key in sorted(graph.get_all_asset_keys(), key=str):
        node = graph.get(key)
        parents = ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys))
        checks = ", ".join(sorted(check.name for check in graph.get_check_keys_for_assets({key})))
        lines.append(f"{key.to_user_string()} <- {parents or 'sources'} [{checks or 'unchecked'}]")
    return "\n".join(lines) + "\n"


def test_the_graph_is_the_one_that_was_reviewed() -> None:
    """When the change is meant, write the new graph: `python -m energy_assets_tests.test_definitions`."""
    assert drawn() == GRAPH.read_text()


def test_every_asset_that_is_a_table_has_its_contract_checked_and_shows_its_columns() -> None:
    graph = defs.resolve_asset_graph()
    tables = {"/".join(table.asset_key): table for table in TABLES}
    for key in graph.get_all_asset_keys():
        name = key.to_user_string()
        if name in tables:
            checks = {check.name for check in graph.get_check_keys_for_assets({key})}
            assert "meets_its_contract" in checks, name
            assert graph.get(key).metadata["dagster/table_name"] == tables[name].qualified_name
            assert graph.get(key).description, name
            assert graph.get(key).owners, name


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_job_resolves(job: dg.JobDefinition) -> None:
    assert defs.resolve_job_def(job.name).nodes


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param(nightly_delivery, "2026-11-22", id="delivery of tomorrow"),
        pytest.param(nightly_skill, "2026-11-19", id="skill of the delivery date that is read to its end"),
    ],
)
def test_the_night_asks_for_the_right_partition(schedule: dg.ScheduleDefinition, expected: str) -> None:
    context = dg.build_schedule_context(scheduled_execution_time=datetime.fromisoformat("2026-11-21T02:30:00+00:00"))
    assert schedule(context).partition_key == expected


def test_the_night_reads_yesterday_and_the_day_before_once_more() -> None:
    context = dg.build_schedule_context(scheduled_execution_time=datetime.fromisoformat("2026-11-21T02:30:00+00:00"))
    tags = nightly_day(context).tags
    assert (tags[PARTITION_RANGE_START], tags[PARTITION_RANGE_END]) == ("2026-11-19", "2026-11-20")


def test_schedules_run_without_being_switched_on() -> None:
    assert all(schedule.default_status == dg.DefaultScheduleStatus.RUNNING for schedule in SCHEDULES)


def test_tomorrow_is_a_delivery_date_and_today_is_no_day_of_data() -> None:
    today = datetime.now(UTC).date()
    expected = [(today + timedelta(days=1)).isoformat(), (today - timedelta(days=1)).isoformat()]
    assert [DELIVERY_DATE.get_last_partition_key(), DAILY.get_last_partition_key()] == expected


def test_a_delivery_date_is_issued_at_the_start_of_the_day_before() -> None:
    assert issue_time(date(2026, 11, 22), issue_hour_utc=0) == datetime.fromisoformat("2026-11-21T00:00:00+00:00")
    assert issue_time(date(2026, 11, 22), issue_hour_utc=5) == datetime.fromisoformat("2026-11-21T05:00:00+00:00")


def test_changed_days_become_as_few_ranges_as_possible() -> None:
    days = [date(2026, 1, day) for day in (1, 2, 3, 7, 9, 10)]
    assert list(spans_of(days)) == [
        (date(2026, 1, 1), date(2026, 1, 3)),
        (date(2026, 1, 7), date(2026, 1, 7)),
        (date(2026, 1, 9), date(2026, 1, 10)),
    ]
    assert list(spans_of([])) == []


if __name__ == "__main__":
    GRAPH.write_text(drawn())
