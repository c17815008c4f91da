"""`energy up` on a home, a headless Chromium where one is installed, and what the UI's own requests say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from energy_assets.supervisor import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_READY_WITHIN_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A running `energy up`: its process and the addresses of its interfaces."""

    process: subprocess.Popen[str]
    dagster: str
    mlflow: str

    def ask(self, query: str, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return what Dagster's GraphQL says, as the UI asks for it."""
        answer = requests.post(
            f"{self.dagster}/graphql", json={"query": query, "variables": dict(variables or {})}, timeout=60
        ).json()
        assert "errors" not in answer, answer["errors"]
        found: dict[str, Any] = answer["data"]
        return found


@contextmanager
def up(home: Path) -> Iterator[Platform]:
    """Run `energy up` until the block ends; then it must have stopped cleanly, its children with it."""
    ports = free_port("127.0.0.1"), free_port("127.0.0.1")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ENERGY_ASSETS", "DAGSTER"))}
    environment |= {
        "ENERGY_ASSETS_HOME": str(home),
        "ENERGY_ASSETS_DAGSTER_PORT": str(ports[0]),
        "ENERGY_ASSETS_MLFLOW_PORT": str(ports[1]),
        "ENERGY_ASSETS_BROKER_PORT": str(free_port("127.0.0.1")),
        "PYTHONUNBUFFERED": "1",
    }
    command = [str(Path(sys.executable).parent / "energy"), "up"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=home) as process:
        assert process.stdout is not None
        deadline = time.monotonic() + _READY_WITHIN_S
        for line in process.stdout:
            if "Ctrl-C" in line or time.monotonic() > deadline:
                break
        assert process.poll() is None, "energy up ended by itself"
        try:
            yield Platform(
                process=process, dagster=f"http://127.0.0.1:{ports[0]}", mlflow=f"http://127.0.0.1:{ports[1]}"
            )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert process.returncode == 0
    for port in ports:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}", timeout=5)


@contextmanager
def browser() -> Iterator[Page]:
    """Open a page of a headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: the pages are not opened")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        try:
            yield page
        finally:
            chromium.close()


BACKFILL = """
mutation ($assets: [AssetKeyInput!], $partitions: [String!]) {
  launchPartitionBackfill(backfillParams: {assetSelection: $assets, partitionNames: $partitions}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status numPartitions }
  }
}
"""
