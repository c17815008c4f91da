"""What a source of readings is, where it is declared, and what staging one returns.

A source is one TOML file in `<home>/sources/`. Parsers (`ashrae`, `bdg2`, `tabular`) meet `stage`'s protocol; nothing
here reads a reading, and nothing here or in a parser touches the lake.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

import duckdb
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from energy_assets.contracts import Window
from energy_assets.errors import ConfigError
from energy_assets.sql import Query

Option = bool | int | float | str
_FILE_OPTIONS = ("weather_observed", "weather_forecast", "weather_mapping")


class Source(BaseModel):
    """One declared source of readings: where it lies and how it is to be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        description="Slug of the source: the `source` of its readings and the first part of its meter ids."
    )
    kind: Literal["ashrae", "bdg2", "table", "mqtt"] = Field(description="Which parser reads it.")
    path: Path = Field(description="Folder (ashrae, bdg2, mqtt) or file (table, mqtt) of it.")
    mapping: Path | None = Field(None, description="Declares the columns of a table or the messages of MQTT.")
    reporting_delay_minutes: Annotated[int, Field(ge=0)] = Field(
        0, description="How long after the end of an interval its reading can be known."
    )
    options: dict[str, Option] = Field(default_factory=dict, description="Settings of the parser, by name.")

    @property
    def folder(self) -> Path:
        """Return the folder in which it lies, where relative paths of its options start."""
        return self.path if self.path.is_dir() else self.path.parent

    def files(self) -> dict[str, Path]:
        """Return what it reads by the key that names it: its path, its mapping, and the files of its options."""
        named = {"path": self.path} | ({} if self.mapping is None else {"mapping": self.mapping})
        return named | {key: self.folder / str(self.options[key]) for key in _FILE_OPTIONS if key in self.options}


@dataclass(frozen=True, kw_only=True)
class Registry:
    """What a source declares of its meters: frames that conform to metering.sites, .premises and .meters."""

    sites: pl.DataFrame
    premises: pl.DataFrame
    meters: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The account of one staging; `rows_in == stored + duplicate + quarantined + ignored` always holds.

    `ignored` are messages that a mapping of MQTT ignores on purpose.
    """

    rows_in: int
    stored: int
    duplicate: int
    quarantined: int
    ignored: int = 0

    @property
    def is_balanced(self) -> bool:
        """Return whether every row that came in went somewhere."""
        return self.rows_in == self.stored + self.duplicate + self.quarantined + self.ignored


@dataclass(frozen=True, kw_only=True)
class Staged:
    """Rows that wait in temp tables of one connection, as queries whose columns are those of the contracts, in order.

    `raw` gives readings.raw, `quarantine` readings.quarantine and `landings` readings.landings. They read temp tables
    only: the files may change once staging has returned. `registry` and `weather` are None where the source declares
    none, and `registry` also where a window was staged, because a part cannot say which meters there are.
    """

    source: Source
    batch_ids: tuple[str, ...]
    raw: Query
    quarantine: Query
    landings: Query
    counts: Counts
    registry: Registry | None = None
    weather: pl.DataFrame | None = None


class Stage(Protocol):
    """A parser: reads the rows of `source` in `window` (None: all) into temp tables of `connection`.

    The connection's TimeZone is UTC. The temp tables (`staged_raw`, `staged_quarantine`, ...) are replaced, so that
    one connection holds one staged source at a time. A window gives its own rows, and all quarantined rows whose time
    could not be read. `now` is the landing time: `landed_at_utc`, and `available_at_utc` of quarantined rows.
    """

    def __call__(
        self, connection: duckdb.DuckDBPyConnection, source: Source, *, window: Window | None, now: datetime
    ) -> Staged:
        """Return what was staged.

        Raises:
            SourceError: a file is missing, empty, truncated, changed while read, or lacks a column.
        """
        ...


def load_sources(folder: Path) -> list[Source]:
    """Return the sources that the TOML files of `folder` declare, by name; a folder that is absent declares none.

    Raises:
        ConfigError: a file is not TOML, has an unknown or wrong key, or is not named after its source.
    """
    return [load_source(path) for path in sorted(folder.glob("*.toml"))]


def load_source(path: Path) -> Source:
    """Return the source that one TOML file declares; relative paths in it start at the file's folder.

    Raises:
        ConfigError: as `load_sources`.
    """
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}. Mend the line, or declare the source again.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Check that it exists and its rights.") from error
    try:
        source = Source.model_validate(declared)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_faults_of(error)}. Keys are: {', '.join(Source.model_fields)}.") from error
    if source.name != path.stem:
        raise ConfigError(f"{path}: key name is {source.name!r}; name the file {source.name}.toml or mend the key.")
    located = {"path": _beside(path.parent, source.path)}
    if source.mapping is not None:
        located["mapping"] = _beside(path.parent, source.mapping)
    return source.model_copy(update=located)


def save_source(folder: Path, source: Source) -> Path:
    """Write `source` to `<folder>/<name>.toml`, replacing an earlier declaration; return the file.

    `folder` lies in the home. Paths into the home are written relative, so that it can be moved; others absolute.

    Raises:
        ConfigError: the folder cannot be written.
    """
    fields = source.model_dump(mode="json", exclude_none=True, exclude={"options"})
    home = folder.resolve().parent
    fields |= {
        key: _portable(Path(fields[key]), home=home, start=folder) for key in ("path", "mapping") if key in fields
    }
    lines = [f"{key} = {_toml_value(value)}" for key, value in fields.items()]
    options = {
        key: _portable(Path(str(value)), home=home, start=source.folder)
        if key in _FILE_OPTIONS and Path(str(value)).is_absolute()
        else value
        for key, value in source.options.items()
    }
    if options:
        lines += ["", "[options]", *(f"{_toml_value(key)} = {_toml_value(v)}" for key, v in options.items())]
    target = folder / f"{source.name}.toml"
    draft = target.with_suffix(".toml.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}. Check the folder and its rights.") from error
    return target


def _portable(path: Path, *, home: Path, start: Path) -> str:
    """Return a path as it is written down: from `start` where both lie in the home, else from the root."""
    found, start = path.resolve(), start.resolve()
    is_inside = found.is_relative_to(home) and start.is_relative_to(home)
    return os.path.relpath(found, start) if is_inside else str(found)


def _beside(folder: Path, path: Path) -> Path:
    return Path(os.path.normpath(folder / path))


def _toml_value(value: Option) -> str:
    # A JSON scalar is a TOML scalar, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _faults_of(error: ValidationError) -> str:
    return "; ".join(
        f"key {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']} (got {fault['input']!r})"
        for fault in error.errors()
    )
