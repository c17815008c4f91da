"""What people declare in TOML files: frozen fields, time zones that exist, errors that name the file and the field."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from energy_assets.errors import ConfigError


class Frozen(BaseModel):
    """Configuration that does not change and knows its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def existing_timezone(name: str) -> str:
    """Return the name of a time zone that exists.

    Raises:
        ValueError: it is not an IANA time zone.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone") from error
    return name


TimeZoneName = Annotated[str, AfterValidator(existing_timezone)]
Declared = TypeVar("Declared", bound=Frozen)


def read_declared(path: Path, *, model: type[Declared], defaults: Mapping[str, object], subject: str) -> Declared:
    """Return what a TOML file declares; `defaults` stand in for fields that it does not name.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or a field is unknown or out of range.
    """
    try:
        return model.model_validate({**defaults, **tomllib.loads(path.read_text(encoding="utf-8"))})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{subject.capitalize()} file {path} cannot be read: {error}. Give a TOML file of {subject} fields."
        ) from error
    except ValidationError as error:
        raise ConfigError(faults_of(error, path=path, subject=subject)) from error


def faults_of(error: ValidationError, *, path: Path, subject: str) -> str:
    """Return what is wrong with a file's fields, by name."""
    faults = "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {_said(fault)}" if fault["loc"] else _said(fault)
        for fault in error.errors()
    )
    return f"{subject.capitalize()} file {path} does not declare a {subject}: {faults}."


def _said(fault: ErrorDetails) -> str:
    """Return what a fault says, in the words of who wrote the file."""
    if fault["type"] == "extra_forbidden":
        return "there is no such field"
    return fault["msg"].removeprefix("Value error, ")
