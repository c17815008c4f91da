"""Whether a model store is there at all, asked in two seconds: MLflow's own retries take minutes to say no."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

_CONNECT_TIMEOUT_S = 2.0
_DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
_SQLITE_MAGIC = b"SQLite format 3\0"


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
