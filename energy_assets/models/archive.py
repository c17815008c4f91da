"""One file that holds the variants of a model: `full`, and `without_weather` for the rung below it.

The registry stores this file because uploads of folders merge with what was there, whereas a file is whole or broken.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import polars as pl

from energy_assets.errors import ModelError

FULL = "full"
WITHOUT_WEATHER = "without_weather"
ARCHIVE_NAME = "variants.zip"
_LOADER_FILE = "loader.txt"
_LOADER_PACKAGES = ("energy_assets", "energy_assets_tests")
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError),  # torn
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, ImportError, pl.exceptions.PolarsError),  # of others
)
"""What reading an archive raises that is torn, or that another version of this package wrote."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Model(Protocol):
    """What the registry asks of a model: predict from features, and save itself into a folder.

    The module of its class also has `load(folder)`, which returns what `save` wrote.
    """

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return key columns and quantiles in kWh for every row of `features`."""

    def save(self, folder: Path) -> None:
        """Write everything that `load` of the same module needs into `folder`."""


def write_archive(variants: Mapping[str, Model], path: Path) -> str:
    """Write the variants into one zip file with fixed time stamps and return its SHA-256.

    Raises:
        ModelError: the variant `full` is not among them.
    """
    if FULL not in variants:
        raise ModelError(f"A model archive needs the variant {FULL!r}; got {sorted(variants)}.")
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(path, "w") as archive:
        for name, model in variants.items():
            folder = Path(scratch) / name
            folder.mkdir()
            model.save(folder)
            (folder / _LOADER_FILE).write_text(type(model).__module__, encoding="utf-8")
            for file in sorted(each for each in folder.rglob("*") if each.is_file()):
                entry = zipfile.ZipInfo(f"{name}/{file.relative_to(folder).as_posix()}", date_time=_EPOCH)
                archive.writestr(entry, file.read_bytes(), compress_type=zipfile.ZIP_DEFLATED)
    return fingerprint(path)


def read_archive(path: Path) -> dict[str, Model]:
    """Return the variants of an archive, ready to predict.

    Raises:
        ModelError: the file is torn, lacks the variant `full`, or holds a model that cannot be loaded.
    """
    try:
        with tempfile.TemporaryDirectory() as scratch:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(scratch)
            variants = {each.name: _load(each) for each in sorted(Path(scratch).iterdir())}
    except _UNREADABLE as error:
        said = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error)
        raise ModelError(f"The model archive {path.name} cannot be loaded: {said}; train the model again.") from error
    if FULL not in variants:
        raise ModelError(f"The model archive {path.name} has no variant {FULL!r}; train the model again.")
    return variants


def _load(folder: Path) -> Model:
    """Return the model in a folder by the `load` of the module that wrote it; only modules of ours are imported."""
    name = (folder / _LOADER_FILE).read_text(encoding="utf-8").strip()
    if name.split(".")[0] not in _LOADER_PACKAGES:
        raise ValueError(f"{folder.name} wants to be loaded by {name!r}, which is not a module of energy_assets")
    model: Model = importlib.import_module(name).load(folder)
    return model


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
