"""What the Dagster UI asks the webserver for: runs launched by GraphQL, and how they ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import requests

_SELECTOR = {"repositoryLocationName": "energy_assets", "repositoryName": "__repository__"}
_LAUNCH = """
mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } ... on UnauthorizedError { message }
  ... on PipelineNotFoundError { message } } }
"""
_RUN = """query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"""


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

    def ended(self, run_id: str, *, within_s: float = 120) -> str:
        """Wait until a run ended and return its status."""
        deadline = time.monotonic() + within_s
        while True:
            status = str(self.ask(_RUN, id=run_id)["runOrError"]["status"])
            if status in {"SUCCESS", "FAILURE", "CANCELED"}:
                return status
            assert time.monotonic() < deadline, f"still {status} after {within_s:.0f} s"
            time.sleep(0.5)
