"""Which versions of a model may go: those that nobody would bring back, compare with, or make a forecast again with.

The newest stay, those under an alias, and those that a stored forecast of recent days was made with; with a version go
its run, its artifacts and the claim on its lake snapshot. The record of promotions stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from energy_assets.models.versions import Listed

_LOGGED = "models:/"


def superseded(versions: Sequence[Listed], *, newest: int, used: Collection[int]) -> list[Listed]:
    """Return the versions of one model that may go, newest first.

    `newest` of them stay, whatever they are; so does every one with an alias, and those whose number is in `used`.
    """
    ordered = sorted(versions, key=lambda each: -each.version)
    return [each for each in ordered[newest:] if not each.aliases and each.version not in used]


def versions_by_model(served: Iterable[str]) -> dict[str, set[int]]:
    """Return the numbers of versions by model from texts `<model>/<version>`, as forecasts name what made them."""
    found: dict[str, set[int]] = {}
    for each in served:
        name, _, version = each.rpartition("/")
        found.setdefault(name, set()).add(int(version))
    return found


def forget(client: Any, name: str, version: int, *, folder: Path | None) -> None:
    """Delete a version with its run and its logged model at a client of the registry, and their files within `folder`.

    On a server the artifacts wait for its own `mlflow gc`.
    """
    found = client.get_model_version(name, str(version))
    model_id = found.source.removeprefix(_LOGGED) if (found.source or "").startswith(_LOGGED) else None
    addresses = []
    if model_id:
        addresses.append(client.get_logged_model(model_id).artifact_location)
    if found.run_id:
        addresses.append(client.get_run(found.run_id).info.artifact_uri)
    client.delete_model_version(name, str(version))
    if model_id:
        client.delete_logged_model(model_id)
    if found.run_id:
        client.delete_run(found.run_id)
    for address in addresses:
        path = _path_of(address)
        if path is not None and folder is not None and path.is_relative_to(folder.resolve()):
            shutil.rmtree(path, ignore_errors=True)


def _path_of(address: str) -> Path | None:
    parts = urlsplit(address)
    return Path(unquote(parts.path)).resolve() if parts.scheme in ("", "file") else None
