"""Whether a model store is there at all, asked in two seconds: MLflow's own retries take minutes to say no.

And the limits that its client gets, as MLflow's variables.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from energy_assets.errors import ModelError
from energy_assets.models.versions import UnresolvedModelError

_CONNECT_TIMEOUT_S = 2.0
_DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
_SQLITE_MAGIC = b"SQLite format 3\0"
# Registry calls are small; the uploads of a model go through the same client, hence half a minute and not two seconds.
CLIENT_LIMITS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "DO_NOT_TRACK": "true",
}


def trouble_with_store(uri: str) -> str | None:
    """Return why the store at `uri` cannot be used, or None when something is there that may answer.

    A SQLite file that does not exist yet is no trouble; its folder is made.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme == "sqlite":
        return _trouble_with_file(Path(uri.split(":///", 1)[1]))
    if scheme not in _DEFAULT_PORTS:
        return None
    address = (parts.hostname or "localhost", parts.port or _DEFAULT_PORTS[scheme])
    try:
        socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return f"The model registry at {shown(uri)} cannot be reached: {error}; start it or mend the address."
    return None


def shown(uri: str) -> str:
    """Return a store's address without its user and password, for messages."""
    parts = urlsplit(uri)
    return uri if "@" not in parts.netloc else uri.replace(parts.netloc, parts.netloc.rsplit("@", 1)[1])


def as_ours(error: Any, tracking_uri: str) -> ModelError:
    """Return an error of MLflow as one of ours; those that may heal count as a registry out of reach."""
    message = f"The model registry at {shown(tracking_uri)} answers: {error}"
    if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"):
        return UnresolvedModelError(message, reason="registry_unreachable")
    return ModelError(message)


def _trouble_with_file(path: Path) -> str | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open("rb") as file:
                start = file.read(len(_SQLITE_MAGIC))
            if start not in (b"", _SQLITE_MAGIC):
                return f"The model registry {path} is not a SQLite file; restore it or move it away."
    except OSError as error:
        return f"The model registry {path} cannot be opened: {error}."
    return None
