"""docker-compose.yml as it stands: every service as a process on a real Postgres, a run from UI to lake, a stop."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from energy_assets import contracts
from energy_assets.community import generate
from energy_assets.defs.jobs import PARTITION_RANGE_END, PARTITION_RANGE_START
from energy_assets.lake import Lake
from energy_assets_tests.deployment import PASSWORD, ROOT, Deployment, Postgres, is_listening
from energy_assets_tests.graphql import Webserver

FIRST, LAST = date(2026, 8, 1), date(2026, 9, 20)
SERVICES = ("mlflow", "code", "webserver", "daemon")


def declared() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("name", sorted(declared()["services"]))
def test_a_service_is_one_that_may_be_left_alone(name: str) -> None:
    service = declared()["services"][name]
    if name == "instance":  # runs once, and its end is waited for
        assert declared()["services"]["code"]["depends_on"][name]["condition"] == "service_completed_successfully"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["mem_limit"]
    assert re.fullmatch(r"[a-z_-]+:\d+\.\d+[\w.-]*", service["image"].rsplit("/", 1)[-1]), "pinned to a version"
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["logging"]["options"]["max-size"]


def test_no_password_stands_in_the_file_and_every_variable_is_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = (ROOT / "deploy" / ".env.example").read_text(encoding="utf-8")
    assert not re.findall(r"PASSWORD: (?!\$\{)\S", text)
    assert not re.findall(r"://\w+:[^/@\s]+@", text), "an address carries a password"
    for variable in re.findall(r"\$\{(\w+)", text):
        assert re.search(rf"^(# )?{variable}=", example, re.MULTILINE), variable
    assert not re.findall(r"^\w+=.+", example, re.MULTILINE)


@pytest.mark.parametrize("dockerfile", ["deploy/Dockerfile", "mlflow/Dockerfile"])
def test_our_images_are_pinned_and_do_not_run_as_root(dockerfile: str) -> None:
    lines = (ROOT / dockerfile).read_text(encoding="utf-8").splitlines()
    assert re.match(r"FROM python:3\.\d+\.\d+-slim-\w+", next(line for line in lines if line.startswith("FROM")))
    assert lines[-1] == f"USER {'energy' if 'deploy' in dockerfile else 'mlflow'}"
    assert any("--require-hashes" in line for line in lines)


def test_every_file_that_is_mounted_or_copied_exists() -> None:
    for service in declared()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            else:
                assert source in declared()["volumes"]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    # Not in pytest's folder: Postgres does not run as root, and may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="energy-assets-compose-"))
    folder.chmod(0o755)
    (folder / "postgres").mkdir()
    postgres = Postgres(folder / "postgres", user="energy", database="lake")
    postgres.psql("lake", "-v", "ON_ERROR_STOP=1", "-f", str(ROOT / "deploy" / "postgres-init.sql"))
    made = Deployment(folder, postgres=postgres)
    try:
        made.await_health("postgres")
        migrated = made.run_once("instance")
        assert migrated.returncode == 0, migrated.stderr
        for name in SERVICES:
            made.start(name)
            # As depends_on has it: the next only when this one is healthy.
            made.await_health(name)
        yield made
    finally:
        made.stop_all()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_run_from_the_webserver_ends_in_the_lake_on_postgres(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = deployment.folder / "sources"
    generate(sources, buildings=3, households=0, first_day=FIRST, last_day=LAST, seed=1)
    ingested = deployment.energy("ingest", "ashrae", str(sources / "ashrae"))
    assert ingested.returncode == 0, ingested.stdout + ingested.stderr

    webserver = Webserver(deployment.ports["webserver"])
    span = {PARTITION_RANGE_START: FIRST.isoformat(), PARTITION_RANGE_END: LAST.isoformat()}
    tomorrow = (LAST + timedelta(days=2)).isoformat()
    delivery = {PARTITION_RANGE_START: tomorrow, PARTITION_RANGE_END: tomorrow}
    for job, tags in (("history", span), ("training", {}), ("delivery", delivery)):
        run_id = webserver.launch(job, tags=tags)
        assert webserver.ended(run_id) == "SUCCESS", (job, deployment.log("code")[-3000:])

    environment = deployment.environment("code")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    lake = Lake(
        catalog=environment["ENERGY_ASSETS_LAKE_CATALOG"],
        data_path=environment["ENERGY_ASSETS_LAKE_DATA"],
        work_folder=deployment.folder / "work",
    )
    assert lake.count(contracts.READINGS_INTERVAL) > 3 * 24 * 40
    served = lake.read(contracts.FORECASTS_LOAD, columns=["node_id", "node_kind", "method"])
    meters = set(lake.read(contracts.METERS)["meter_id"])
    assert meters <= set(served["node_id"])
    # Either variant of the champion was registered on, and fetched from, the MLflow server.
    assert {"champion", "without_weather"} & set(served["method"])
    lake.close()


@pytest.mark.slow
def test_a_backup_that_was_restored_is_the_same_lake(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of docs/operations.md, on the databases as they run."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    dump = str(deployment.folder / "lake.dump")
    deployment.postgres_tool("pg_dump", "-Fc", "-f", dump, "lake")
    deployment.postgres_tool("createdb", "restored")
    deployment.postgres_tool("pg_restore", "-d", "restored", "--exit-on-error", dump)
    environment = deployment.environment("code")
    catalog = environment["ENERGY_ASSETS_LAKE_CATALOG"]
    counts = []
    for chosen in (catalog, catalog.replace("dbname=lake", "dbname=restored")):
        lake = Lake(
            catalog=chosen,
            data_path=environment["ENERGY_ASSETS_LAKE_DATA"],
            work_folder=deployment.folder / "work",
        )
        counts.append([lake.count(table) for table in contracts.TABLES] + [lake.snapshot_id()])
        lake.close()
    assert counts[0] == counts[1]
    assert sum(counts[0]) > 3 * 24 * 40


@pytest.mark.slow
@pytest.mark.parametrize("name", [*reversed(SERVICES)])
def test_a_service_stops_when_told(deployment: Deployment, name: str) -> None:
    assert deployment.stop(name) in {0, -15, 143}
    if name in deployment.ports:
        assert not is_listening(deployment.ports[name])
