"""Anybody's weather file by a declared mapping: which columns hold what, in which units, on which clock.

The whole format of the mapping, a TOML file:

    [time]
    column = "timestamp"                 # start of the interval
    zone = "Europe/London"               # default UTC
    format = "%d/%m/%Y %H:%M"            # default: ISO 8601 or Parquet time stamps

    [site]
    id = "cambridge.main"                # one site for all rows, or
    column = "station"                   # a column; {source}. is put before its values
    [site.rename]                        # a value of the column -> the site id to use
    "EGSC" = "cambridge.main"

    [quantities.temperature_c]           # a quantity of weather.observed
    column = "temp"
    unit = "degF"                        # see UNITS

    [forecast]                           # only of forecasts: the column with the time of issue, on UTC
    issued_column = "issued_at"

Cadences finer than an hour become hours: means, sums of precipitation, and the mean direction of the wind. Stamps may
carry an offset of their own, which then counts instead of the zone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import available_timezones

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from energy_assets.contracts import WEATHER_QUANTITIES, Window
from energy_assets.errors import ConfigError
from energy_assets.weather.judging import Cell, Judged, Layout, instant_of, judge
from energy_assets.weather.lines import read_lines

UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "_c": {"degC": (1, 0), "degF": (5 / 9, -160 / 9), "K": (1, -273.15)},
    "_fraction": {"fraction": (1, 0), "percent": (0.01, 0), "oktas": (0.125, 0)},
    "_ms": {"m/s": (1, 0), "km/h": (1 / 3.6, 0), "mph": (0.44704, 0), "kn": (1852 / 3600, 0)},
    "_deg": {"deg": (1, 0)},
    "_mm": {"mm": (1, 0), "in": (25.4, 0), "m": (1000, 0)},
    "_m": {"m": (1, 0), "cm": (0.01, 0), "in": (0.0254, 0)},
    "_hpa": {"hPa": (1, 0), "Pa": (0.01, 0), "kPa": (10, 0), "inHg": (33.86389, 0), "mmHg": (1.333224, 0)},
    "_w_m2": {"W/m2": (1, 0), "kW/m2": (1000, 0), "J/m2 per hour": (1 / 3600, 0), "Wh/m2 per hour": (1, 0)},
}
"""Units by the ending of a quantity's name: factor and summand that turn a value into ours."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Time(_Part):
    column: str
    zone: str = "UTC"
    format: str | None = None


class _Site(_Part):
    id: str | None = None
    column: str | None = None
    rename: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_two(self) -> _Site:
        if (self.id is None) == (self.column is None):
            raise ValueError("give either id or column")
        return self


class _Quantity(_Part):
    column: str
    unit: str


class _Forecast(_Part):
    issued_column: str


class WeatherMapping(_Part):
    """What a weather file's columns mean; see the module for its format."""

    time: _Time
    site: _Site
    quantities: dict[str, _Quantity]
    forecast: _Forecast | None = None

    @model_validator(mode="after")
    def _known(self) -> WeatherMapping:
        if self.time.zone not in available_timezones():
            raise ValueError(f"time.zone {self.time.zone!r} is no IANA zone")
        for name, quantity in self.quantities.items():
            if name not in WEATHER_QUANTITIES:
                raise ValueError(f"quantity {name!r} is unknown; choose from {', '.join(WEATHER_QUANTITIES)}")
            if quantity.unit not in units_of(name):
                raise ValueError(f"{name} cannot be in {quantity.unit!r}; choose from {', '.join(units_of(name))}")
        return self


def units_of(quantity: str) -> Mapping[str, tuple[float, float]]:
    """Return the units that a quantity may come in."""
    return UNITS[max((ending for ending in UNITS if quantity.endswith(ending)), key=len)]


def load_weather_mapping(path: Path) -> WeatherMapping:
    """Return the mapping in a TOML file.

    Raises:
        ConfigError: the file is missing or wrong; the message names the key.
    """
    try:
        return WeatherMapping.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}, the mapping of a weather file, cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"{path}{': ' + key if key else ''}: {fault['msg']}.") from error


def read_mapped(path: Path, mapping: WeatherMapping, *, source: str, window: Window) -> Judged:
    """Return what becomes of the rows of a file in the layout of a mapping.

    Raises:
        SourceError: the file is missing, not readable, or lacks a column of the mapping.
    """
    lines = read_lines(path)
    wanted = [mapping.time.column, *(each.column for each in mapping.quantities.values())]
    wanted += [mapping.site.column] if mapping.site.column else []
    wanted += [mapping.forecast.issued_column] if mapping.forecast else []
    lines.require(wanted, because="that its mapping names")
    layout = Layout(
        site_id=_site(mapping.site, source=source),
        starts_at=instant_of(lines.rows, mapping.time.column, zone=mapping.time.zone, form=mapping.time.format),
        issued_at=instant_of(lines.rows, mapping.forecast.issued_column) if mapping.forecast else None,
        cells={name: _cell(each, units_of(name)) for name, each in mapping.quantities.items()},
    )
    return judge(lines, layout, source=source, window=window)


def _site(site: _Site, *, source: str) -> pl.Expr:
    if site.column is None:
        return pl.lit(site.id)
    code = pl.col(site.column).cast(pl.String).str.strip_chars()
    named = pl.when(code != "").then(pl.lit(f"{source}.") + code)
    return code.replace_strict(site.rename, default=named, return_dtype=pl.String)


def _cell(quantity: _Quantity, units: Mapping[str, tuple[float, float]]) -> Cell:
    factor, summand = units[quantity.unit]
    return Cell(column=quantity.column, convert=lambda number: number * factor + summand)
