"""What the Dagster UI asks the webserver for: runs and backfills launched by GraphQL, and how they ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import requests

_SELECTOR = {"repositoryLocationName": "energy_assets", "repositoryName": "__repository__"}
_LAUNCH = """
mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } ... on UnauthorizedError { message }
  ... on PipelineNotFoundError { message } } }
"""
_BACKFILL = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""
_RUN = """query ($id: ID!) { runOrError(runId: $id) { ... on Run { status
  stepStats { stepKey status } } } }"""
_STATE = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status isAssetBackfill runs { runId status tags { key value } } } } }"""


class Webserver:
    """The GraphQL of a Dagster webserver."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: object) -> Any:
        """Return the answer's data."""
        answer = requests.post(self._url, json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def launch(self, job: str, *, tags: Mapping[str, str]) -> str:
        """Launch a job and return the run's id."""
        params = {
            "selector": {**_SELECTOR, "jobName": job},
            "mode": "default",
            "runConfigData": "{}",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self.ask(_LAUNCH, params=params)["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def backfill(self, assets: Sequence[Sequence[str]], *, partitions: Sequence[str]) -> str:
        """Launch a backfill of assets over partitions, as the UI's button does, and return its id."""
        params = {"assetSelection": [{"path": list(key)} for key in assets], "partitionNames": list(partitions)}
        answer = self.ask(_BACKFILL, params=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def ended(self, run_id: str, *, within_s: float = 120) -> str:
        """Wait until a run ended and return its status."""
        return self._until(lambda: self.ask(_RUN, id=run_id)["runOrError"]["status"], within_s=within_s)

    def backfilled(self, backfill_id: str, *, within_s: float = 180) -> Any:
        """Wait until a backfill ended and return what is known of it."""
        found: dict[str, Any] = {}

        def status() -> str:
            found.update(self.ask(_STATE, id=backfill_id)["partitionBackfillOrError"])
            return str(found["status"])

        self._until(status, within_s=within_s)
        return found

    def _until(self, status: Any, *, within_s: float) -> str:
        deadline = time.monotonic() + within_s
        while True:
            found = str(status())
            if found in {"SUCCESS", "FAILURE", "CANCELED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED"}:
                return found
            assert time.monotonic() < deadline, f"still {found} after {within_s:.0f} s"
            time.sleep(0.5)
