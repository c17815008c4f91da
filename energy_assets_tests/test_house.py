"""What holds the house together: names that must agree, locks without an index, a folder that must not be a package."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "energy_assets").rglob("*.py"))


def test_the_mlflow_folder_does_not_shadow_the_package() -> None:
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_every_way_of_starting_dagster_names_one_location() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]["code_location_name"]
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]["location_name"]
    production = yaml.safe_load((ROOT / "deploy" / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert declared == workspace == production["location_name"] == "energy_assets"


@pytest.mark.parametrize("name", ["bootstrap.txt", "run.txt", "all.txt"])
def test_locks_have_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    pins = re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE)
    assert pins
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text
    assert "index-url" not in text


def test_users_get_no_gpu_runtime_and_no_test_tools() -> None:
    text = (ROOT / "requirements" / "run.txt").read_text()
    for package in ("nvidia", "pytest==", "playwright==", "mypy==", "lightgbm=="):
        assert package not in text


def test_the_compose_file_has_no_secret_and_binds_this_host_only() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert port.startswith(("127.0.0.1:", "${MQTT_BIND:-127.0.0.1}:")), name
    assert "${POSTGRES_PASSWORD:?" in (ROOT / "docker-compose.yml").read_text()


def test_the_embedded_instance_is_the_same_from_the_root_and_from_energy() -> None:
    from energy_assets import instance

    root = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    written = yaml.safe_load(instance._CONFIG.format(folder=".energy/dagster"))
    for place in ("local_artifact_storage", "compute_logs"):
        del root[place]
    assert written == root


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_they_are_for_and_stay_short(path: Path) -> None:
    text = path.read_text()
    assert text.removeprefix("#!/usr/bin/env python3\n").startswith('"""'), (
        "a module opens by saying what belongs in it"
    )
    # The ledger's verifier is one file on purpose: a stranger copies it and runs it.
    if path.name != "verifier.py":
        assert len(text.splitlines()) <= 400, "split it by subject"


def test_definitions_load_without_the_heavy_libraries() -> None:
    heavy = ("mlflow", "xgboost", "cvxpy", "sklearn", "matplotlib", "pvlib")
    code = f"import sys, energy_assets.definitions; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
