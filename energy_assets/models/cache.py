"""Local copies of registered archives, and which version last served under an alias: a folder, nothing of MLflow."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from energy_assets.errors import ModelError
from energy_assets.models.archive import ARCHIVE_NAME, Model, fingerprint, read_archive
from energy_assets.models.versions import LoadedModel, UnresolvedModelError


@dataclass(frozen=True, kw_only=True)
class Found:
    """A version that the registry knows, not loaded yet."""

    name: str
    version: int
    tags: Mapping[str, str]

    @property
    def digest(self) -> str | None:
        """Return the SHA-256 that the archive had on registration."""
        return self.tags.get("archive_sha256")


def cached_archive(folder: Path, found: Found) -> Path | None:
    """Return the cached archive of a version if it is there and whole."""
    path = _archive_path(folder, found)
    return path if path.is_file() and fingerprint(path) == found.digest else None


def loaded(
    found: Found, *, folder: Path | None, fetch: Callable[[Found, Path], Path], notice: str | None
) -> LoadedModel:
    """Return a version in memory, from its cached archive or from the one that `fetch` puts into a folder.

    Raises:
        UnresolvedModelError: with reason `model_broken`, or what `fetch` raises.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = None if folder is None else cached_archive(folder, found)
        if path is None:
            path = fetch(found, Path(scratch))
            if folder is not None:
                keep_archive(folder, found, path)
        variants = read_whole(path, found)
    return LoadedModel(name=found.name, version=found.version, variants=variants, tags=found.tags, notice=notice)


def read_whole(path: Path, found: Found) -> dict[str, Model]:
    """Return the variants of a version from its archive, if it is bit for bit the one that was registered.

    Raises:
        UnresolvedModelError: with reason `model_broken` where it is another, or cannot be loaded.
    """
    if fingerprint(path) != found.digest:
        raise UnresolvedModelError(
            f"The archive of {found.name} version {found.version} is not the one that was registered "
            f"(SHA-256 differs); `energy models train {found.name}` makes another, `energy models rollback` brings the "
            f"former one back.",
            reason="model_broken",
        )
    try:
        return read_archive(path)
    except ModelError as error:
        raise UnresolvedModelError(
            f"{found.name} version {found.version} was made by other code than this and does not load any more; "
            f"`energy models train {found.name}` makes another. {error}",
            reason="model_broken",
        ) from error


def keep_archive(folder: Path, found: Found, archive: Path) -> None:
    """Copy an archive into the cache; readers see the old file or the new one, never a part."""
    path = _archive_path(folder, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    shutil.copyfile(archive, partial)
    partial.replace(path)


def drop_cached(folder: Path | None, *, name: str, version: int) -> None:
    """Remove the cached archive of a version, if it is there."""
    if folder is not None:
        shutil.rmtree(folder / name / str(version), ignore_errors=True)


def remember(folder: Path, found: Found, *, alias: str) -> None:
    """Note which version an alias pointed to, for the night when the registry cannot be asked."""
    pointer = _pointer_path(folder, found.name, alias)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    partial = pointer.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps({"version": found.version, "tags": dict(found.tags)}), encoding="utf-8")
    partial.replace(pointer)


def last_known(folder: Path, *, name: str, alias: str) -> Found | None:
    """Return the version that an alias last pointed to, if its archive is in the cache and whole."""
    pointer = _pointer_path(folder, name, alias)
    if not pointer.is_file():
        return None
    known = json.loads(pointer.read_text(encoding="utf-8"))
    found = Found(name=name, version=int(known["version"]), tags=known["tags"])
    return found if cached_archive(folder, found) is not None else None


def _archive_path(folder: Path, found: Found) -> Path:
    return folder / found.name / str(found.version) / ARCHIVE_NAME


def _pointer_path(folder: Path, name: str, alias: str) -> Path:
    return folder / name / f"{alias}.json"
